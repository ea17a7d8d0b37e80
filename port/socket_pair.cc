#include "port/socket_pair.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/header.h"
#include "protocol/send_machine.h"

namespace portproof {
namespace {

constexpr uint32_t kMaxSizeMin = 64;
constexpr uint32_t kMaxSizeMax = 1 << 20;
constexpr int kKernelOverheadBytes = 32;  // SO_SNDBUF is that much above the largest datagram
constexpr int kFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;  // SOC-1

// SND-11
absl::Status CheckSizes(const PortSizes& sizes) {
  if (sizes.max_size < kMaxSizeMin || sizes.max_size > kMaxSizeMax) {
    return absl::InvalidArgumentError(absl::StrCat("max_size ", sizes.max_size, ": not between ",
                                                   kMaxSizeMin, " and ", kMaxSizeMax));
  }
  if (sizes.max_share < 1) return absl::InvalidArgumentError("max_share 0: at least 1");
  return absl::OkStatus();
}

// PRT-1: what is adopted may be anything.
absl::Status CheckKind(int fd, Kernel& kernel) {
  int domain = 0;
  int type = 0;
  if (kernel.GetOption(fd, SO_DOMAIN, domain) != 0 || kernel.GetOption(fd, SO_TYPE, type) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("descriptor ", fd, " is no socket"));
  }
  if (domain != AF_UNIX) {
    return absl::InvalidArgumentError(absl::StrCat("descriptor ", fd, ": not a local socket"));
  }
  if (type != SOCK_SEQPACKET && type != SOCK_DGRAM) {
    return absl::InvalidArgumentError(absl::StrCat("descriptor ", fd, ": no datagram socket"));
  }
  return absl::OkStatus();
}

// A failing setsockopt is no error (SOC-2): what counts is what getsockopt says after.
absl::StatusOr<int> RaiseSendBuffer(const SocketPair& pair, Kernel& kernel) {
  const int wanted = static_cast<int>(pair.sizes.max_size);
  int send_bytes = 0;
  if (kernel.GetOption(pair.send_end.get(), SO_SNDBUF, send_bytes) != 0) {
    return absl::ErrnoToStatus(errno, "getsockopt SO_SNDBUF");
  }
  if (send_bytes < wanted) {
    kernel.SetOption(pair.send_end.get(), SO_SNDBUF, wanted);
    if (kernel.GetOption(pair.send_end.get(), SO_SNDBUF, send_bytes) != 0) {
      return absl::ErrnoToStatus(errno, "getsockopt SO_SNDBUF");
    }
  }
  int receive_bytes = 0;
  if (kernel.GetOption(pair.receive_end.get(), SO_RCVBUF, receive_bytes) != 0) {
    return absl::ErrnoToStatus(errno, "getsockopt SO_RCVBUF");
  }
  const int receive_wanted = static_cast<int>(std::min<int64_t>(int64_t{4} * send_bytes, 1 << 30));
  if (receive_bytes < receive_wanted) {
    kernel.SetOption(pair.receive_end.get(), SO_RCVBUF, receive_wanted);
  }
  return send_bytes;
}

}  // namespace

absl::StatusOr<SocketPair> SocketPair::Create(const Profile& profile, const PortSizes& asked,
                                              Kernel& kernel) {
  if (absl::Status status = CheckSizes(asked); !status.ok()) return status;
  int fds[2] = {-1, -1};
  int made = kernel.SocketPair(SOCK_SEQPACKET | kFlags, fds);
  if (made != 0 && (errno == EPROTONOSUPPORT || errno == ESOCKTNOSUPPORT)) {  // SOC-1
    made = kernel.SocketPair(SOCK_DGRAM | kFlags, fds);
  }
  if (made != 0) return absl::ErrnoToStatus(errno, "socketpair");
  SocketPair pair{OwnedFd(fds[0]), OwnedFd(fds[1]), asked};
  const absl::StatusOr<int> send_bytes = RaiseSendBuffer(pair, kernel);
  if (!send_bytes.ok()) return send_bytes.status();
  const uint32_t beyond = kHeaderBytes + PayloadLimit(profile, asked.max_size) - asked.max_size;
  // SOC-2: MAX becomes the largest that fits.
  const int64_t fits = int64_t{*send_bytes} - kKernelOverheadBytes - beyond;
  if (fits < kMaxSizeMin) {
    return absl::ResourceExhaustedError(
        absl::StrCat("SO_SNDBUF of ", *send_bytes, " bytes is too small for any port"));
  }
  pair.sizes.max_size = static_cast<uint32_t>(std::min<int64_t>(fits, asked.max_size));
  if (profile.credentials && kernel.SetOption(fds[0], SO_PASSCRED, 1) != 0) {  // SOC-4
    return absl::ErrnoToStatus(errno, "setsockopt SO_PASSCRED");
  }
  return pair;
}

absl::Status CheckSendEnd(int fd, const Profile& profile, const PortSizes& sizes, Kernel& kernel) {
  if (absl::Status status = CheckSizes(sizes); !status.ok()) return status;
  if (absl::Status status = CheckKind(fd, kernel); !status.ok()) return status;
  int send_bytes = 0;
  if (kernel.GetOption(fd, SO_SNDBUF, send_bytes) != 0) {
    return absl::ErrnoToStatus(errno, "getsockopt SO_SNDBUF");
  }
  if (!SendParametersAllowed(profile, sizes.max_size, sizes.max_share,
                             static_cast<uint32_t>(send_bytes))) {
    return absl::InvalidArgumentError(absl::StrCat("max_size ", sizes.max_size,
                                                   " does not fit SO_SNDBUF of ", send_bytes,
                                                   " bytes of descriptor ", fd));
  }
  return absl::OkStatus();
}

absl::Status CheckReceiveEnd(int fd, const PortSizes& sizes, Kernel& kernel) {
  if (absl::Status status = CheckSizes(sizes); !status.ok()) return status;
  return CheckKind(fd, kernel);
}

}  // namespace portproof
