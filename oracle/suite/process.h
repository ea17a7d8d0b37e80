// A program under test, started with the two ports and three pipes, and ended for good.
//   shapes    in, out, err: our ends of its standard input, output and error. On its side
//             fd 3 is the receive end of port A, fd 4 the send end of port B; nothing else
//             of ours is inherited, and signals are as after a login
//   returns   Start: the process, or why its program could not be run. ExitText: how it
//             ended ("exit status 1", "signal 11"), empty while it lives
//   holds     the process, its group and what it forked: the destructor kills and reaps
//             them. ReapStrays does so at the end for what left the tree of its parent
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_PROCESS_H_
#define PORTPROOF_ORACLE_SUITE_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "port/owned_fd.h"

namespace portproof::suite {

class Process {
 public:
  static absl::StatusOr<Process> Start(const std::vector<std::string>& argv, int fd3, int fd4);
  // A child that runs `body` instead of a program; for a single-threaded caller only.
  static absl::StatusOr<Process> Fork(const std::function<int()>& body, int fd3, int fd4);
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }
  int in() const { return in_.get(); }
  int out() const { return out_.get(); }
  int err() const { return err_.get(); }
  void CloseIn() { in_.Close(); }

  // Waits for it to end, up to so long of its own time (see patience.h).
  bool Ended(int wait_ms);
  std::string ExitText() const;
  int signal() const;  // that killed it; 0 if none did
  bool exited_with(int status) const;

 private:
  Process() = default;
  static absl::StatusOr<Process> Launch(const std::vector<std::string>* argv,
                                        const std::function<int()>* body, int fd3, int fd4);

  pid_t pid_ = -1;
  bool reaped_ = false;
  int status_ = 0;
  OwnedFd pidfd_;
  OwnedFd in_;
  OwnedFd out_;
  OwnedFd err_;
};

// Held from fork to exec, and by whoever closes a descriptor whose end others must see:
// a child of another thread may have a copy until it runs its program.
std::mutex& ForkMutex();

// From here on orphans of our children become ours.
void AdoptOrphans();
// Kills and reaps every child that is left; how many there were.
int ReapStrays();

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_PROCESS_H_
