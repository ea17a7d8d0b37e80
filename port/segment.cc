#include "port/segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cassert>
#include <cerrno>
#include <utility>

#include "port/process.h"
#include "protocol/chunk_map.h"

namespace portproof {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

Segment::Segment(OwnedFd fd, Mapping mapping, uint32_t id, SegmentLayout layout,
                 const Geometry& geometry)
    : fd_(std::move(fd)),
      mapping_(std::move(mapping)),
      id_(id),
      layout_(layout),
      geometry_(geometry),
      generation_(ForkGeneration()) {}

absl::StatusOr<Segment> Segment::Create(const SegmentHeader& header, SegmentLayout layout,
                                        const Geometry& geometry, Kernel& kernel) {
  OwnedFd fd(kernel.MemoryFile("portproof segment"));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "memfd_create");
  const size_t bytes = geometry.SegmentBytes();
  if (kernel.Truncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return absl::ErrnoToStatus(errno, "ftruncate");
  }
  if (kernel.AddSeals(fd.get(), kSeals) != 0) return absl::ErrnoToStatus(errno, "F_ADD_SEALS");
  Mapping mapping = Mapping::Map(kernel, fd.get(), bytes);
  if (!mapping.valid()) return absl::ErrnoToStatus(errno, "mmap");
  EncodeSegmentHeader(header, layout, geometry, mapping.bytes().first(geometry.header_bytes));
  return Segment(std::move(fd), std::move(mapping), header.id, layout, geometry);
}

bool Segment::UsableOver(uint16_t port) const {
  const uint16_t sent_over = mapping_.SentOver(layout_).load(std::memory_order_relaxed);  // SHM-9
  return sent_over == kSentOverAny || sent_over == port;
}

std::optional<ChunkRange> Segment::Allocate(uint32_t bytes) {
  if (betrayed_ || generation_ != ForkGeneration()) return std::nullopt;
  AtomicWords words = mapping_.Words(layout_);
  const uint32_t count = ChunksToAllocate(bytes, geometry_);
  const auto first = AllocateChunks(words, geometry_, count);
  if (!first) return std::nullopt;
  const auto allocation = ledger_.Took(*first, count);
  if (!allocation) {  // SHM-6: the peer broke it
    betrayed_ = true;
    return std::nullopt;
  }
  return ChunkRange{*first, count, *allocation};
}

std::span<uint8_t> Segment::Memory(const ChunkRange& range) const {
  const size_t begin = geometry_.header_bytes + size_t{range.first} * geometry_.chunk_bytes;
  return mapping_.bytes().subspan(begin, size_t{range.count} * geometry_.chunk_bytes);
}

Buffer Segment::BufferOf(const ChunkRange& range, uint32_t bytes, uint64_t buffer_id,
                         uint16_t port) const {
  assert(bytes <= Memory(range).size());
  return {.address = reinterpret_cast<uint64_t>(Memory(range).data()),
          .id = buffer_id,
          .bytes = bytes,
          .segment_id = id_,
          .segment_offset = range.first * geometry_.chunk_bytes,
          .kind = BufferKind::kShared,
          .usable = UsableOver(port)};
}

uint32_t Segment::Release(const ChunkRange& range) {
  if (generation_ != ForkGeneration()) return 0;
  AtomicWords words = mapping_.Words(layout_);
  return ledger_.Release(range.allocation, range.first, range.count, words);
}

void Segment::Track(uint32_t slot, uint32_t stream) {
  assert(slot < tracking_slots() && stream != 0);
  AtomicWords words = mapping_.TrackingWords(layout_);
  BeginTracking(words, slot, stream);
}

bool Segment::Cancel(uint32_t slot, uint32_t stream) {
  if (generation_ != ForkGeneration() || slot >= tracking_slots() || stream == 0) return false;
  AtomicWords words = mapping_.TrackingWords(layout_);
  return CancelTracked(words, slot, stream);
}

void Segment::ReceiverDied() {
  if (generation_ != ForkGeneration()) return;
  AtomicWords words = mapping_.Words(layout_);
  ledger_.Reclaim(geometry_, words);
}

uint32_t Segment::FreeCount() const {
  AtomicWords words = mapping_.Words(layout_);
  uint32_t chunks = 0;
  for (uint32_t word = 0; word < MapWords(geometry_); ++word) {
    chunks += static_cast<uint32_t>(std::popcount(words.Load(word)));
  }
  return chunks;
}

}  // namespace portproof
