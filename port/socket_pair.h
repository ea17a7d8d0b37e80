// Makes a port: a pair of sockets, end 0 to receive, end 1 to send; or checks an end
// that was inherited or received.
//
//   shapes    MAX and SHARE in bytes (PortSizes); an OwnedFd for each end
//   returns   Create: both ends and the MAX that is in force, which may be lower than
//             the one asked for; or what failed, and then both ends are closed.
//             CheckSendEnd, CheckReceiveEnd: what an adopted end's socket lacks; the
//             descriptor is untouched
//   holds     nothing but the descriptors
//   rules     SOC-1, SOC-2, SOC-4, SND-11, PRT-1
//   source    nxt_port_socket_init; differs where no MAX fits (refused here)
#ifndef PORTPROOF_PORT_SOCKET_PAIR_H_
#define PORTPROOF_PORT_SOCKET_PAIR_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "port/kernel.h"
#include "port/owned_fd.h"
#include "protocol/profile.h"

namespace portproof {

inline constexpr uint32_t kMaxSizeDefault = 16384;

struct PortSizes {
  uint32_t max_size = kMaxSizeDefault;  // MAX
  uint64_t max_share = 65536;           // SHARE

  friend bool operator==(const PortSizes&, const PortSizes&) = default;
};

struct SocketPair {
  OwnedFd receive_end;
  OwnedFd send_end;
  PortSizes sizes;  // in force

  static absl::StatusOr<SocketPair> Create(const Profile& profile, const PortSizes& asked = {},
                                           Kernel& kernel = Kernel::Real());
};

absl::Status CheckSendEnd(int fd, const Profile& profile, const PortSizes& sizes, Kernel& kernel);
absl::Status CheckReceiveEnd(int fd, const PortSizes& sizes, Kernel& kernel);

}  // namespace portproof

#endif  // PORTPROOF_PORT_SOCKET_PAIR_H_
