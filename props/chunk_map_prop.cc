// Allocation in a bitmap against a set of free chunks.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "protocol/chunk_map.h"

namespace portproof {
namespace {

// The obvious allocator: every start in turn, every chunk of it looked up.
class NaiveSet {
 public:
  explicit NaiveSet(uint32_t chunk_count) : chunk_count_(chunk_count) {
    for (uint32_t chunk = 0; chunk < chunk_count; ++chunk) free_.insert(chunk);
  }

  std::optional<uint32_t> Allocate(uint32_t count) {
    for (uint32_t first = 0; first < chunk_count_; ++first) {
      uint32_t found = 0;
      while (found < count && free_.contains(first + found)) ++found;
      if (found < count) continue;
      for (uint32_t i = 0; i < count; ++i) free_.erase(first + i);
      return first;
    }
    return std::nullopt;
  }
  // False: a chunk of it was free already.
  bool Free(uint32_t first, uint32_t count) {
    bool busy = true;
    for (uint32_t i = 0; i < count; ++i) busy &= free_.insert(first + i).second;
    return busy;
  }
  bool IsFree(uint32_t chunk) const { return free_.contains(chunk); }
  size_t free_count() const { return free_.size(); }

 private:
  uint32_t chunk_count_;
  std::set<uint32_t> free_;
};

struct Request {
  bool allocate = true;
  uint32_t number = 0;  // of chunks, or which of the allocated ones
};

rc::Gen<std::vector<Request>> Requests(const Geometry& geometry) {
  const auto count = rc::gen::weightedOneOf<uint32_t>(
      {{6, rc::gen::inRange<uint32_t>(1, 4)},
       {3, rc::gen::inRange<uint32_t>(4, 80)},
       {1, rc::gen::inRange<uint32_t>(1, geometry.chunk_count + 2)}});
  const auto allocate = rc::gen::map(count, [](uint32_t number) { return Request{true, number}; });
  const auto free = rc::gen::map(rc::gen::arbitrary<uint32_t>(), [](uint32_t number) {
    return Request{false, number};
  });
  return rc::gen::scale(6.0, rc::gen::container<std::vector<Request>>(
                                 rc::gen::weightedOneOf<Request>({{3, allocate}, {2, free}})));
}

struct Reached {
  int allocated = 0, of_several = 0, refused = 0, refused_by_holes = 0, hole_filled = 0;
};

void Compare(const Geometry& geometry, const std::vector<Request>& requests, Reached& reached) {
  std::array<uint64_t, kMapWordsMax + 1> bits = {};
  ValueWords words(bits);
  FreeChunks(words, 0, geometry.chunk_count);
  const auto idle = bits;
  NaiveSet naive(geometry.chunk_count);
  std::vector<std::pair<uint32_t, uint32_t>> owned;
  uint32_t highest = 0;
  for (const Request& request : requests) {
    if (request.allocate) {
      const auto first = AllocateChunks(words, geometry, request.number);
      RC_ASSERT(first == naive.Allocate(request.number));  // one owner, lowest, or refused
      ++(first ? reached.allocated : reached.refused);
      if (!first) reached.refused_by_holes += naive.free_count() >= request.number;
      if (!first) continue;
      reached.of_several += request.number > 1;
      reached.hole_filled += *first < highest;
      highest = std::max(highest, *first);
      RC_ASSERT(AllBusy(words, *first, request.number));
      owned.emplace_back(*first, request.number);
    } else if (!owned.empty()) {
      const size_t index = request.number % owned.size();
      const auto [first, count] = owned[index];
      owned.erase(owned.begin() + static_cast<std::ptrdiff_t>(index));
      FreeChunks(words, first, count);
      RC_ASSERT(naive.Free(first, count));
    }
    for (uint32_t chunk = 0; chunk < geometry.chunk_count; ++chunk) {
      RC_ASSERT(((bits[chunk / 64] >> chunk % 64 & 1) != 0) == naive.IsFree(chunk));
    }
    for (size_t word = MapWords(geometry); word < bits.size(); ++word) RC_ASSERT(bits[word] == 0u);
  }
  for (const auto& [first, count] : owned) FreeChunks(words, first, count);
  RC_ASSERT(bits == idle);
}

// SHM-6, SHM-7
TEST(ChunkMapProp, AllocationIsThatOfASetOfFreeChunks) {
  Reached reached;
  for (const Geometry& geometry : {kUnitGeometry, kTinyGeometry}) {
    EXPECT_TRUE(
        rc::check([&geometry, &reached] { Compare(geometry, *Requests(geometry), reached); }));
  }
  EXPECT_GE(reached.allocated, 2000);
  EXPECT_GE(reached.of_several, 1000);
  EXPECT_GE(reached.refused, 200);
  EXPECT_GE(reached.refused_by_holes, 50);
  EXPECT_GE(reached.hole_filled, 200);
}

}  // namespace
}  // namespace portproof
