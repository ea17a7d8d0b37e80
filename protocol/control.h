// Admits or refuses a received datagram by everything that is known before the
// assembly table is asked: descriptors, flags, length, identity, type.
//   shapes    Received: what one recvmsg gave, counted, descriptors included;
//             Intake: what a port takes; both plain values
//   returns   Admission: the first check of section 5 that failed, or none; who
//             the sender is; what becomes of the descriptors: all or none of
//             them are adopted. A refused datagram has no other effect, except
//             that Discards(rule) says whether its key's assembly goes too.
//   holds     nothing
//   rules     HDR-1, HDR-4, HDR-7, HDR-8, FDS-1, FDS-2, FDS-4, FDS-5, FDS-7, RCV-1
//   source    nxt_port_read_handler and nxt_port_msg_process; the original looks
//             at the first control message only, takes a descriptor that an
//             earlier datagram left there, and judges neither flags nor surplus
#ifndef PORTPROOF_PROTOCOL_CONTROL_H_
#define PORTPROOF_PROTOCOL_CONTROL_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "protocol/header.h"
#include "protocol/profile.h"
#include "protocol/rule.h"

namespace portproof {

// How many descriptors the kernel can pass at once. A control buffer for one more than
// the profile's limit shows a surplus (FDS-2).
inline constexpr uint32_t kKernelFdsMax = 253;

// RCV-1: a receiver takes datagrams up to MAX + 16 bytes, whatever the profile.
constexpr uint64_t DatagramBytesMax(uint32_t max_size) { return uint64_t{max_size} + kHeaderBytes; }

struct Received {
  uint64_t bytes = 0;              // of the datagram, header included
  uint32_t rights_messages = 0;    // SCM_RIGHTS control messages
  uint32_t fds = 0;                // in all of them
  bool truncated = false;          // MSG_TRUNC
  bool control_truncated = false;  // MSG_CTRUNC
  int32_t credentials_pid = 0;     // by the kernel; 0: none, or a foreign pid namespace

  friend bool operator==(const Received&, const Received&) = default;
};

// The types a port has a handler for, by number on the wire.
class HandledTypes {
 public:
  static constexpr HandledTypes All() { return HandledTypes(~uint64_t{0}); }
  static constexpr HandledTypes None() { return HandledTypes(0); }
  // precondition: number < 64, more than any profile has types
  constexpr HandledTypes With(uint8_t number) const {
    return HandledTypes(bits_ | uint64_t{1} << number);
  }
  constexpr HandledTypes Without(uint8_t number) const {
    return HandledTypes(bits_ & ~(uint64_t{1} << number));
  }
  constexpr bool Has(uint8_t number) const { return number < 64 && (bits_ >> number & 1) != 0; }

  friend bool operator==(const HandledTypes&, const HandledTypes&) = default;

 private:
  explicit constexpr HandledTypes(uint64_t bits) : bits_(bits) {}
  uint64_t bits_;
};

struct Intake {
  const Profile* profile = nullptr;  // never null
  uint32_t max_size = 16384;         // MAX
  HandledTypes handled = HandledTypes::All();
};

enum class Fate : uint8_t { kAdopt, kClose };

struct Admission {
  std::optional<Rule> refused;  // the first check that failed
  int32_t sender = 0;           // HDR-7; of no meaning where there is no header
  bool pid_differs = false;     // the header names another process: reported, never refused
  Fate fds = Fate::kClose;      // of every descriptor of the datagram alike

  friend bool operator==(const Admission&, const Admission&) = default;
};

// The sender's identity: the kernel's word where it has one, else the header's (HDR-7).
constexpr int32_t SenderOf(const Received& received, const Header& header) {
  return received.credentials_pid != 0 ? received.credentials_pid : header.pid;
}

// The first check of section 5 that fails, in their order, up to the shared memory
// references; `header` as decoded, null exactly where fewer than 16 bytes came.
inline std::optional<Rule> FirstFailure(const Received& received, const Header* header,
                                        const Intake& receiver) {
  if (received.rights_messages > 1 || received.fds > receiver.profile->fds_max) return Rule::kFds2;
  if (received.control_truncated) return Rule::kRcv1;  // FDS-7
  if (received.bytes == 0) return Rule::kHdr8;
  if (received.bytes < kHeaderBytes || header == nullptr) return Rule::kHdr1;
  if (received.truncated || received.bytes > DatagramBytesMax(receiver.max_size)) {
    return Rule::kRcv1;
  }
  const bool has_handler =
      header->type < receiver.profile->types.size() && receiver.handled.Has(header->type);
  if (!has_handler) return Rule::kHdr4;
  if (header->nf && received.fds > 0) return Rule::kFds1;
  return std::nullopt;
}

// Types whose header may carry another pid than the sender's (HDR-7).
bool PidMayDiffer(const Profile& profile, uint8_t number);

// Inline, as FirstFailure is: every datagram passes here.
inline Admission Admit(const Received& received, const Header* header, const Intake& receiver) {
  Admission admission;
  admission.refused = FirstFailure(received, header, receiver);
  admission.fds = admission.refused ? Fate::kClose : Fate::kAdopt;
  if (header != nullptr) {
    admission.sender = SenderOf(received, *header);
    admission.pid_differs =
        admission.sender != header->pid && !PidMayDiffer(*receiver.profile, header->type);
  }
  return admission;
}

// Whether a refusal by this rule also discards the open assembly of the datagram's
// key. Every other refusal leaves the assembly untouched (RCV-5).
bool Discards(Rule rule);

// HDR-8: zero bytes are the end only when a hang-up was told and nothing is left.
struct ZeroRead {
  bool seqpacket = true;        // SOCK_DGRAM has no end-of-file
  uint32_t fds = 0;             // received with the zero bytes
  bool hung_up = false;         // EPOLLHUP, EPOLLRDHUP
  uint64_t readable_bytes = 0;  // FIONREAD
};
constexpr bool IsEndOfFile(const ZeroRead& read) {
  return read.seqpacket && read.fds == 0 && read.hung_up && read.readable_bytes == 0;
}

std::string ToString(const Admission& admission);  // "refuse FDS-2", "admit from 101"

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_CONTROL_H_
