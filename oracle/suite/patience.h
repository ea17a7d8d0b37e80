// How long a testee keeps us waiting, counted in time in which it could run.
//   shapes    a budget in milliseconds; the testee is a process with all it has started
//   returns   UsedUp: whether the budget is spent, or the wall clock's limit passed.
//             SliceMs: how long to wait for an event before the next look
//   holds     what the kernel said of each thread at the last look
//   rules     none. Not counted: what /proc/PID/task/*/schedstat says a thread waited for a
//             processor, a wait for a disk, and what the runner itself came late
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_PATIENCE_H_
#define PORTPROOF_ORACLE_SUITE_PATIENCE_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <vector>

namespace portproof::suite {

using Clock = std::chrono::steady_clock;

// The process and all it has started, itself first.
std::vector<pid_t> ProcessTree(pid_t pid);

// What the kernel says of a thread.
struct TaskTimes {
  uint64_t ran_ns = 0;
  uint64_t waited_ns = 0;  // runnable, without a processor
  char state = '?';        // as /proc/PID/stat has it
};

// Of the time between two looks at a thread, what it could not use.
Clock::duration Excused(const TaskTimes& before, const TaskTimes& now, Clock::duration between);

class Patience {
 public:
  Patience(pid_t testee, int budget_ms);
  bool UsedUp();
  static constexpr int SliceMs() { return 20; }

 private:
  std::map<pid_t, TaskTimes> Look() const;

  pid_t testee_;
  Clock::duration budget_;
  Clock::time_point begun_;
  Clock::time_point looked_;
  Clock::duration spent_ = {};
  std::map<pid_t, TaskTimes> tasks_;
  bool first_ = true;
};

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_PATIENCE_H_
