// Which chunks of its own segment a sender has, so that each is freed by one of two.
//   shapes    an allocation is a range of chunks with a number, from Took until Release.
//             A chunk is ours until HandedOver (the datagram that names it is sent;
//             TakenBack if not). Counts are chunks
//   returns   Took: the allocation's number; or nullopt where a chunk of it is ours
//             already: a peer freed what it does not own, the bitmap is worth nothing any
//             more, and nothing has changed here. Release: how many were still ours and of
//             that allocation, and now are free: a chunk that was handed over may have
//             come back free, and be part of a later allocation, before the release of
//             the earlier one
//   holds     a private bitmap, and for each chunk which allocation took it last; what a
//             peer writes to the shared bitmap does not count
//   rules     SHM-6
//   source    none: the original frees what its completion finds, sent or not
#ifndef PORTPROOF_PROTOCOL_CHUNK_LEDGER_H_
#define PORTPROOF_PROTOCOL_CHUNK_LEDGER_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "protocol/chunk.h"
#include "protocol/chunk_map.h"

namespace portproof {

class ChunkLedger {
 public:
  std::optional<uint64_t> Took(uint32_t first, uint32_t count) {
    const bool fresh = VisitChunks(
        first, count, [this](size_t word, uint64_t bits) { return (ours_[word] & bits) == 0; });
    if (!fresh) return std::nullopt;
    ++allocations_;
    VisitChunks(first, count, [this](size_t word, uint64_t bits) {
      ours_[word] |= bits;
      newest_[word] = allocations_;
      return true;
    });
    std::fill_n(taken_by_.begin() + first, count, allocations_);
    return allocations_;
  }

  void HandedOver(const Reference& reference, const Geometry& geometry) {
    const uint32_t count = ChunksFor(reference.bytes, geometry);
    VisitChunks(reference.first_chunk, count, [this](size_t word, uint64_t bits) {
      ours_[word] &= ~bits;
      return true;
    });
  }

  // What the last HandedOver of these chunks said did not happen: a sender says it before
  // it calls the kernel, since the receiver may free a chunk before that returns.
  void TakenBack(const Reference& reference, const Geometry& geometry) {
    const uint32_t count = ChunksFor(reference.bytes, geometry);
    VisitChunks(reference.first_chunk, count, [this](size_t word, uint64_t bits) {
      ours_[word] |= bits;
      return true;
    });
  }

  // After a completion, good or bad: what was sent by copying, or not at all, is freed.
  template <typename Words>
  uint32_t Release(uint64_t allocation, uint32_t first, uint32_t count, Words& words) {
    uint32_t freed = 0;
    VisitChunks(first, count, [&](size_t word, uint64_t bits) {
      const uint64_t still_ours = OfAllocation(allocation, word, ours_[word] & bits);
      if (still_ours == 0) return true;
      ours_[word] &= ~still_ours;
      words.Free(word, still_ours);
      freed += static_cast<uint32_t>(std::popcount(still_ours));
      return true;
    });
    return freed;
  }

  // The receiver of all that was handed over is dead: frees whatever is not ours.
  template <typename Words>
  void Reclaim(const Geometry& geometry, Words& words) const {
    for (uint32_t word = 0; word < MapWords(geometry); ++word) words.Free(word, ~ours_[word]);
  }

  uint32_t count() const {
    uint32_t chunks = 0;
    for (const uint64_t word : ours_) chunks += static_cast<uint32_t>(std::popcount(word));
    return chunks;
  }

  friend bool operator==(const ChunkLedger&, const ChunkLedger&) = default;

 private:
  // Of chunks of that allocation's range that are ours: not those that were handed over,
  // came back free, and which a later one has.
  uint64_t OfAllocation(uint64_t allocation, size_t word, uint64_t bits) const {
    if (newest_[word] <= allocation) return bits;
    uint64_t of_it = bits;
    for (uint64_t rest = bits; rest != 0; rest &= rest - 1) {
      const auto bit = static_cast<uint32_t>(std::countr_zero(rest));
      if (taken_by_[word * kWordChunks + bit] != allocation) of_it &= ~(uint64_t{1} << bit);
    }
    return of_it;
  }

  static constexpr size_t kChunksMax = size_t{kMapWordsMax} * kWordChunks;

  std::array<uint64_t, kMapWordsMax> ours_ = {};
  std::array<uint64_t, kChunksMax> taken_by_ = {};  // which allocation took each last
  std::array<uint64_t, kMapWordsMax> newest_ = {};  // the last that took any of the word
  uint64_t allocations_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_CHUNK_LEDGER_H_
