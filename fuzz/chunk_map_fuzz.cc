// Laws of the bitmap under a list of actions. Byte 0 picks the geometry; then two bytes
// an action: an even first one allocates as many chunks as the pair says, an odd one
// frees the allocation the second one chooses. No chunk has two owners, what is refused
// does not fit, all is free in the end, and the end stop is never touched.
#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "protocol/chunk_map.h"

using namespace portproof;

namespace {

constexpr uint64_t kEndStop = 0x5a5a5a5a5a5a5a5a;  // as a peer might have left it

struct Range {
  uint32_t first = 0;
  uint32_t count = 0;
};

std::optional<uint32_t> LowestFit(const std::bitset<640>& busy, uint32_t chunks, uint32_t count) {
  uint32_t run = 0;
  for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
    run = busy[chunk] ? 0 : run + 1;
    if (run == count) return chunk + 1 - count;
  }
  return std::nullopt;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Geometry geometry = (data[0] & 1) != 0 ? kTinyGeometry : kUnitGeometry;
  const uint32_t word_count = MapWords(geometry);
  std::array<uint64_t, kMapWordsMax + 1> bits = {};
  ValueWords words(bits);
  FreeChunks(words, 0, geometry.chunk_count);
  bits[word_count] = kEndStop;
  const auto idle = bits;
  std::bitset<640> busy;
  std::vector<Range> owned;
  for (size_t i = 1; i + 1 < size; i += 2) {
    if ((data[i] & 1) == 0) {
      const uint32_t count = 1 + (data[i] >> 1 & 7U) * 256U % 701 + data[i + 1];
      const auto first = AllocateChunks(words, geometry, count);
      if (first != LowestFit(busy, geometry.chunk_count, count)) std::abort();  // SHM-7
      if (!first) continue;
      if (!AllBusy(words, *first, count)) std::abort();
      for (uint32_t j = 0; j < count; ++j) busy.set(*first + j);
      owned.push_back({*first, count});
    } else if (!owned.empty()) {
      std::swap(owned[data[i + 1] % owned.size()], owned.back());
      for (uint32_t j = 0; j < owned.back().count; ++j) busy.reset(owned.back().first + j);
      FreeChunks(words, owned.back().first, owned.back().count);
      owned.pop_back();
    }
    if (bits[word_count] != kEndStop) std::abort();
    for (uint32_t word = 0; word < word_count; ++word) {
      for (uint32_t bit = 0; bit < kWordChunks; ++bit) {
        if ((bits[word] >> bit & 1) == busy[word * kWordChunks + bit]) std::abort();
      }
    }
  }
  for (const Range& range : owned) FreeChunks(words, range.first, range.count);
  if (bits != idle) std::abort();  // SHM-6
  return 0;
}
