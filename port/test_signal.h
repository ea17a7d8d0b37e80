// For tests with several threads: whoever waits sleeps until somebody tells, however long.
// A wake that is lost is waited for until the test's own time is over.
//   shapes    an eventfd, so that a loop can wait for it beside its sockets
//   returns   nothing; what the system refuses aborts the test
//   holds     one descriptor
//   rules     none
//   source    none
#ifndef PORTPROOF_PORT_TEST_SIGNAL_H_
#define PORTPROOF_PORT_TEST_SIGNAL_H_

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "port/owned_fd.h"

namespace portproof::testing {

class Signal {
 public:
  Signal() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  int fd() const { return event_.get(); }
  void Tell() const {
    const uint64_t one = 1;
    if (::write(fd(), &one, sizeof one) != sizeof one) std::abort();
  }
  void Clear() const {
    uint64_t count = 0;
    if (::read(fd(), &count, sizeof count) != sizeof count) std::abort();
  }
  void Wait() const {
    pollfd polled = {fd(), POLLIN, 0};
    while (::poll(&polled, 1, -1) != 1) {
    }
    Clear();
  }

 private:
  OwnedFd event_;
};

}  // namespace portproof::testing

#endif  // PORTPROOF_PORT_TEST_SIGNAL_H_
