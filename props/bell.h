// A bell that several processes hear: who waits for the state of another sleeps until it
// rings, and looks again.
//   shapes    a Bell lies in memory that the processes share
//   returns   Await: when `done` says so, which is asked once more after each ring
//   holds     nothing; Ring may be called by a signal handler
//   rules     none
//   source    none
#ifndef PORTPROOF_PROPS_BELL_H_
#define PORTPROOF_PROPS_BELL_H_

#include <atomic>
#include <cstdint>

namespace portproof {

class Bell {
 public:
  void Ring();  // behind the change of what others wait for
  template <typename Done>
  void Await(Done done) {
    for (;;) {
      const uint32_t heard = rings_.load();
      if (done()) return;
      SleepAfter(heard);
    }
  }

 private:
  void SleepAfter(uint32_t heard);  // not if it rang since; a signal ends it

  std::atomic<uint32_t> rings_{0};
};

}  // namespace portproof

#endif  // PORTPROOF_PROPS_BELL_H_
