// When a receiver stops reading, and what it asks for then: RCV-4, RCV-6, RCV-7.
#include "protocol/turn.h"

#include <gtest/gtest.h>

namespace portproof {
namespace {

TEST(Turn, RCV_4_ReadsAStatedNumberOfDatagrams) {
  Turn turn;
  uint32_t reads = 1;
  while (After(turn, Answer::kDatagram) == Next::kRead) ++reads;
  EXPECT_EQ(reads, kReadsPerTurn);
}

TEST(Turn, RCV_7_SaysSoWhenItStopsBeforeTheSocketIsEmpty) {
  Turn turn = {1};
  EXPECT_EQ(After(turn, Answer::kDatagram), Next::kCallAgain);
}

TEST(Turn, RCV_6_AnswersEachWordOfTheKernel) {
  Turn turn = {4};
  EXPECT_EQ(After(turn, Answer::kDatagram), Next::kRead);
  EXPECT_EQ(After(turn, Answer::kInterrupted), Next::kRead);
  EXPECT_EQ(After(turn, Answer::kReset), Next::kRead);
  EXPECT_EQ(turn, Turn{1});
  EXPECT_EQ(After(turn, Answer::kEmpty), Next::kWait);
  EXPECT_EQ(After(turn, Answer::kBusy), Next::kRetry);
  EXPECT_EQ(After(turn, Answer::kNoBuffer), Next::kRetry);
  EXPECT_EQ(After(turn, Answer::kEndOfFile), Next::kEnd);
  EXPECT_EQ(After(turn, Answer::kError), Next::kEnd);
  EXPECT_EQ(turn, Turn{1});
}

TEST(Turn, RCV_6_EndsThoughTheKernelNeverStopsInterrupting) {
  Turn turn;
  uint32_t reads = 1;
  while (After(turn, Answer::kInterrupted) == Next::kRead) ++reads;
  EXPECT_EQ(reads, kReadsPerTurn);
}

}  // namespace
}  // namespace portproof
