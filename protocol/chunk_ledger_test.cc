// Who frees a chunk: SHM-6.
#include "protocol/chunk_ledger.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

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

// A few chunks across a word's border, and who holds each, kept the plain way.
class Game {
 public:
  explicit Game(uint32_t seed) : random_(seed) {}

  void Step() {
    switch (random_() % 4) {
      case 0:
        return Allocate();
      case 1:
        return Send();
      case 2:
        return ReceiverFrees();
      case 3:
        return Complete();
    }
  }
  void ExpectAgreement() const {
    const auto ours = std::count_if(holder_.begin(), holder_.end(), [](uint64_t holder) {
      return holder != kFree && holder != kReceiver;
    });
    EXPECT_EQ(desk_.ledger.count(), static_cast<uint32_t>(ours));
  }
  // Completions of messages of whose chunks a later one had some.
  uint32_t overtaken() const { return overtaken_; }

 private:
  static constexpr uint32_t kFirst = 61;
  static constexpr uint32_t kChunks = 6;
  static constexpr uint64_t kFree = 0;
  static constexpr uint64_t kReceiver = ~uint64_t{0};
  struct Message {
    uint64_t allocation = 0;
    uint32_t first = 0;
    uint32_t count = 0;
  };

  std::span<uint64_t> HoldersOf(const Message& message) {
    return std::span(holder_).subspan(message.first, message.count);
  }
  void Allocate() {
    const uint32_t first = random_() % kChunks;
    Message message = {0, first, 1 + static_cast<uint32_t>(random_() % (kChunks - first))};
    const std::span<uint64_t> holders = HoldersOf(message);
    if (std::count(holders.begin(), holders.end(), kFree) != message.count) return;
    message.allocation = desk_.ledger.Took(kFirst + first, message.count).value();
    std::fill(holders.begin(), holders.end(), message.allocation);
    messages_.push_back(message);
  }
  // The first chunks of a message, or it fails.
  void Send() {
    if (messages_.empty()) return;
    const Message& message = messages_[random_() % messages_.size()];
    const std::span<uint64_t> holders = HoldersOf(message);
    if (std::count(holders.begin(), holders.end(), message.allocation) != message.count) return;
    const uint32_t count = 1 + random_() % message.count;
    const Reference reference = {0, kFirst + message.first, count * kUnitGeometry.chunk_bytes};
    desk_.ledger.HandedOver(reference, kUnitGeometry);
    if (random_() % 4 == 0) {
      desk_.ledger.TakenBack(reference, kUnitGeometry);
    } else {
      std::fill_n(holders.begin(), count, kReceiver);
    }
  }
  void ReceiverFrees() {
    for (uint64_t& holder : holder_) {
      if (holder == kReceiver && random_() % 2 == 0) holder = kFree;
    }
  }
  void Complete() {
    if (messages_.empty()) return;
    const auto at = messages_.begin() + static_cast<ptrdiff_t>(random_() % messages_.size());
    const Message message = *at;
    messages_.erase(at);
    uint32_t expected = 0;
    bool overtaken = false;
    for (uint64_t& holder : HoldersOf(message)) {
      overtaken |= holder > message.allocation && holder != kReceiver;
      if (holder != message.allocation) continue;
      holder = kFree;
      ++expected;
    }
    if (overtaken) ++overtaken_;
    EXPECT_EQ(desk_.ledger.Release(message.allocation, kFirst + message.first, message.count,
                                   desk_.words),
              expected);
  }

  std::mt19937 random_;
  Desk desk_;
  std::array<uint64_t, kChunks> holder_ = {};
  std::vector<Message> messages_;
  uint32_t overtaken_ = 0;
};

TEST(ChunkLedger, SHM_6_EachChunkHasOneHolderWhateverComesBackWhen) {
  uint32_t overtaken = 0;
  for (uint32_t seed = 0; seed < 2000 && !HasFailure(); ++seed) {
    Game game(seed);
    for (int step = 0; step < 60; ++step) game.Step();
    game.ExpectAgreement();
    overtaken += game.overtaken();
  }
  EXPECT_GT(overtaken, 100U);
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
