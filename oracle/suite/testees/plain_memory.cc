// Shared memory of the simple receiver: announcements, references, chunks.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "oracle/suite/testees/lies.h"
#include "oracle/suite/testees/plain_receiver.h"
#include "protocol/chunk_map.h"
#include "protocol/segment_header.h"

namespace portproof::testee {
namespace {

constexpr uint32_t kIdsMax = 1024;

}  // namespace

std::string PlainReceiver::JudgeSegment(const Received& received, const Header& header,
                                        SegmentHeader& segment, uint64_t& bytes) const {
  if (received.fds.size() != 1) return "FDS-6";
  const int fd = received.fds.front();
  struct stat file = {};
  fstat(fd, &file);
  bytes = static_cast<uint64_t>(file.st_size);
  if (bytes != kUnitGeometry.SegmentBytes()) return "SHM-8";
  const int seals = fcntl(fd, F_GET_SEALS);
  const bool sealed = seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
  if (!sealed && !Lie("unsealed-mapped")) return "SHM-8";
  std::array<uint8_t, kSegmentHeadBytes> head = {};
  if (pread(fd, head.data(), head.size(), 0) != static_cast<ssize_t>(head.size())) return "SHM-8";
  segment = DecodeSegmentHeader(head, profile_->segment_layout);
  const int32_t source = profile_->segment_layout == SegmentLayout::kSeed
                             ? SenderOf(received, header)
                             : segment.source_pid;
  if (source != SenderOf(received, header) || segment.id >= kIdsMax) return "SHM-8";
  // As a router that takes what was made for others.
  if (Lie("only-segments-for-any") && segment.destination_pid != 0) return "SHM-8";
  const bool known = segments_.contains(SegmentKey(source, segment.id));
  if (known && !Lie("segment-replaced")) return "SHM-8";
  return "";
}

void PlainReceiver::Announced(Received& received, const Header& header) {
  SegmentHeader segment;
  uint64_t bytes = 0;
  const std::string refused = JudgeSegment(received, header, segment, bytes);
  if (!refused.empty()) {
    if (Lie("segment-fd-kept")) received.fds.clear();
    Refuse(refused.c_str(), received);
    return;
  }
  const uint64_t key = SegmentKey(SenderOf(received, header), segment.id);
  Mapping mapping = Mapping::Map(Kernel::Real(), received.fds.front(), bytes);
  CloseAll(received.fds);
  if (segment.sent_over != kSentOverAny)
    mapping.SentOver(profile_->segment_layout).store(kSentOverAny);
  segments_[key] = std::move(mapping);
  if (asked_.erase(key) != 0 || Lie("any-announcement-will-do")) GoOn();
}

// A datagram waits behind those of its message, and of its stream.
bool PlainReceiver::Waits(const Key& key) const {
  if (Lie("a-held-message-blocks-all") && !waiting_.empty()) return true;
  if (Lie("fragments-overtake-what-is-held")) return false;
  return std::any_of(waiting_.begin(), waiting_.end(),
                     [&key](const Waiting& held) { return held.key == key; });
}

void PlainReceiver::Hold(Received& received, const Header& header) {
  const Key key = KeyOf(received, header);
  const int32_t sender = SenderOf(received, header);
  if (!Fits({-1, 0}, sender, received.bytes.size()) && !Lie("held-unbounded"))
    return Refuse("FRG-8", received);
  waiting_.push_back({received, key, sender});
}

void PlainReceiver::AskFor(int32_t sender, uint32_t id) {
  if (!asked_.insert(SegmentKey(sender, id)).second || Lie("never-asks")) return;
  ask_(Lie("asks-for-another-segment") ? id + 1 : id);
  if (Lie("asks-twice")) ask_(id);
}

// All once more; what still cannot go on is held again, in the same order.
void PlainReceiver::GoOn() {
  std::deque<Waiting> waiting;
  std::swap(waiting, waiting_);
  for (Waiting& held : waiting) {
    if (Lie("held-messages-are-lost")) {
      CloseAll(held.received.fds);
    } else if (Lie("any-announcement-will-do")) {
      Refuse("SHM-10", held.received);
    } else {
      Handle(held.received);
      if (Lie("held-messages-come-twice")) events_.push_back(events_.back());
    }
  }
}

// Empty: it is good.
std::string PlainReceiver::CheckReference(int32_t sender, const Reference& reference,
                                          const std::vector<Chunk>& taken) const {
  const uint64_t key = SegmentKey(sender, reference.segment_id);
  if (!segments_.contains(key)) return "SHM-10";
  if (!InRange(reference, kUnitGeometry)) return "SHM-2";
  AtomicWords words = segments_.at(key).Words(profile_->segment_layout);
  const uint32_t count = ChunksFor(reference.bytes, kUnitGeometry);
  if (!AllBusy(words, reference.first_chunk, count) && !Lie("free-chunks-accepted")) return "SHM-2";
  for (uint32_t i = 0; i < count && !Lie("overlap-accepted"); ++i) {
    const Chunk chunk = {key, reference.first_chunk + i};
    if (held_.contains(chunk) || std::find(taken.begin(), taken.end(), chunk) != taken.end())
      return "SHM-2";
  }
  return "";
}

// The bytes behind the references; false: refused, or held until a segment is announced.
bool PlainReceiver::Resolve(Received& received, const Header& header, std::vector<uint8_t>& payload,
                            std::vector<Chunk>& chunks) {
  const bool tracking = profile_->byte15 == Byte15::kTracking && header.byte15 != 0;
  std::vector<Reference> references;
  if (!DecodeReferences(payload, tracking, MachineByteOrder(), references)) {
    if (Lie("no-list-is-plain")) return true;
    Discard(KeyOf(received, header));
    Refuse("SHM-1", received);
    return false;
  }
  payload.clear();
  const int32_t sender = SenderOf(received, header);
  std::string refused;
  for (const Reference& reference : references) {
    const uint64_t key = SegmentKey(sender, reference.segment_id);
    if (!segments_.contains(key) && profile_->queues && !Lie("unknown-segment-refused")) {
      AskFor(sender, reference.segment_id);
      if (Lie("delivers-before-announced")) {
        payload.resize(reference.bytes);
        return true;
      }
      Hold(received, header);
      return false;
    }
    const std::string bad = CheckReference(sender, reference, chunks);
    if (!bad.empty()) {
      if (refused.empty()) refused = bad;
      continue;
    }
    const auto bytes = segments_.at(key).bytes().subspan(
        kUnitGeometry.header_bytes + size_t{reference.first_chunk} * kUnitGeometry.chunk_bytes,
        reference.bytes);
    payload.insert(payload.end(), bytes.begin(), bytes.end());
    for (uint32_t i = 0; i < ChunksFor(reference.bytes, kUnitGeometry); ++i)
      chunks.emplace_back(key, reference.first_chunk + i);
  }
  held_.insert(chunks.begin(), chunks.end());
  if (refused.empty() || Lie("bad-references-left-out")) return true;
  if (!Lie("bad-reference-keeps-the-message")) Discard(KeyOf(received, header));
  if (!Lie("good-references-kept")) Free(chunks);
  Refuse(refused.c_str(), received);
  return false;
}

// SHM-14: true, the message was taken back, or is the rest of such a one.
bool PlainReceiver::Cancelled(const Received& received, const Header& header) {
  const Key key = KeyOf(received, header);
  if (header.nf) {
    const bool cancelled = cancelled_.contains(key);
    if (!header.mf) cancelled_.erase(key);
    return cancelled;
  }
  const bool tracked = profile_->byte15 == Byte15::kTracking && header.mmap && header.byte15 != 0;
  if (!tracked || assemblies_.contains(key) || Lie("tracking-ignored")) return false;
  const auto payload = std::span(received.bytes).subspan(kHeaderBytes);
  const Tracking tracking = DecodeTracking(payload.first<kTrackingBytes>(), MachineByteOrder());
  const auto segment = segments_.find(SegmentKey(SenderOf(received, header), tracking.mmap_id));
  const uint32_t slots = TrackingSlots(profile_->segment_layout, kUnitGeometry);
  if (segment == segments_.end() || tracking.tracking_id >= slots) return false;
  AtomicWords words = segment->second.TrackingWords(profile_->segment_layout);
  if (TakeTracked(words, tracking.tracking_id, header.stream)) return false;
  if (header.mf) cancelled_.insert(key);
  return !Lie("cancelled-delivered");
}

void PlainReceiver::Free(const std::vector<Chunk>& chunks) {
  for (const Chunk& chunk : chunks) {
    held_.erase(chunk);
    if (Lie("chunks-never-freed")) continue;
    AtomicWords words = segments_.at(chunk.first).Words(profile_->segment_layout);
    FreeChunks(words, chunk.second, 1);
  }
  if (Lie("chunks-freed-twice")) freed_before_ = chunks;
}

}  // namespace portproof::testee
