// When a receiver stops reading, and what it asks for then: RCV-4, RCV-6, RCV-7.
#include "protocol/turn.h"

#include <gtest/gtest.h>

namespace portproof {
namespace {

TEST(Turn, RCV_4_ReadsAStatedNumberOfDatagrams) {
  Turn turn;
  uint32_t reads = 1;
  while (After(turn, Answer::kDatagram, 1) == Next::kRead) ++reads;
  EXPECT_EQ(reads, kReadsPerTurn);
}

TEST(Turn, RCV_7_SaysSoWhenItStopsBeforeTheSocketIsEmpty) {
  Turn turn = {1};
  EXPECT_EQ(After(turn, Answer::kDatagram, 1), Next::kCallAgain);
}

TEST(Turn, RCV_6_AnswersEachWordOfTheKernel) {
  Turn turn = {4};
  EXPECT_EQ(After(turn, Answer::kDatagram, 1), Next::kRead);
  EXPECT_EQ(After(turn, Answer::kInterrupted, 1), Next::kRead);
  EXPECT_EQ(After(turn, Answer::kReset, 1), Next::kRead);
  EXPECT_EQ(turn, Turn{1});
  EXPECT_EQ(After(turn, Answer::kEmpty, 1), Next::kWait);
  EXPECT_EQ(After(turn, Answer::kBusy, 1), Next::kRetry);
  EXPECT_EQ(After(turn, Answer::kNoBuffer, 1), Next::kRetry);
  EXPECT_EQ(After(turn, Answer::kEndOfFile, 1), Next::kEnd);
  EXPECT_EQ(After(turn, Answer::kError, 1), Next::kEnd);
  EXPECT_EQ(turn, Turn{1});
}

TEST(Turn, RCV_6_EndsThoughTheKernelNeverStopsInterrupting) {
  Turn turn;
  uint32_t reads = 1;
  while (After(turn, Answer::kInterrupted, 1) == Next::kRead) ++reads;
  EXPECT_EQ(reads, kReadsPerTurn);
}

// A new port, and each that a descriptor came to.
TEST(Caution, RCV_5_ReadsSinglyWhileDescriptorsCome) {
  Caution caution;
  for (int again = 0; again < 2; ++again) {
    for (uint32_t i = 0; i < kSinglyReads; ++i) {
      EXPECT_TRUE(caution.ReadsSingly(false)) << i;
      EXPECT_FALSE(caution.MustAsk(false)) << i;
      caution.Came(false);
    }
    EXPECT_TRUE(caution.ReadsSingly(false));  // not before there was room
    EXPECT_TRUE(caution.MustAsk(false));
    caution.Answered(true);
    EXPECT_FALSE(caution.ReadsSingly(false));
    EXPECT_FALSE(caution.MustAsk(false));
    caution.Came(false);
    EXPECT_FALSE(caution.ReadsSingly(false));
    caution.Came(true);
  }
}

TEST(Caution, RCV_5_AsksAgainWhileThereIsNoRoom) {
  Caution caution;
  for (uint32_t i = 0; i < kSinglyReads; ++i) caution.Came(false);
  caution.Answered(false);
  for (uint32_t i = 0; i < kSinglyReads; ++i) {
    EXPECT_FALSE(caution.MustAsk(true)) << i;
    EXPECT_TRUE(caution.ReadsSingly(true)) << i;
    caution.Came(false);
  }
  EXPECT_TRUE(caution.MustAsk(true));
  EXPECT_TRUE(caution.MustAsk(false));
}

// Another port of the process saw the table full.
TEST(Caution, RCV_5_HeedsWhatAnotherPortSaw) {
  Caution caution;
  for (uint32_t i = 0; i < kSinglyReads; ++i) caution.Came(false);
  caution.Answered(true);
  EXPECT_TRUE(caution.ReadsSingly(true));
  EXPECT_TRUE(caution.MustAsk(true));
  EXPECT_FALSE(caution.ReadsSingly(false));
}

}  // namespace
}  // namespace portproof
