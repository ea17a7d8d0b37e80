// A kernel that is short of memory at each seventh call: what a loop has to live through.
//   shapes    as Kernel's
//   returns   what the system does, but at each seventh send or receive ENOBUFS or ENOMEM
//   holds     the number of calls
//   rules     SND-2, RCV-6: no event tells when there is memory again, the loop waits
//   source    none
#ifndef PORTPROOF_PORT_EXAMPLES_SHORT_OF_MEMORY_H_
#define PORTPROOF_PORT_EXAMPLES_SHORT_OF_MEMORY_H_

#include <cerrno>

#include "port/kernel.h"

namespace portproof::examples {

class ShortOfMemory : public RealKernel {
 public:
  ssize_t SendMessage(int fd, const msghdr* message, int flags) override {
    return Short(ENOBUFS) ? -1 : RealKernel::SendMessage(fd, message, flags);
  }
  int SendMessages(int fd, mmsghdr* messages, unsigned count, int flags) override {
    return Short(ENOBUFS) ? -1 : RealKernel::SendMessages(fd, messages, count, flags);
  }
  ssize_t ReceiveMessage(int fd, msghdr* message, int flags) override {
    return Short(ENOMEM) ? -1 : RealKernel::ReceiveMessage(fd, message, flags);
  }
  int ReceiveMessages(int fd, mmsghdr* messages, unsigned count, int flags) override {
    return Short(ENOMEM) ? -1 : RealKernel::ReceiveMessages(fd, messages, count, flags);
  }

 private:
  bool Short(int error) {
    if (++calls_ % 7 != 0) return false;
    errno = error;
    return true;
  }

  int calls_ = 0;
};

}  // namespace portproof::examples

#endif  // PORTPROOF_PORT_EXAMPLES_SHORT_OF_MEMORY_H_
