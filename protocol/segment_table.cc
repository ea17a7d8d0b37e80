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

uint32_t SegmentTable::Add(int32_t sender, uint32_t id) {
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(segments_.size()));
    segments_.emplace_back();
  }
  const uint32_t slot = free_.back();
  const bool added = slots_.emplace(KeyOf(sender, id), slot).second;
  assert(added);
  static_cast<void>(added);
  free_.pop_back();
  segments_[slot] = {.sender = sender, .id = id, .used = true};
  return slot;
}

std::optional<uint32_t> SegmentTable::Find(int32_t sender, uint32_t id) const {
  const auto found = slots_.find(KeyOf(sender, id));
  return found == slots_.end() ? std::nullopt : std::optional(found->second);
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
                                        Holding& holding) const {
  if (reference.segment_id >= config_.ids_max) return Rule::kShm2;
  const std::optional<uint32_t> slot = Find(sender, reference.segment_id);
  if (!slot) return Rule::kShm10;
  const Segment& segment = segments_[*slot];
  if (segment.poisoned || !InRange(reference, config_.geometry)) return Rule::kShm2;
  holding = {*slot, reference.first_chunk, ChunksFor(reference.bytes, config_.geometry),
             reference.bytes};
  const bool nothing_held = VisitChunks(
      holding.first_chunk, holding.chunk_count,
      [&segment](size_t word, uint64_t bits) { return (segment.held[word] & bits) == 0; });
  if (!nothing_held) return Rule::kShm2;  // by an earlier reference of this message, too
  return std::nullopt;
}

std::optional<Rule> SegmentTable::JudgeTracking(int32_t sender, const Tracking& tracking,
                                                uint32_t& slot) const {
  const std::optional<uint32_t> found = Find(sender, tracking.mmap_id);
  if (!found || segments_[*found].poisoned) return Rule::kShm14;
  if (tracking.tracking_id >= TrackingSlots(config_.layout, config_.geometry)) return Rule::kShm14;
  slot = *found;
  return std::nullopt;
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
                    " holds ", segment.held_count, segment.gone ? " sender dead" : "",
                    segment.poisoned ? " poisoned" : "", "\n");
  }
  return text;
}

}  // namespace portproof
