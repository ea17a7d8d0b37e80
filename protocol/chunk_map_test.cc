// The bitmap of a segment: SHM-6, SHM-7.
#include "protocol/chunk_map.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <optional>

namespace portproof {
namespace {

struct Map {
  std::array<uint64_t, kMapWordsMax + 1> bits = {};  // and the end stop
  ValueWords words{bits};

  explicit Map(bool free = true) {
    if (free) FreeChunks(words, 0, kUnitGeometry.chunk_count);
  }
  std::optional<uint32_t> Allocate(uint32_t count) {
    return AllocateChunks(words, kUnitGeometry, count);
  }
  bool IsFree(uint32_t chunk) const { return (bits[chunk / 64] >> chunk % 64 & 1) != 0; }
};

TEST(ChunkMap, SHM_7_CountsWholeChunksAndAtLeastOne) {
  EXPECT_EQ(ChunksToAllocate(0, kUnitGeometry), 1U);
  EXPECT_EQ(ChunksToAllocate(1, kUnitGeometry), 1U);
  EXPECT_EQ(ChunksToAllocate(16384, kUnitGeometry), 1U);
  EXPECT_EQ(ChunksToAllocate(16385, kUnitGeometry), 2U);
  EXPECT_EQ(ChunksToAllocate(10485760, kUnitGeometry), 640U);
  EXPECT_EQ(ChunksToAllocate(10485761, kUnitGeometry), 641U);
  EXPECT_EQ(ChunksToAllocate(0xffffffff, kUnitGeometry), 262144U);
}

// Every hole of every size up to three words, at every place: found by a request of
// its size and of no more.
TEST(ChunkMap, SHM_7_FindsEveryHoleAndRefusesMore) {
  for (uint32_t size = 1; size <= 192; size += size < 70 ? 1 : 13) {
    for (uint32_t first = 0; first + size <= kUnitGeometry.chunk_count; ++first) {
      Map map(false);
      FreeChunks(map.words, first, size);
      const auto before = map.bits;
      ASSERT_EQ(map.Allocate(size + 1), std::nullopt) << first << " " << size;
      ASSERT_EQ(map.bits, before);
      ASSERT_EQ(map.Allocate(size), first) << size;
      ASSERT_EQ(map.bits, Map(false).bits);
    }
  }
}

TEST(ChunkMap, SHM_7_TakesTheLowestStart) {
  Map map(false);
  for (const uint32_t first : {3U, 60U, 200U, 500U}) FreeChunks(map.words, first, 10);
  FreeChunks(map.words, 120, 20);
  EXPECT_EQ(map.Allocate(11), 120U);
  EXPECT_EQ(map.Allocate(10), 3U);
  EXPECT_EQ(map.Allocate(5), 60U);
  EXPECT_EQ(map.Allocate(6), 131U);
  EXPECT_EQ(map.Allocate(1), 65U);
}

TEST(ChunkMap, SHM_7_GivesAWholeSegmentAndNoMore) {
  Map map;
  EXPECT_EQ(map.Allocate(641), std::nullopt);
  EXPECT_EQ(map.Allocate(0xffffffff), std::nullopt);
  EXPECT_EQ(map.Allocate(640), 0U);
  EXPECT_EQ(map.Allocate(1), std::nullopt);
  FreeChunks(map.words, 0, 640);
  EXPECT_EQ(map.bits, Map().bits);
}

TEST(ChunkMap, SHM_7_NeverCrossesTheEndStop) {
  Map map;
  map.bits[kMapWordsMax] = ~uint64_t{0};  // a peer may write what it likes
  EXPECT_EQ(map.Allocate(641), std::nullopt);
  for (uint32_t i = 0; i < 640; ++i) ASSERT_EQ(map.Allocate(1), i);
  EXPECT_EQ(map.Allocate(1), std::nullopt);
  std::array<uint64_t, 2> tiny = {~uint64_t{0}, ~uint64_t{0}};
  ValueWords words(tiny);
  EXPECT_EQ(AllocateChunks(words, kTinyGeometry, 65), std::nullopt);
  EXPECT_EQ(AllocateChunks(words, kTinyGeometry, 64), 0U);
  EXPECT_EQ(AllocateChunks(words, kTinyGeometry, 1), std::nullopt);
  EXPECT_EQ(tiny[1], ~uint64_t{0});
}

TEST(ChunkMap, SHM_6_IsBusyOnlyWhereNoChunkIsFree) {
  Map map;
  ASSERT_EQ(map.Allocate(100), 0U);
  EXPECT_TRUE(AllBusy(map.words, 0, 100));
  EXPECT_TRUE(AllBusy(map.words, 63, 2));
  EXPECT_FALSE(AllBusy(map.words, 0, 101));
  EXPECT_FALSE(AllBusy(map.words, 100, 1));
  EXPECT_FALSE(AllBusy(map.words, 639, 1));
}

// Another allocator takes `rival` right before the first `races` takings of ours.
struct RacedWords : ValueWords {
  Map& map;
  uint32_t rival;
  uint32_t races;
  uint32_t takes = 0;

  RacedWords(Map& map, uint32_t rival, uint32_t races)
      : ValueWords(map.bits), map(map), rival(rival), races(races) {}
  bool Take(size_t word, uint64_t seen, uint64_t bits) {
    if (takes++ < races) {
      map.bits[rival / 64] &= ~(uint64_t{1} << rival % 64);
      ++rival;
    }
    return map.bits[word] == seen && ValueWords::Take(word, seen, bits);
  }
};

TEST(ChunkMap, SHM_7_ScansAgainAfterALostRace) {
  Map map;
  RacedWords words(map, 0, 3);
  EXPECT_EQ(AllocateChunks(words, kUnitGeometry, 1), 3U);
  Map second;
  RacedWords lost_behind(second, 64, 1);  // in the first of two words of the range
  EXPECT_EQ(AllocateChunks(lost_behind, kUnitGeometry, 100), 65U);
  for (uint32_t chunk = 0; chunk < 64; ++chunk) EXPECT_TRUE(second.IsFree(chunk)) << chunk;
  EXPECT_FALSE(second.IsFree(64));
  EXPECT_TRUE(second.IsFree(165));
}

// Words that change with every look at them: an allocation ends all the same.
struct RestlessWords {
  uint64_t Load(size_t) const { return ~uint64_t{0}; }
  bool Take(size_t, uint64_t, uint64_t) { return false; }
  void Free(size_t, uint64_t) {}
};

TEST(ChunkMap, SHM_7_FailsWhereEveryRaceIsLost) {
  RestlessWords words;
  EXPECT_EQ(AllocateChunks(words, kUnitGeometry, 1), std::nullopt);
  EXPECT_EQ(AllocateChunks(words, kUnitGeometry, 70), std::nullopt);
}

}  // namespace
}  // namespace portproof
