// The SIGBUS guard: what an application opts into to take segments that their owner can
// still shrink (SHM-8), which is every segment Unit itself makes.
//
//   shapes    guarded ranges of addresses, at most kGuardedMax in the process
//   returns   Install: the opt-in, whether the handler stands; asked again it says the
//             same. Watch: a watch, or none where the table is full or nobody opted in
//   holds     one signal handler and one table for the process. A dead page in a guarded
//             range becomes a private page of zeros, the access goes on, and the watch
//             says so. Any other SIGBUS goes to whoever handled it before. A system
//             call raises none: one that is given a dead page fails with EFAULT, so a
//             part of such a segment is copied before it is sent on or written
//   rules     SHM-8
//   source    none: the original dies
#ifndef PORTPROOF_PORT_SEGMENT_GUARD_H_
#define PORTPROOF_PORT_SEGMENT_GUARD_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace portproof {

class SegmentGuard {
 public:
  static constexpr size_t kGuardedMax = 4096;

  static bool Install();
  static bool installed();

  // Watches a range until it is destroyed, which must be before the range is unmapped.
  class Watch {
   public:
    static std::optional<Watch> Begin(std::span<uint8_t> range);
    Watch(Watch&& other) noexcept : entry_(std::exchange(other.entry_, kNone)) {}
    Watch& operator=(Watch&& other) noexcept;
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() { End(); }

    bool poisoned() const;  // a page of it was dead

   private:
    static constexpr size_t kNone = ~size_t{0};
    explicit Watch(size_t entry) : entry_(entry) {}
    void End();

    size_t entry_;
  };
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_SEGMENT_GUARD_H_
