// Which chunks of a segment are free: the bitmap, and allocation in it.
//
//   bit n (word n / 64, bit n % 64) = 1: chunk n is free. The bit behind the last
//   chunk, one word further, is the end stop: it stays 0, and nothing here looks at it.
//
//   shapes    Words: an accessor to the bitmap's 64-bit words (ValueWords here, atomic
//             ones in shared memory in port/). Each call touches its word once:
//               Load(word)              its bits
//               Take(word, seen, bits)  true: it was `seen` and lost `bits`; false:
//                                       it changed meanwhile, and stays as it is
//               Free(word, bits)        sets them
//             Counts are chunks, at least 1; a first chunk is below chunk_count
//   returns   AllocateChunks: the first of `count` consecutive chunks, the lowest that
//             was found free, all taken; or nullopt, the bitmap as it was. AllBusy: no
//             chunk of the range is free; each word is read once
//   holds     nothing; allocates nothing. Losing a race starts the search anew, at most
//             kLostRacesMax times: whoever keeps writing to the bitmap makes an
//             allocation fail, not hang
//   rules     SHM-6, SHM-7, SHM-9
//   source    nxt_port_mmap_get_free_chunk, nxt_port_mmap_chk_set_chunk_busy; the
//             original takes a request chunk by chunk, and gives up at the first race
//             it loses behind the first chunk
#ifndef PORTPROOF_PROTOCOL_CHUNK_MAP_H_
#define PORTPROOF_PROTOCOL_CHUNK_MAP_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "protocol/chunk.h"

namespace portproof {

inline constexpr uint32_t kWordChunks = 64;
inline constexpr uint32_t kLostRacesMax = 1 << 16;

constexpr uint32_t MapWords(const Geometry& geometry) { return geometry.chunk_count / kWordChunks; }

static_assert(kUnitGeometry.chunk_count % kWordChunks == 0 &&
              kTinyGeometry.chunk_count % kWordChunks == 0);

inline constexpr uint32_t kMapWordsMax = MapWords(kUnitGeometry);

// The chunks a request of `bytes` takes: at least one (SHM-7).
constexpr uint32_t ChunksToAllocate(uint32_t bytes, const Geometry& geometry) {
  return bytes == 0 ? 1 : ChunksFor(bytes, geometry);
}

// A bitmap that nobody shares.
class ValueWords {
 public:
  explicit ValueWords(std::span<uint64_t> words) : words_(words) {}

  uint64_t Load(size_t word) const { return words_[word]; }
  bool Take(size_t word, uint64_t seen, uint64_t bits) {
    words_[word] = seen & ~bits;
    return true;
  }
  void Free(size_t word, uint64_t bits) { words_[word] |= bits; }

 private:
  std::span<uint64_t> words_;
};

// Calls visit(word, bits) for each word of a range of chunks, until it says false.
template <typename Visit>
constexpr bool VisitChunks(uint32_t first, uint32_t count, Visit visit) {
  while (count > 0) {
    const uint32_t bit = first % kWordChunks;
    const uint32_t here = std::min(kWordChunks - bit, count);
    assert(here > 0 && here <= kWordChunks);
    if (!visit(size_t{first / kWordChunks}, (~uint64_t{0} >> (kWordChunks - here)) << bit)) {
      return false;
    }
    first += here;
    count -= here;
  }
  return true;
}

// Gives back what AllocateChunks took, or a receiver got (SHM-6).
template <typename Words>
void FreeChunks(Words& words, uint32_t first, uint32_t count) {
  if (count == 1) {
    words.Free(first / kWordChunks, uint64_t{1} << first % kWordChunks);
    return;
  }
  VisitChunks(first, count, [&words](size_t word, uint64_t bits) {
    words.Free(word, bits);
    return true;
  });
}

template <typename Words>
bool AllBusy(Words& words, uint32_t first, uint32_t count) {
  return VisitChunks(first, count, [&words](size_t word, uint64_t bits) {
    return (words.Load(word) & bits) == 0;
  });
}

namespace chunk_map_internal {

// The bits of `word` at which `count` set bits begin, all within the word.
constexpr uint64_t StartsWithin(uint64_t word, uint32_t count) {
  uint32_t have = 1;  // each set bit begins so many
  while (have < count && word != 0) {
    const uint32_t step = std::min(have, count - have);
    word &= word >> step;
    have += step;
  }
  return word;
}

// The lowest `count` free chunks in a row (SHM-7), as the words looked when they were read.
template <typename Words>
std::optional<uint32_t> FindFree(Words& words, uint32_t word_count, uint32_t count) {
  uint32_t run = 0;  // free chunks right before this word
  for (uint32_t word = 0; word < word_count; ++word) {
    const uint64_t bits = words.Load(word);
    const uint32_t base = word * kWordChunks;
    if (bits == 0) {
      run = 0;
      continue;
    }
    if (run + static_cast<uint32_t>(std::countr_one(bits)) >= count) return base - run;
    if (~bits == 0) {
      run += kWordChunks;
      continue;
    }
    if (count < kWordChunks) {
      const uint64_t starts = StartsWithin(bits, count);
      if (starts != 0) return base + static_cast<uint32_t>(std::countr_zero(starts));
    }
    run = static_cast<uint32_t>(std::countl_one(bits));
  }
  return std::nullopt;
}

// Takes all of the range, or none of it.
template <typename Words>
bool TakeChunks(Words& words, uint32_t first, uint32_t count) {
  uint32_t words_taken = 0;
  const bool whole = VisitChunks(first, count, [&words, &words_taken](size_t word, uint64_t bits) {
    const uint64_t seen = words.Load(word);
    if ((seen & bits) != bits || !words.Take(word, seen, bits)) return false;
    ++words_taken;
    return true;
  });
  if (whole) return true;
  VisitChunks(first, count, [&words, &words_taken](size_t word, uint64_t bits) {
    if (words_taken == 0) return false;
    --words_taken;
    words.Free(word, bits);
    return true;
  });
  return false;
}

template <typename Words>
std::optional<uint32_t> AllocateOne(Words& words, uint32_t word_count) {
  for (uint32_t lost = 0; lost <= kLostRacesMax; ++lost) {
    uint32_t word = 0;
    uint64_t seen = words.Load(word);
    while (seen == 0) {
      if (++word == word_count) return std::nullopt;
      seen = words.Load(word);
    }
    if (words.Take(word, seen, seen & (0 - seen))) {
      return word * kWordChunks + static_cast<uint32_t>(std::countr_zero(seen));
    }
  }
  return std::nullopt;
}

}  // namespace chunk_map_internal

template <typename Words>
std::optional<uint32_t> AllocateChunks(Words& words, const Geometry& geometry, uint32_t count) {
  assert(count > 0);
  const uint32_t word_count = MapWords(geometry);
  if (count == 1) return chunk_map_internal::AllocateOne(words, word_count);
  for (uint32_t lost = 0; lost <= kLostRacesMax; ++lost) {  // SHM-7: a lost race re-scans
    const auto first = chunk_map_internal::FindFree(words, word_count, count);
    if (!first) return std::nullopt;
    if (chunk_map_internal::TakeChunks(words, *first, count)) return first;
  }
  return std::nullopt;
}

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_CHUNK_MAP_H_
