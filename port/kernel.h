// The one seam to system calls: what the shell asks of the kernel, and nothing else.
// Around it go only close by OwnedFd (on Linux the descriptor is gone whatever it answers),
// munmap, getpid, pthread_atfork, and what SegmentGuard needs to install its signal handler
// and inside it (sigaction, sysconf, mmap). epoll is the loop's, never called here.
//
//   shapes    as the system's own calls; a failure is -1 and errno, sizes are bytes.
//             The batch forms take `count` entries and return how many went or came;
//             fewer came only where the call found the socket empty behind them (recvmmsg
//             without a timeout)
//   returns   Real: the kernel itself. A test's own kernel derives from RealKernel and
//             makes a chosen call fail
//   holds     nothing
//   rules     RCV-6, SND-2 rest on it; FDS-3: no call here makes a descriptor that is
//             not close-on-exec
//   source    none: the original calls the system wherever it stands
#ifndef PORTPROOF_PORT_KERNEL_H_
#define PORTPROOF_PORT_KERNEL_H_

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace portproof {

class Kernel {
 public:
  virtual ~Kernel() = default;

  static Kernel& Real();

  virtual ssize_t SendMessage(int fd, const msghdr* message, int flags) = 0;
  virtual int SendMessages(int fd, mmsghdr* messages, unsigned count, int flags) = 0;
  virtual ssize_t ReceiveMessage(int fd, msghdr* message, int flags) = 0;
  virtual int ReceiveMessages(int fd, mmsghdr* messages, unsigned count, int flags) = 0;

  virtual int SocketPair(int type, int fds[2]) = 0;         // AF_UNIX
  virtual int GetOption(int fd, int name, int& value) = 0;  // SOL_SOCKET
  virtual int SetOption(int fd, int name, int value) = 0;
  virtual int ReadableBytes(int fd, int& bytes) = 0;  // FIONREAD
  virtual int HungUp(int fd, bool& hung_up) = 0;      // what poll says now
  virtual int Duplicate(int fd) = 0;                  // close-on-exec
  virtual int Close(int fd) = 0;
  // How many of the highest `most` descriptor numbers that the process may use are free.
  virtual int FreeSlots(unsigned most, unsigned& free) = 0;

  virtual int MemoryFile(const char* name) = 0;  // close-on-exec, may be sealed
  virtual int Truncate(int fd, off_t bytes) = 0;
  virtual int AddSeals(int fd, int seals) = 0;
  virtual int GetSeals(int fd) = 0;
  virtual int Status(int fd, struct stat& status) = 0;
  virtual ssize_t ReadAt(int fd, void* bytes, size_t count, off_t offset) = 0;
  virtual void* Map(size_t bytes, int fd) = 0;  // shared, read and write; MAP_FAILED
};

class RealKernel : public Kernel {
 public:
  ssize_t SendMessage(int fd, const msghdr* message, int flags) override;
  int SendMessages(int fd, mmsghdr* messages, unsigned count, int flags) override;
  ssize_t ReceiveMessage(int fd, msghdr* message, int flags) override;
  int ReceiveMessages(int fd, mmsghdr* messages, unsigned count, int flags) override;
  int SocketPair(int type, int fds[2]) override;
  int GetOption(int fd, int name, int& value) override;
  int SetOption(int fd, int name, int value) override;
  int ReadableBytes(int fd, int& bytes) override;
  int HungUp(int fd, bool& hung_up) override;
  int Duplicate(int fd) override;
  int Close(int fd) override;
  int FreeSlots(unsigned most, unsigned& free) override;
  int MemoryFile(const char* name) override;
  int Truncate(int fd, off_t bytes) override;
  int AddSeals(int fd, int seals) override;
  int GetSeals(int fd) override;
  int Status(int fd, struct stat& status) override;
  ssize_t ReadAt(int fd, void* bytes, size_t count, off_t offset) override;
  void* Map(size_t bytes, int fd) override;
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_KERNEL_H_
