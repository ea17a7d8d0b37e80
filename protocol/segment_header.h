// The header of a shared memory segment, in the three layouts of the releases.
//
//   layout      id     source  destination  sent_over  oosm   bitmap
//   seed        u32@0  -       i32@4        u16@8      -      @16
//   0.2-1.13    u32@0  i32@4   i32@8        u16@12     -      @16
//   1.14-1.35   u32@0  i32@4   i32@8        u16@12     u64@16 @24
//
//   Integers are in the byte order of the machine (HDR-2); the bitmap is words of 64
//   bits, one for each 64 chunks, and one more with the end stop (see chunk_map.h).
//
//   shapes    a header is the bytes before the bitmap, 24 at most
//   returns   the values. Decode takes bytes that were copied out of the segment: what
//             is checked is what is used (SHM-9). Encode writes a whole new header: all
//             chunks free, the end stop and everything else 0
//   holds     nothing
//   rules     HDR-2, HDR-9, SHM-6, SHM-9
//   source    nxt_port_mmap_header_t
#ifndef PORTPROOF_PROTOCOL_SEGMENT_HEADER_H_
#define PORTPROOF_PROTOCOL_SEGMENT_HEADER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "protocol/bytes.h"
#include "protocol/chunk.h"
#include "protocol/profile.h"

namespace portproof {

inline constexpr size_t kSegmentHeadBytes = 24;
inline constexpr uint16_t kSentOverAny = 0xffff;  // may be used over every port

struct SegmentHeader {
  uint32_t id = 0;
  int32_t source_pid = 0;  // 0 in the seed's layout, which has none
  int32_t destination_pid = 0;
  uint16_t sent_over = 0;
  uint64_t oosm = 0;  // 0 before 1.14

  friend bool operator==(const SegmentHeader&, const SegmentHeader&) = default;
};

// Bytes from the beginning of the segment.
struct SegmentFields {
  uint32_t id = 0;
  std::optional<uint32_t> source_pid;
  uint32_t destination_pid = 0;
  uint32_t sent_over = 0;
  std::optional<uint32_t> oosm;
  uint32_t bitmap = 0;
};

constexpr SegmentFields FieldsOf(SegmentLayout layout) {
  switch (layout) {
    case SegmentLayout::kSeed:
      return {0, std::nullopt, 4, 8, std::nullopt, 16};
    case SegmentLayout::kSourced:
      return {0, 4, 8, 12, std::nullopt, 16};
    case SegmentLayout::kOosm:
      break;
  }
  return {0, 4, 8, 12, 16, 24};
}

SegmentHeader DecodeSegmentHeader(std::span<const uint8_t, kSegmentHeadBytes> copied,
                                  SegmentLayout layout, ByteOrder order = MachineByteOrder());

// precondition: `bytes` are the header_bytes of the geometry
void EncodeSegmentHeader(const SegmentHeader& header, SegmentLayout layout,
                         const Geometry& geometry, std::span<uint8_t> bytes,
                         ByteOrder order = MachineByteOrder());

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_SEGMENT_HEADER_H_
