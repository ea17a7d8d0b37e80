#include "port/segment_receiver.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace portproof {
namespace {

// The seals are read first: where shrinking is sealed, the size found after stays.
Announcement Describe(Kernel& kernel, int32_t sender, const std::vector<OwnedFd>& fds) {
  Announcement announcement{.sender = sender, .fds = static_cast<uint32_t>(fds.size())};
  if (fds.size() != 1) return announcement;
  const int fd = fds.front().get();
  const int seals = kernel.GetSeals(fd);
  if (seals < 0) return announcement;  // no memory file: reading it could wait for ever
  announcement.sealed = (seals & F_SEAL_SHRINK) != 0;
  announcement.guarded = SegmentGuard::installed();
  struct stat status = {};
  if (kernel.Status(fd, status) != 0 || !S_ISREG(status.st_mode)) return announcement;
  const ssize_t got = kernel.ReadAt(fd, announcement.head.data(), announcement.head.size(), 0);
  if (got != static_cast<ssize_t>(announcement.head.size())) return announcement;
  announcement.file_bytes = static_cast<uint64_t>(status.st_size);
  return announcement;
}

}  // namespace

std::optional<Rule> SegmentReceiver::Announce(int32_t sender, std::vector<OwnedFd> fds,
                                              uint32_t* id) {
  const Announcement announcement = Describe(*kernel_, sender, fds);
  if (const auto refused = table_.JudgeAnnouncement(announcement)) return refused;
  Mapped mapped;
  mapped.mapping =
      Mapping::Map(*kernel_, fds.front().get(), table_.config().geometry.SegmentBytes());
  if (!mapped.mapping.valid()) return Rule::kShm8;
  if (!announcement.sealed) {
    mapped.watch = SegmentGuard::Watch::Begin(mapped.mapping.bytes());
    if (!mapped.watch) return Rule::kShm8;
  }
  mapped.mapping.SentOver(table_.config().layout).store(kSentOverAny, std::memory_order_release);
  if (id != nullptr) *id = table_.IdOf(announcement);
  const uint32_t slot = table_.Add(sender, table_.IdOf(announcement));
  if (slot >= mapped_.size()) mapped_.resize(slot + 1);
  mapped_[slot] = std::move(mapped);
  return std::nullopt;
}

AtomicWords SegmentReceiver::WordsOf(uint32_t slot) const {
  return mapped_[slot].mapping.Words(table_.config().layout);
}

void SegmentReceiver::PoisonWhatDied(int32_t sender, std::span<const Reference> references) {
  for (const Reference& reference : references) {
    const auto slot = table_.Find(sender, reference.segment_id);
    if (slot && mapped_[*slot].poisoned()) table_.Poison(*slot);
  }
}

std::optional<Rule> SegmentReceiver::Accept(int32_t sender, std::span<const Reference> references,
                                            std::vector<Holding>& holdings) {
  const auto words_of = [this](uint32_t slot) { return WordsOf(slot); };
  PoisonWhatDied(sender, references);
  const auto refused = table_.Accept(sender, references, words_of, holdings);
  if (refused) return refused;
  bool died_meanwhile = false;  // the page of the bitmap: its zeros look busy
  for (const Holding& holding : holdings) died_meanwhile |= Damaged(holding);
  if (!died_meanwhile) return std::nullopt;
  for (const Holding& holding : holdings) Release(holding);
  holdings.clear();
  return Rule::kShm2;
}

std::optional<Rule> SegmentReceiver::JudgeTracking(int32_t sender, const Tracking& tracking,
                                                   uint32_t& slot) {
  const Reference of_segment = {.segment_id = tracking.mmap_id};
  PoisonWhatDied(sender, {&of_segment, 1});
  return table_.JudgeTracking(sender, tracking, slot);
}

bool SegmentReceiver::Take(uint32_t slot, const Tracking& tracking, uint32_t stream) {
  AtomicWords words = mapped_[slot].mapping.TrackingWords(table_.config().layout);
  return TakeTracked(words, tracking.tracking_id, stream);
}

std::span<const uint8_t> SegmentReceiver::Memory(const Holding& holding) const {
  const Geometry& geometry = table_.config().geometry;
  const size_t begin = geometry.header_bytes + size_t{holding.first_chunk} * geometry.chunk_bytes;
  return mapped_[holding.slot].mapping.bytes().subspan(begin, holding.bytes);
}

bool SegmentReceiver::Damaged(const Holding& holding) const {
  return mapped_[holding.slot].poisoned();
}

void SegmentReceiver::Release(const Holding& holding) {
  const auto words_of = [this](uint32_t slot) { return WordsOf(slot); };
  if (table_.Release(holding, words_of)) Unmap(holding.slot);
}

void SegmentReceiver::Unmap(uint32_t slot) {
  mapped_[slot].watch.reset();
  mapped_[slot].mapping = Mapping();
}

void SegmentReceiver::SenderDied(int32_t sender) {
  std::vector<uint32_t> slots;
  table_.SenderDied(sender, slots);
  for (const uint32_t slot : slots) Unmap(slot);
}

void SegmentReceiver::Close() {
  std::vector<uint32_t> slots;
  table_.Close(slots);
  for (const uint32_t slot : slots) Unmap(slot);
}

}  // namespace portproof
