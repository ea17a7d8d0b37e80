#include "oracle/suite/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "oracle/suite/verdict.h"
#include "protocol/chunk_map.h"
#include "protocol/header.h"

namespace portproof::suite {
namespace {

std::span<uint8_t> ChunkBytes(const Mapping& mapping, const Reference& reference) {
  return mapping.bytes().subspan(
      kUnitGeometry.header_bytes + size_t{reference.first_chunk} * kUnitGeometry.chunk_bytes,
      reference.bytes);
}

void Want(bool met, Rule rule, const std::string& expected, const std::string& seen) {
  if (!met) throw CaseEnd{Verdict::kFail, rule, expected, seen};
}

}  // namespace

OwnSegment::OwnSegment(const SegmentHeader& header, SegmentLayout layout, bool sealed,
                       uint64_t bytes)
    : fd_(memfd_create("suite segment", MFD_CLOEXEC | MFD_ALLOW_SEALING)), layout_(layout) {
  if (ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) return;
  if (sealed) fcntl(fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  if (bytes < kUnitGeometry.header_bytes) return;
  mapping_ = Mapping::Map(Kernel::Real(), fd_.get(), bytes);
  EncodeSegmentHeader(header, layout, kUnitGeometry,
                      mapping_.bytes().first(kUnitGeometry.header_bytes));
}

void OwnSegment::Take(uint32_t first, uint32_t count) {
  AtomicWords words = mapping_.Words(layout_);
  VisitChunks(first, count, [&words](size_t word, uint64_t bits) {
    uint64_t seen = words.Load(word);
    while (!words.Take(word, seen, bits)) seen = words.Load(word);
    return true;
  });
}

bool OwnSegment::AllBusy(uint32_t first, uint32_t count) const {
  AtomicWords words = mapping_.Words(layout_);
  return portproof::AllBusy(words, first, count);
}

bool OwnSegment::AllFree(uint32_t first, uint32_t count) const {
  AtomicWords words = mapping_.Words(layout_);
  return VisitChunks(first, count, [&words](size_t word, uint64_t bits) {
    return (words.Load(word) & bits) == bits;
  });
}

void OwnSegment::Fill(uint32_t first, std::span<const uint8_t> bytes) {
  const Reference whole = {0, first, static_cast<uint32_t>(bytes.size())};
  std::copy(bytes.begin(), bytes.end(), ChunkBytes(mapping_, whole).begin());
}

void OwnSegment::Track(uint32_t slot, uint32_t stream) {
  AtomicWords words = mapping_.TrackingWords(layout_);
  words.Store(slot, stream);
}

uint64_t OwnSegment::TrackedStream(uint32_t slot) const {
  return mapping_.TrackingWords(layout_).Load(slot);
}

void OwnSegment::Shrink() {
  mapping_ = Mapping();
  if (ftruncate(fd_.get(), 0) != 0) {
    throw CaseEnd{Verdict::kSuiteError, std::nullopt, "an unsealed segment that shrinks",
                  "ftruncate failed"};
  }
}

// For whom a segment is: one process, or any that the announcer serves.
void PeerMemory::JudgeDestination(const SegmentHeader& header, const Profile& profile,
                                  const Parties& parties) {
  const bool any = header.destination_pid == 0;
  if (profile.queues && parties.process == "application")
    Want(!any, Rule::kShm8, absl::StrCat("an application's segment for pid ", parties.own),
         "pid 0");
  if (profile.queues && parties.process == "router")
    Want(any, Rule::kShm8, "a router's segment for pid 0", absl::StrCat(header.destination_pid));
  Want(any || header.destination_pid == parties.own, Rule::kShm8,
       absl::StrCat("destination pid ", parties.own, " or 0"),
       absl::StrCat(header.destination_pid));
  Want(!any || header.sent_over == kSentOverAny, Rule::kShm8,
       "a segment without a destination to be used over any port",
       absl::StrCat("sent_over ", header.sent_over));
}

void PeerMemory::Adopt(const Arrived& announcement, const Profile& profile,
                       const Parties& parties) {
  const Header header = DecodeHeader(announcement.bytes)->header;
  Want(announcement.opened.size() == 1, Rule::kFds6, "one descriptor with an mmap message",
       absl::StrCat(announcement.fds.size()));
  Want(announcement.bytes.size() == kHeaderBytes && header.stream == 0 && !header.mmap, Rule::kShm8,
       "an announcement: stream 0, no payload, mmap = 0", ToString(header));
  struct stat file = {};
  fstat(announcement.opened.front().get(), &file);
  Want(static_cast<uint64_t>(file.st_size) == kUnitGeometry.SegmentBytes(), Rule::kShm8,
       absl::StrCat(kUnitGeometry.SegmentBytes(), " bytes"), absl::StrCat(file.st_size));
  layout_ = profile.segment_layout;
  Announced announced;
  announced.mapping =
      Mapping::Map(Kernel::Real(), announcement.opened.front().get(), kUnitGeometry.SegmentBytes());
  Want(announced.mapping.valid(), Rule::kShm8, "a descriptor that can be mapped", "mmap failed");
  announced.header =
      DecodeSegmentHeader(announced.mapping.bytes().first<kSegmentHeadBytes>(), layout_);
  if (layout_ != SegmentLayout::kSeed) {
    Want(announced.header.source_pid == parties.source, Rule::kShm8,
         absl::StrCat("source pid ", parties.source), absl::StrCat(announced.header.source_pid));
  }
  JudgeDestination(announced.header, profile, parties);
  announced.file = FileIdOf(announcement.opened.front().get());
  if (const auto known = segments_.find(announced.header.id); known != segments_.end()) {
    Want(Asked(known->first), Rule::kShm8, "each segment announced once",
         absl::StrCat("id ", known->first, " again, which nobody asked for"));
    Want(known->second.file == announced.file, Rule::kShm8, "the same segment under the same id",
         absl::StrCat("another with id ", known->first));
    return;
  }
  if (announced.header.sent_over != kSentOverAny)
    announced.mapping.SentOver(layout_).store(kSentOverAny, std::memory_order_relaxed);
  segments_.emplace(announced.header.id, std::move(announced));
}

std::vector<uint8_t> PeerMemory::Content(const Reference& reference) {
  const auto segment = segments_.find(reference.segment_id);
  if (segment == segments_.end()) return {};
  const Mapping& mapping = segment->second.mapping;
  AtomicWords words = mapping.Words(layout_);
  if (!AllBusy(words, reference.first_chunk, ChunksFor(reference.bytes, kUnitGeometry))) return {};
  held_.push_back(reference);
  const auto bytes = ChunkBytes(mapping, reference);
  return {bytes.begin(), bytes.end()};
}

void PeerMemory::ReleaseAll() {
  for (const Reference& reference : held_) {
    AtomicWords words = segments_.at(reference.segment_id).mapping.Words(layout_);
    FreeChunks(words, reference.first_chunk, ChunksFor(reference.bytes, kUnitGeometry));
  }
  held_.clear();
}

uint32_t PeerMemory::busy_chunks() const {
  uint32_t busy = 0;
  for (const auto& [id, segment] : segments_) {
    const AtomicWords words = segment.mapping.Words(layout_);
    for (uint32_t word = 0; word < MapWords(kUnitGeometry); ++word)
      busy += kWordChunks - static_cast<uint32_t>(std::popcount(words.Load(word)));
  }
  return busy;
}

}  // namespace portproof::suite
