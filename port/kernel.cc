#include "port/kernel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace portproof {

Kernel& Kernel::Real() {
  static RealKernel kernel;
  return kernel;
}

ssize_t RealKernel::SendMessage(int fd, const msghdr* message, int flags) {
  return ::sendmsg(fd, message, flags);
}

int RealKernel::SendMessages(int fd, mmsghdr* messages, unsigned count, int flags) {
  return ::sendmmsg(fd, messages, count, flags);
}

ssize_t RealKernel::ReceiveMessage(int fd, msghdr* message, int flags) {
  return ::recvmsg(fd, message, flags);
}

int RealKernel::ReceiveMessages(int fd, mmsghdr* messages, unsigned count, int flags) {
  return ::recvmmsg(fd, messages, count, flags, nullptr);
}

int RealKernel::SocketPair(int type, int fds[2]) { return ::socketpair(AF_UNIX, type, 0, fds); }

int RealKernel::GetOption(int fd, int name, int& value) {
  socklen_t bytes = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &bytes);
}

int RealKernel::SetOption(int fd, int name, int value) {
  return ::setsockopt(fd, SOL_SOCKET, name, &value, sizeof value);
}

int RealKernel::ReadableBytes(int fd, int& bytes) { return ::ioctl(fd, FIONREAD, &bytes); }

int RealKernel::HungUp(int fd, bool& hung_up) {
  pollfd polled = {fd, POLLIN | POLLRDHUP, 0};
  const int count = ::poll(&polled, 1, 0);
  hung_up = count > 0 && (polled.revents & (POLLHUP | POLLRDHUP)) != 0;
  return count < 0 ? -1 : 0;
}

int RealKernel::Duplicate(int fd) { return ::fcntl(fd, F_DUPFD_CLOEXEC, 0); }

int RealKernel::Close(int fd) { return ::close(fd); }

// poll says of each number that is no open file that it is none.
int RealKernel::FreeSlots(unsigned most, unsigned& free) {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
  const auto count = static_cast<unsigned>(std::min<rlim_t>(most, limit.rlim_cur));
  std::vector<pollfd> numbers(count);
  for (unsigned i = 0; i < count; ++i) {
    numbers[i] = {static_cast<int>(limit.rlim_cur - count + i), 0, 0};
  }
  if (::poll(numbers.data(), count, 0) < 0) return -1;
  free = 0;
  for (const pollfd& number : numbers) free += (number.revents & POLLNVAL) != 0;
  return 0;
}

int RealKernel::MemoryFile(const char* name) {
  return ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

int RealKernel::Truncate(int fd, off_t bytes) { return ::ftruncate(fd, bytes); }

int RealKernel::AddSeals(int fd, int seals) { return ::fcntl(fd, F_ADD_SEALS, seals); }

int RealKernel::GetSeals(int fd) { return ::fcntl(fd, F_GET_SEALS); }

int RealKernel::Status(int fd, struct stat& status) { return ::fstat(fd, &status); }

ssize_t RealKernel::ReadAt(int fd, void* bytes, size_t count, off_t offset) {
  return ::pread(fd, bytes, count, offset);
}

void* RealKernel::Map(size_t bytes, int fd) {
  return ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

}  // namespace portproof
