// Which chunks of its own segment a sender has, so that each is freed by one of two.
//   shapes    a chunk is ours from Took until HandedOver (the datagram that names it is
//             sent; TakenBack if not) or Release; counts are chunks
//   returns   Took: false where a chunk of it is ours already: a peer freed what it does
//             not own, the bitmap is worth nothing any more, and nothing has changed
//             here. Release: how many were still ours, and now are free
//   holds     a private bitmap; what a peer writes to the shared one does not count
//   rules     SHM-6
//   source    none: the original frees what its completion finds, sent or not
#ifndef PORTPROOF_PROTOCOL_CHUNK_LEDGER_H_
#define PORTPROOF_PROTOCOL_CHUNK_LEDGER_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "protocol/chunk.h"
#include "protocol/chunk_map.h"

namespace portproof {

class ChunkLedger {
 public:
  bool Took(uint32_t first, uint32_t count) {
    const bool fresh = VisitChunks(
        first, count, [this](size_t word, uint64_t bits) { return (ours_[word] & bits) == 0; });
    if (!fresh) return false;
    VisitChunks(first, count, [this](size_t word, uint64_t bits) {
      ours_[word] |= bits;
      return true;
    });
    return true;
  }

  void HandedOver(const Reference& reference, const Geometry& geometry) {
    VisitChunks(reference.first_chunk, ChunksFor(reference.bytes, geometry),
                [this](size_t word, uint64_t bits) {
                  ours_[word] &= ~bits;
                  return true;
                });
  }

  // What HandedOver said did not happen: a sender says it before it calls the kernel,
  // since the receiver may free, and another thread take, a chunk before that returns.
  void TakenBack(const Reference& reference, const Geometry& geometry) {
    VisitChunks(reference.first_chunk, ChunksFor(reference.bytes, geometry),
                [this](size_t word, uint64_t bits) {
                  ours_[word] |= bits;
                  return true;
                });
  }

  // After a completion, good or bad: what was sent by copying, or not at all, is freed.
  template <typename Words>
  uint32_t Release(uint32_t first, uint32_t count, Words& words) {
    uint32_t freed = 0;
    VisitChunks(first, count, [this, &freed, &words](size_t word, uint64_t bits) {
      const uint64_t still_ours = ours_[word] & bits;
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
  std::array<uint64_t, kMapWordsMax> ours_ = {};
};

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_CHUNK_LEDGER_H_
