#include "protocol/chunk.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace portproof {

Reference DecodeReference(std::span<const uint8_t, kReferenceBytes> bytes, ByteOrder order) {
  const uint8_t* b = bytes.data();
  return Reference{Load<uint32_t>(b, order), Load<uint32_t>(b + 4, order),
                   Load<uint32_t>(b + 8, order)};
}

std::array<uint8_t, kReferenceBytes> EncodeReference(const Reference& reference, ByteOrder order) {
  std::array<uint8_t, kReferenceBytes> bytes{};
  Store<uint32_t>(reference.segment_id, bytes.data(), order);
  Store<uint32_t>(reference.first_chunk, bytes.data() + 4, order);
  Store<uint32_t>(reference.bytes, bytes.data() + 8, order);
  return bytes;
}

std::string ToString(const Reference& reference) {
  return absl::StrCat("segment ", reference.segment_id, " chunk ", reference.first_chunk, " bytes ",
                      reference.bytes);
}

bool DecodeReferences(std::span<const uint8_t> payload, bool tracking, ByteOrder order,
                      std::vector<Reference>& references) {
  references.clear();
  if (tracking) {
    if (payload.size() < kTrackingBytes) return false;
    payload = payload.subspan(kTrackingBytes);
  }
  if (payload.empty() || payload.size() % kReferenceBytes != 0) return false;  // SHM-1
  for (; !payload.empty(); payload = payload.subspan(kReferenceBytes)) {
    references.push_back(DecodeReference(payload.first<kReferenceBytes>(), order));
  }
  return true;
}

Tracking DecodeTracking(std::span<const uint8_t, kTrackingBytes> payload, ByteOrder order) {
  return Tracking{Load<uint32_t>(payload.data(), order), Load<uint32_t>(payload.data() + 4, order)};
}

void DecodeReferenceList(std::span<const uint8_t> payload, bool tracking, ByteOrder order,
                         ReferenceList& list) {
  list.well_formed = DecodeReferences(payload, tracking, order, list.references);
  list.tracking.reset();
  if (list.well_formed && tracking) {
    list.tracking = DecodeTracking(payload.first<kTrackingBytes>(), order);
  }
}

void EncodeReferences(std::span<const Reference> references,
                      const std::optional<Tracking>& tracking, ByteOrder order,
                      std::vector<uint8_t>& payload) {
  payload.assign((tracking ? kTrackingBytes : 0) + references.size() * kReferenceBytes, 0);
  uint8_t* out = payload.data();
  if (tracking) {
    Store<uint32_t>(tracking->mmap_id, out, order);
    Store<uint32_t>(tracking->tracking_id, out + 4, order);
    out += kTrackingBytes;
  }
  for (const Reference& reference : references) {
    const auto bytes = EncodeReference(reference, order);
    out = std::copy(bytes.begin(), bytes.end(), out);
  }
}

std::optional<Geometry> GeometryOfSize(uint64_t segment_bytes) {
  for (const Geometry& geometry : {kUnitGeometry, kTinyGeometry}) {
    if (geometry.SegmentBytes() == segment_bytes) return geometry;
  }
  return std::nullopt;
}

std::optional<Overlap> FindOverlap(std::span<const Reference> references, const Geometry& geometry,
                                   std::vector<uint32_t>& order) {
  order.resize(references.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [references](uint32_t a, uint32_t b) {
    return std::tuple(references[a].segment_id, references[a].first_chunk, a) <
           std::tuple(references[b].segment_id, references[b].first_chunk, b);
  });
  // Sorted by start, two ranges of a segment overlap if and only if some
  // neighbours do: the first to overlap anything before it overlaps its neighbour.
  for (size_t i = 1; i < order.size(); ++i) {
    const Reference& before = references[order[i - 1]];
    const Reference& here = references[order[i]];
    if (before.segment_id == here.segment_id &&
        here.first_chunk - before.first_chunk < ChunksFor(before.bytes, geometry)) {
      return Overlap{std::min(order[i - 1], order[i]), std::max(order[i - 1], order[i])};
    }
  }
  return std::nullopt;
}

}  // namespace portproof
