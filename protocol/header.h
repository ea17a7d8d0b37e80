// The 16 bytes in front of every datagram.
//
//   offset  bytes  field        order
//   0       4      stream       machine (HDR-2)
//   4       4      pid          machine, signed
//   8       2      reply_port   machine
//   10      1      type
//   11      1      last
//   12      1      mmap
//   13      1      nf           not the first fragment
//   14      1      mf           more fragments follow
//   15      1      byte15       padding, or tracking (the profile says which)
//
//   shapes    Header: the fields as numbers; flags are bools on our side
//   returns   DecodeHeader: nullopt for fewer than 16 bytes (HDR-1), else the
//             header, any non-zero flag as true (HDR-3) and byte 15 as it stood;
//             flags_clean is false if a flag was neither 0 nor 1
//   holds     nothing
//   rules     HDR-1, HDR-2, HDR-3, HDR-5, HDR-9
//   source    nxt_port_msg_t; the original reads flags as bit fields of width 1,
//             so 2 counted as 0 there in some releases; here it counts as 1
#ifndef PORTPROOF_PROTOCOL_HEADER_H_
#define PORTPROOF_PROTOCOL_HEADER_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include "protocol/bytes.h"

namespace portproof {

inline constexpr size_t kHeaderBytes = 16;

struct Header {
  uint32_t stream = 0;
  int32_t pid = 0;
  uint16_t reply_port = 0;
  uint8_t type = 0;
  bool last = false;
  bool mmap = false;
  bool nf = false;
  bool mf = false;
  uint8_t byte15 = 0;

  friend bool operator==(const Header&, const Header&) = default;
};
// In memory as on the wire of this machine, but for the values a flag may have there.
static_assert(sizeof(Header) == kHeaderBytes && offsetof(Header, pid) == 4 &&
              offsetof(Header, reply_port) == 8 && offsetof(Header, type) == 10 &&
              offsetof(Header, last) == 11 && offsetof(Header, mmap) == 12 &&
              offsetof(Header, nf) == 13 && offsetof(Header, mf) == 14 &&
              offsetof(Header, byte15) == 15);

struct DecodedHeader {
  Header header;
  bool flags_clean = true;
};

namespace header_internal {

inline bool FlagsAreClean(const uint8_t* bytes) {
  uint32_t flags = 0;
  std::memcpy(&flags, bytes + 11, sizeof flags);
  return (flags & 0xfefefefe) == 0;  // each 0 or 1
}

}  // namespace header_internal

inline std::optional<DecodedHeader> DecodeHeader(std::span<const uint8_t> bytes,
                                                 ByteOrder order = MachineByteOrder()) {
  if (bytes.size() < kHeaderBytes) return std::nullopt;  // HDR-1
  const uint8_t* b = bytes.data();
  DecodedHeader decoded;
  if (order == MachineByteOrder() && header_internal::FlagsAreClean(b)) {
    std::array<uint8_t, kHeaderBytes> copy;
    std::copy_n(b, kHeaderBytes, copy.begin());
    decoded.header = std::bit_cast<Header>(copy);
    return decoded;
  }
  decoded.header.stream = Load<uint32_t>(b, order);
  decoded.header.pid = static_cast<int32_t>(Load<uint32_t>(b + 4, order));
  decoded.header.reply_port = Load<uint16_t>(b + 8, order);
  decoded.header.type = b[10];
  decoded.header.last = b[11] != 0;
  decoded.header.mmap = b[12] != 0;
  decoded.header.nf = b[13] != 0;
  decoded.header.mf = b[14] != 0;
  decoded.header.byte15 = b[15];
  decoded.flags_clean = (b[11] | b[12] | b[13] | b[14]) <= 1;  // HDR-3
  return decoded;
}

// The same to where it stays: false, and the header as it was, for fewer than 16 bytes.
inline bool DecodeHeaderTo(std::span<const uint8_t> bytes, Header& header) {
  if (bytes.size() < kHeaderBytes) return false;
  if (header_internal::FlagsAreClean(bytes.data())) [[likely]] {
    std::memcpy(&header, bytes.data(), kHeaderBytes);
  } else {
    header = DecodeHeader(bytes)->header;
  }
  return true;
}

// Byte 15 is written as the header says: 0 wherever it is padding (HDR-5).
inline std::array<uint8_t, kHeaderBytes> EncodeHeader(const Header& header,
                                                      ByteOrder order = MachineByteOrder()) {
  if (order == MachineByteOrder()) return std::bit_cast<std::array<uint8_t, kHeaderBytes>>(header);
  std::array<uint8_t, kHeaderBytes> bytes{};  // HDR-9
  Store<uint32_t>(header.stream, bytes.data(), order);
  Store<uint32_t>(static_cast<uint32_t>(header.pid), bytes.data() + 4, order);
  Store<uint16_t>(header.reply_port, bytes.data() + 8, order);
  bytes[10] = header.type;
  bytes[11] = header.last ? 1 : 0;
  bytes[12] = header.mmap ? 1 : 0;
  bytes[13] = header.nf ? 1 : 0;
  bytes[14] = header.mf ? 1 : 0;
  bytes[15] = header.byte15;
  return bytes;
}

std::string ToString(const Header& header);  // "stream 5 pid 101 reply 0 type 12 last"

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_HEADER_H_
