// Shared memory seen from the wire: references, segment geometry, range checks.
//
//   a reference, in the byte order of the machine (HDR-2)
//   offset  bytes  field
//   0       4      segment_id
//   4       4      first_chunk
//   8       4      bytes        of payload; the chunks behind are whole
//
//   shapes    Reference: one range of a segment; Geometry: sizes in bytes, chunks
//             in number. An mmap payload is [8 bytes of tracking] + k references.
//   returns   codecs: the value; DecodeReferences: false where the payload is no
//             list of references (SHM-1), `references` is then empty. The range
//             checks never wrap, whatever the peer wrote (SHM-2).
//   holds     nothing; lists are the caller's, cleared and reused
//   rules     SHM-1, SHM-2
//   source    nxt_port_mmap_msg_t, nxt_port_get_port_incoming_mmap; the original
//             checks neither count nor range nor overlap
#ifndef PORTPROOF_PROTOCOL_CHUNK_H_
#define PORTPROOF_PROTOCOL_CHUNK_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "protocol/bytes.h"

namespace portproof {

inline constexpr size_t kReferenceBytes = 12;
inline constexpr size_t kTrackingBytes = 8;

struct Reference {
  uint32_t segment_id = 0;
  uint32_t first_chunk = 0;
  uint32_t bytes = 0;

  friend bool operator==(const Reference&, const Reference&) = default;
};

Reference DecodeReference(std::span<const uint8_t, kReferenceBytes> bytes,
                          ByteOrder order = MachineByteOrder());
std::array<uint8_t, kReferenceBytes> EncodeReference(const Reference& reference,
                                                     ByteOrder order = MachineByteOrder());
std::string ToString(const Reference& reference);  // "segment 0 chunk 3 bytes 50000"

// The eight bytes before the references where the header says tracking (to 1.18).
struct Tracking {
  uint32_t mmap_id = 0;
  uint32_t tracking_id = 0;

  friend bool operator==(const Tracking&, const Tracking&) = default;
};

// Takes a whole mmap payload apart into `references` (SHM-1).
//   tracking  the header's byte 15 is non-zero in a profile where it is a flag
//   returns   false unless k >= 1 references fill the payload exactly
bool DecodeReferences(std::span<const uint8_t> payload, bool tracking, ByteOrder order,
                      std::vector<Reference>& references);
// The tracking words of a payload that DecodeReferences accepted with tracking.
Tracking DecodeTracking(std::span<const uint8_t, kTrackingBytes> payload, ByteOrder order);
// The same, kept together: what a datagram's payload names.
struct ReferenceList {
  bool well_formed = false;          // else the payload is no list, and the rest is empty (SHM-1)
  std::optional<Tracking> tracking;  // where the header says so
  std::vector<Reference> references = {};

  friend bool operator==(const ReferenceList&, const ReferenceList&) = default;
};
void DecodeReferenceList(std::span<const uint8_t> payload, bool tracking, ByteOrder order,
                         ReferenceList& list);
// Puts one together; the inverse of DecodeReferences and DecodeTracking.
void EncodeReferences(std::span<const Reference> references,
                      const std::optional<Tracking>& tracking, ByteOrder order,
                      std::vector<uint8_t>& payload);

// How a segment is cut up. The header comes first, then the chunks.
struct Geometry {
  uint32_t header_bytes = 0;
  uint32_t chunk_bytes = 0;
  uint32_t chunk_count = 0;

  constexpr uint64_t SegmentBytes() const {
    return header_bytes + uint64_t{chunk_bytes} * chunk_count;
  }
  friend bool operator==(const Geometry&, const Geometry&) = default;
};

inline constexpr Geometry kUnitGeometry = {4096, 16384, 640};
inline constexpr Geometry kTinyGeometry = {1024, 16, 64};  // the original's own test build
static_assert(kUnitGeometry.SegmentBytes() == 10489856 && kTinyGeometry.SegmentBytes() == 2048);

// The geometry of a segment of that size, the only thing that tells them apart.
std::optional<Geometry> GeometryOfSize(uint64_t segment_bytes);

// Whole chunks behind `bytes` of payload: ⌈bytes / chunk⌉, without wrap.
constexpr uint32_t ChunksFor(uint32_t bytes, const Geometry& geometry) {
  return bytes / geometry.chunk_bytes + (bytes % geometry.chunk_bytes != 0 ? 1 : 0);
}

// 0 < n, c < count, ⌈n/chunk⌉ <= count - c (SHM-2). Nothing here wraps, whatever a peer
// wrote, and so nothing behind it is read out of bounds (RCV-2).
constexpr bool InRange(const Reference& reference, const Geometry& geometry) {
  return reference.bytes > 0 && reference.first_chunk < geometry.chunk_count &&
         ChunksFor(reference.bytes, geometry) <= geometry.chunk_count - reference.first_chunk;
}

// Two references of one message that share a chunk (SHM-2), by their indices.
struct Overlap {
  size_t earlier = 0;
  size_t later = 0;

  friend bool operator==(const Overlap&, const Overlap&) = default;
};

// Finds an overlap, or nullopt. k log k steps for k references; `order` is scratch.
//   precondition: every reference is InRange
std::optional<Overlap> FindOverlap(std::span<const Reference> references, const Geometry& geometry,
                                   std::vector<uint32_t>& order);

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_CHUNK_H_
