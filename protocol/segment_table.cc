#include "protocol/segment_table.h"

#include <algorithm>
#include <cassert>

#include "absl/strings/str_cat.h"

namespace portproof {

uint32_t SegmentTable::IdOf(const Announcement& announcement) const {
  return DecodeSegmentHeader(announcement.head, config_.layout).id;
}

std::optional<Rule> SegmentTable::JudgeAnnouncement(const Announcement& announcement) const {
  using enum Rule;
  if (announcement.fds != 1) return kShm8;
  if (announcement.file_bytes != config_.geometry.SegmentBytes()) return kShm8;
  if (!announcement.sealed && !announcement.guarded) return kShm8;
  const SegmentHeader header = DecodeSegmentHeader(announcement.head, config_.layout);
  const bool is_ours = config_.layout == SegmentLayout::kSeed
                           ? header.destination_pid == config_.own_pid
                           : header.source_pid == announcement.sender;
  if (!is_ours || header.id >= config_.ids_max) return kShm8;
  if (slots_.contains(KeyOf(announcement.sender, header.id))) return kShm8;
  if (mapped() >= config_.segments_max) return kShm8;
  return std::nullopt;
}

std::optional<Rule> SegmentTable::Announce(const Announcement& announcement, uint32_t& slot) {
  if (const auto refused = JudgeAnnouncement(announcement)) return refused;
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(segments_.size()));
    segments_.emplace_back();
  }
  slot = free_.back();
  free_.pop_back();
  const uint32_t id = IdOf(announcement);
  slots_.emplace(KeyOf(announcement.sender, id), slot);
  segments_[slot] = {.sender = announcement.sender, .id = id, .used = true};
  return std::nullopt;
}

void SegmentTable::Mapped(uint32_t slot, bool mapped) {
  Segment& segment = segments_[slot];
  assert(segment.used && !segment.mapped);
  segment.mapped = mapped;
  if (mapped) return;
  slots_.erase(KeyOf(segment.sender, segment.id));
  FreeSlot(slot);
}

std::optional<uint32_t> SegmentTable::Find(int32_t sender, uint32_t id) const {
  const auto found = slots_.find(KeyOf(sender, id));
  if (found == slots_.end() || !segments_[found->second].mapped) return std::nullopt;
  return found->second;
}

bool SegmentTable::FindUnknown(int32_t sender, std::span<const Reference> references,
                               std::vector<uint32_t>& ids) const {
  ids.clear();
  for (const Reference& reference : references) {
    if (Find(sender, reference.segment_id)) continue;
    if (reference.segment_id >= config_.ids_max) {
      ids.clear();
      return false;
    }
    ids.push_back(reference.segment_id);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return true;
}

std::optional<Rule> SegmentTable::Judge(int32_t sender, const Reference& reference,
                                        const SegmentView& view, Holding& holding) const {
  using enum Rule;
  if (reference.segment_id >= config_.ids_max) return kShm2;
  const std::optional<uint32_t> slot = Find(sender, reference.segment_id);
  if (!slot) return kShm10;
  const Segment& segment = segments_[*slot];
  if (view.Poisoned(*slot) || !InRange(reference, config_.geometry)) return kShm2;
  holding = {*slot, reference.first_chunk, ChunksFor(reference.bytes, config_.geometry),
             reference.bytes};
  const bool nothing_held = VisitChunks(
      holding.first_chunk, holding.chunk_count,
      [&segment](size_t word, uint64_t bits) { return (segment.held[word] & bits) == 0; });
  if (!nothing_held) return kShm2;  // by an earlier reference of this message, too
  if (!view.AllBusy(*slot, holding.first_chunk, holding.chunk_count)) return kShm2;
  if (view.Poisoned(*slot)) return kShm2;  // the page of the bitmap: its zeros look busy
  return std::nullopt;
}

std::optional<Rule> SegmentTable::JudgeTracking(int32_t sender, const Tracking& tracking,
                                                const SegmentView& view, uint32_t& slot) const {
  const std::optional<uint32_t> found = Find(sender, tracking.mmap_id);
  if (!found || view.Poisoned(*found)) return Rule::kShm14;
  if (tracking.tracking_id >= TrackingSlots(config_.layout, config_.geometry)) return Rule::kShm14;
  slot = *found;
  return std::nullopt;
}

std::optional<Rule> SegmentTable::Accept(int32_t sender, std::span<const Reference> references,
                                         const SegmentView& view, Holdings& holdings) {
  holdings.clear();
  std::optional<Rule> refused;
  for (const Reference& reference : references) {
    Holding holding;
    if (const auto rule = Judge(sender, reference, view, holding)) {
      if (!refused) refused = rule;
      continue;  // the good ones behind are to be released too
    }
    Hold(holding);
    holdings.push_back(holding);
  }
  return refused;
}

bool SegmentTable::Release(const Holding& holding) {
  Drop(holding);
  const Segment& segment = segments_[holding.slot];
  if (!segment.gone || segment.held_count != 0) return false;
  FreeSlot(holding.slot);
  return true;
}

void SegmentTable::Hold(const Holding& holding) {
  Segment& segment = segments_[holding.slot];
  segment.held_count += holding.chunk_count;
  VisitChunks(holding.first_chunk, holding.chunk_count, [&segment](size_t word, uint64_t bits) {
    segment.held[word] |= bits;
    return true;
  });
}

void SegmentTable::Drop(const Holding& holding) {
  Segment& segment = segments_[holding.slot];
  assert(segment.used && segment.held_count >= holding.chunk_count);
  segment.held_count -= holding.chunk_count;
  VisitChunks(holding.first_chunk, holding.chunk_count, [&segment](size_t word, uint64_t bits) {
    assert((segment.held[word] & bits) == bits);
    segment.held[word] &= ~bits;
    return true;
  });
}

void SegmentTable::FreeSlot(uint32_t slot) {
  segments_[slot] = Segment();
  free_.push_back(slot);
}

void SegmentTable::Leave(uint32_t slot, std::vector<uint32_t>& unmap) {
  Segment& segment = segments_[slot];
  slots_.erase(KeyOf(segment.sender, segment.id));
  segment.gone = true;
  if (segment.held_count != 0) return;
  unmap.push_back(slot);
  FreeSlot(slot);
}

void SegmentTable::SenderDied(int32_t sender, std::vector<uint32_t>& unmap) {
  unmap.clear();
  for (uint32_t slot = 0; slot < segments_.size(); ++slot) {
    const Segment& segment = segments_[slot];
    if (segment.used && !segment.gone && segment.sender == sender) Leave(slot, unmap);
  }
}

void SegmentTable::Close(std::vector<uint32_t>& unmap) {
  unmap.clear();
  for (uint32_t slot = 0; slot < segments_.size(); ++slot) {
    const Segment& segment = segments_[slot];
    if (segment.used && !segment.gone) Leave(slot, unmap);
  }
}

uint32_t SegmentTable::held_chunks() const {
  uint32_t chunks = 0;
  for (const Segment& segment : segments_) chunks += segment.held_count;
  return chunks;
}

std::string ToString(const SegmentTable& table) {
  std::string text;
  for (uint32_t slot = 0; slot < table.segments_.size(); ++slot) {
    const SegmentTable::Segment& segment = table.segments_[slot];
    if (!segment.used) continue;
    absl::StrAppend(&text, "slot ", slot, " segment ", segment.id, " of ", segment.sender,
                    " holds ", segment.held_count, segment.gone ? " sender dead" : "", "\n");
  }
  return text;
}

}  // namespace portproof
