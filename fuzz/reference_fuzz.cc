// Laws of references: byte 0 picks geometry, byte order and tracking, the rest is
// the payload. A list decodes or is none; what decodes encodes to the same bytes; a
// range check agrees with 64-bit arithmetic; an overlap agrees with a map of chunks; a table
// that knows segments 0 and 1 holds the chunks of the good ones, each once, and says the
// first bad one's rule.
#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <vector>

#include "protocol/chunk.h"
#include "protocol/segment_header.h"
#include "protocol/segment_table.h"

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

constexpr int32_t kSender = 5;
constexpr uint32_t kKnown = 2;   // segments, by their ids
constexpr uint32_t kIdsMax = 3;  // the third may still be announced

// Chunks 16 to 31 are free in every segment.
class HalfBusy : public SegmentView {
 public:
  static bool IsFree(uint64_t chunk) { return chunk >= 16 && chunk < 32; }
  bool AllBusy(uint32_t /*slot*/, uint32_t first, uint32_t count) const override {
    for (uint64_t chunk = first; chunk < uint64_t{first} + count; ++chunk) {
      if (IsFree(chunk)) return false;
    }
    return true;
  }
  bool Poisoned(uint32_t /*slot*/) const override { return false; }
};

SegmentTable TableOf(const Geometry& geometry) {
  SegmentTable table({.geometry = geometry, .ids_max = kIdsMax});
  std::vector<uint8_t> header(geometry.header_bytes);
  for (uint32_t id = 0; id < kKnown; ++id) {
    EncodeSegmentHeader({.id = id, .source_pid = kSender}, SegmentLayout::kOosm, geometry, header);
    Announcement announcement{
        .sender = kSender, .fds = 1, .file_bytes = geometry.SegmentBytes(), .sealed = true};
    std::copy_n(header.begin(), announcement.head.size(), announcement.head.begin());
    uint32_t slot = 0;
    if (table.Announce(announcement, slot)) std::abort();
    table.Mapped(slot, true);
  }
  return table;
}

// SHM-2, SHM-10
std::optional<Rule> JudgeAlone(const Reference& reference, const Geometry& geometry,
                               std::array<std::bitset<640>, kKnown>& held) {
  if (reference.segment_id >= kIdsMax) return Rule::kShm2;
  if (reference.segment_id >= kKnown) return Rule::kShm10;
  if (!InRange64(reference, geometry)) return Rule::kShm2;
  std::bitset<640>& mine = held.at(reference.segment_id);
  std::bitset<640> named;
  for (uint64_t at = 0; at < reference.bytes; at += geometry.chunk_bytes) {
    const uint64_t chunk = reference.first_chunk + at / geometry.chunk_bytes;
    if (HalfBusy::IsFree(chunk) || mine[chunk]) return Rule::kShm2;
    named[chunk] = true;
  }
  mine |= named;
  return std::nullopt;
}

void CheckAccept(std::span<const Reference> references, const Geometry& geometry) {
  static const SegmentTable tables[] = {TableOf(kUnitGeometry), TableOf(kTinyGeometry)};
  const SegmentTable& before = tables[geometry == kTinyGeometry ? 1 : 0];
  SegmentTable table = before;
  std::array<std::bitset<640>, kKnown> held;
  std::optional<Rule> expected;
  std::vector<Reference> good;
  for (const Reference& reference : references) {
    const auto rule = JudgeAlone(reference, geometry, held);
    if (!rule) good.push_back(reference);
    if (!expected) expected = rule;
  }
  Holdings holdings;
  if (table.Accept(kSender, references, HalfBusy(), holdings) != expected) std::abort();
  if (table.held_chunks() != held[0].count() + held[1].count()) std::abort();
  if (holdings.size() != good.size()) std::abort();
  for (size_t i = 0; i < good.size(); ++i) {
    if (holdings[i].slot != table.Find(kSender, good[i].segment_id)) std::abort();
    if (holdings[i].first_chunk != good[i].first_chunk) std::abort();
    if (holdings[i].bytes != good[i].bytes) std::abort();
  }
  for (const Holding& holding : holdings) {
    if (table.Release(holding)) std::abort();  // its sender lives
  }
  if (table != before) std::abort();
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
  if (references.size() > 79) return 0;
  if (all_in_range) CheckOverlap(references, geometry);
  CheckAccept(references, geometry);
  return 0;
}
