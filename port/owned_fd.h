// A descriptor with one owner.
//   shapes    -1: none
//   returns   the descriptor
//   holds     it, and closes it once; a close that says EINTR has closed, on Linux
//   rules     FDS-5
//   source    none
#ifndef PORTPROOF_PORT_OWNED_FD_H_
#define PORTPROOF_PORT_OWNED_FD_H_

#include <unistd.h>

#include <utility>

namespace portproof {

class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.Release()) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = other.Release();
    }
    return *this;
  }
  OwnedFd(const OwnedFd&) = delete;
  OwnedFd& operator=(const OwnedFd&) = delete;
  ~OwnedFd() { Close(); }  // FDS-5: what nobody took is closed

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Close() {
    if (fd_ >= 0) ::close(Release());
  }

 private:
  int fd_ = -1;
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_OWNED_FD_H_
