// Laws of references: byte 0 picks geometry, byte order and tracking, the rest is
// the payload. A list decodes or is none; what decodes encodes to the same bytes; a
// range check agrees with 64-bit arithmetic; an overlap agrees with a map of chunks.
#include <algorithm>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <vector>

#include "protocol/chunk.h"

using namespace portproof;

namespace {

bool InRange64(const Reference& reference, const Geometry& geometry) {
  const uint64_t begin = uint64_t{reference.first_chunk} * geometry.chunk_bytes;
  const uint64_t all = uint64_t{geometry.chunk_bytes} * geometry.chunk_count;
  return reference.bytes > 0 && begin < all && begin + reference.bytes <= all;
}

// For the references of one segment: whether some chunk is named twice.
bool NamesAChunkTwice(std::span<const Reference> references, uint32_t segment_id,
                      const Geometry& geometry) {
  std::bitset<640> named;
  for (const Reference& reference : references) {
    if (reference.segment_id != segment_id) continue;
    for (uint64_t at = 0; at < reference.bytes; at += geometry.chunk_bytes) {
      const size_t chunk = reference.first_chunk + at / geometry.chunk_bytes;
      if (named[chunk]) return true;
      named[chunk] = true;
    }
  }
  return false;
}

void CheckOverlap(std::span<const Reference> references, const Geometry& geometry) {
  static std::vector<uint32_t> scratch;
  const auto overlap = FindOverlap(references, geometry, scratch);
  bool twice = false;
  for (size_t i = 0; i < references.size() && !twice; ++i) {
    twice = NamesAChunkTwice(references, references[i].segment_id, geometry);
  }
  if (overlap.has_value() != twice) std::abort();
  if (!overlap) return;
  const Reference pair[] = {references[overlap->earlier], references[overlap->later]};
  if (overlap->earlier >= overlap->later) std::abort();
  if (pair[0].segment_id != pair[1].segment_id) std::abort();
  if (!NamesAChunkTwice(pair, pair[0].segment_id, geometry)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Geometry geometry = (data[0] & 1) != 0 ? kTinyGeometry : kUnitGeometry;
  const ByteOrder order = (data[0] & 2) != 0 ? ByteOrder::kBig : ByteOrder::kLittle;
  const bool tracking = (data[0] & 4) != 0;
  const std::span payload(data + 1, size - 1);
  static std::vector<Reference> references;
  static std::vector<uint8_t> again;
  const bool list = DecodeReferences(payload, tracking, order, references);
  const size_t before = tracking ? kTrackingBytes : 0;
  const bool whole = payload.size() > before && (payload.size() - before) % kReferenceBytes == 0;
  if (list != whole) std::abort();  // SHM-1
  if (!list) return 0;
  std::optional<Tracking> words;
  if (tracking) words = DecodeTracking(payload.first<kTrackingBytes>(), order);
  EncodeReferences(references, words, order, again);
  if (!std::equal(again.begin(), again.end(), payload.begin(), payload.end())) std::abort();
  bool all_in_range = true;
  for (const Reference& reference : references) {
    const bool in_range = InRange(reference, geometry);
    if (in_range != InRange64(reference, geometry)) std::abort();  // SHM-2
    all_in_range = all_in_range && in_range;
  }
  if (all_in_range && references.size() <= 79) CheckOverlap(references, geometry);
  return 0;
}
