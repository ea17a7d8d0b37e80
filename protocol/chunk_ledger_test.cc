// Who frees a chunk: SHM-6.
#include "protocol/chunk_ledger.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>

namespace portproof {
namespace {

struct Desk {
  std::array<uint64_t, kMapWordsMax> map = {};
  ValueWords words{map};
  ChunkLedger ledger;
};

TEST(ChunkLedger, SHM_6_FreesWhatWasNotSentOnce) {
  Desk desk;
  const auto allocation = desk.ledger.Took(60, 10);
  ASSERT_TRUE(allocation.has_value());
  EXPECT_EQ(desk.ledger.count(), 10U);
  EXPECT_EQ(desk.ledger.Release(*allocation, 60, 10, desk.words), 10U);
  EXPECT_EQ(desk.ledger.count(), 0U);
  EXPECT_EQ(desk.map[0], uint64_t{0xf} << 60);
  EXPECT_EQ(desk.map[1], 0x3fU);
  desk.map = {};
  EXPECT_EQ(desk.ledger.Release(*allocation, 60, 10, desk.words), 0U);
  EXPECT_EQ(desk.map[0] | desk.map[1], 0U);
}

TEST(ChunkLedger, SHM_6_LeavesWhatWasSentToTheReceiver) {
  Desk desk;
  const auto allocation = desk.ledger.Took(60, 10);
  ASSERT_TRUE(allocation.has_value());
  desk.ledger.HandedOver({0, 60, 5 * 16384 + 1}, kUnitGeometry);
  EXPECT_EQ(desk.ledger.Release(*allocation, 60, 10, desk.words), 4U);
  EXPECT_EQ(desk.map[0], 0U);
  EXPECT_EQ(desk.map[1], 0x3cU);
}

// The receiver was quick: the chunk is another message's before the first one completes.
TEST(ChunkLedger, SHM_6_ALaterAllocationKeepsItsChunks) {
  for (const bool taken_back : {false, true}) {
    Desk desk;
    const auto earlier = desk.ledger.Took(3, 4);
    desk.ledger.HandedOver({0, 3, 2 * 16384}, kUnitGeometry);
    const auto later = desk.ledger.Took(3, 1);
    ASSERT_TRUE(earlier && later);
    if (taken_back) {
      desk.ledger.HandedOver({0, 3, 16384}, kUnitGeometry);
      desk.ledger.TakenBack({0, 3, 16384}, kUnitGeometry);
    }
    EXPECT_EQ(desk.ledger.Release(*earlier, 3, 4, desk.words), 2U);
    EXPECT_EQ(desk.map[0], uint64_t{0b11} << 5);
    EXPECT_EQ(desk.ledger.Release(*later, 3, 1, desk.words), 1U);
    EXPECT_EQ(desk.ledger.count(), 0U);
  }
}

TEST(ChunkLedger, SHM_6_TakesBackWhatADeadReceiverHad) {
  Desk desk;
  ASSERT_TRUE(desk.ledger.Took(0, 640));
  desk.ledger.HandedOver({0, 1, 639 * 16384}, kUnitGeometry);
  desk.ledger.Reclaim(kUnitGeometry, desk.words);
  EXPECT_EQ(desk.map[0], ~uint64_t{1});
  EXPECT_EQ(desk.map[9], ~uint64_t{0});
}

TEST(ChunkLedger, SHM_6_FindsOutThatAPeerFreedWhatIsOurs) {
  Desk desk;
  ASSERT_TRUE(desk.ledger.Took(0, 70));
  const ChunkLedger before = desk.ledger;
  EXPECT_FALSE(desk.ledger.Took(69, 5));
  EXPECT_TRUE(desk.ledger == before);
  EXPECT_TRUE(desk.ledger.Took(70, 5));
}

}  // namespace
}  // namespace portproof
