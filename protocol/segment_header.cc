#include "protocol/segment_header.h"

#include <algorithm>
#include <cassert>

#include "protocol/chunk_map.h"

namespace portproof {

SegmentHeader DecodeSegmentHeader(std::span<const uint8_t, kSegmentHeadBytes> copied,
                                  SegmentLayout layout, ByteOrder order) {
  const SegmentFields at = FieldsOf(layout);
  const uint8_t* const bytes = copied.data();
  SegmentHeader header;
  header.id = Load<uint32_t>(bytes + at.id, order);
  if (at.source_pid) {
    header.source_pid = static_cast<int32_t>(Load<uint32_t>(bytes + *at.source_pid, order));
  }
  header.destination_pid = static_cast<int32_t>(Load<uint32_t>(bytes + at.destination_pid, order));
  header.sent_over = Load<uint16_t>(bytes + at.sent_over, order);
  if (at.oosm) header.oosm = Load<uint64_t>(bytes + *at.oosm, order);
  return header;
}

void EncodeSegmentHeader(const SegmentHeader& header, SegmentLayout layout,
                         const Geometry& geometry, std::span<uint8_t> bytes, ByteOrder order) {
  assert(bytes.size() == geometry.header_bytes);
  const SegmentFields at = FieldsOf(layout);
  std::fill(bytes.begin(), bytes.end(), uint8_t{0});  // HDR-9
  uint8_t* const out = bytes.data();
  Store<uint32_t>(header.id, out + at.id, order);
  if (at.source_pid) {
    Store<uint32_t>(static_cast<uint32_t>(header.source_pid), out + *at.source_pid, order);
  }
  Store<uint32_t>(static_cast<uint32_t>(header.destination_pid), out + at.destination_pid, order);
  Store<uint16_t>(header.sent_over, out + at.sent_over, order);
  if (at.oosm) Store<uint64_t>(header.oosm, out + *at.oosm, order);
  for (uint32_t word = 0; word < MapWords(geometry); ++word) {  // the end stop behind stays 0
    Store<uint64_t>(~uint64_t{0}, out + at.bitmap + size_t{word} * sizeof(uint64_t), order);
  }
}

}  // namespace portproof
