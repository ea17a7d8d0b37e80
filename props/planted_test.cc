// The properties are worth something: each planted defect is found by them, with the
// seeds, sizes and numbers of runs that they have under `bazel test`; without one they
// find nothing.
#include "props/planted.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>

#include "oracle/conversation/generate.h"
#include "props/play.h"
#include "props/play_receiver.h"

namespace portproof {
namespace {

constexpr int kRuns = 400;  // those of each property in send_machine_prop

using conversation::Conversation;

Conversation ConversationOf(int run) {
  conversation::Dice dice(static_cast<uint64_t>(run));
  return conversation::Generate(dice, 4 + static_cast<size_t>(run) % 97);
}

struct Catch {
  int run = 0;
  BrokenLaw finding;
};

// The first run in which the law finds something.
std::optional<Catch> FirstBy(Law law) {
  for (int run = 0; run < kRuns; ++run) {
    for (const BrokenLaw& finding : PlayEndToEnd(ConversationOf(run))) {
      if (finding.law == law) return Catch{run, finding};
    }
  }
  return std::nullopt;
}

class PlantedTest : public testing::Test {
 protected:
  ~PlantedTest() override { Plant(Defect::kNone); }

  // The law that is about the defect catches it; so does the naive model.
  void ExpectCaught(Defect defect, Law law) {
    Plant(defect);
    for (const Law one : {law, Law::kModel}) {
      const std::optional<Catch> caught = FirstBy(one);
      ASSERT_TRUE(caught.has_value()) << Name(defect) << " escapes " << Name(one);
      std::printf("%s: run %d: %s\n", std::string(Name(defect)).c_str(), caught->run,
                  ToString(caught->finding).substr(0, 120).c_str());
    }
  }
};

TEST_F(PlantedTest, WithoutADefectNothingIsFound) {
  for (int run = 0; run < kRuns; ++run) {
    const BrokenLaws findings = PlayEndToEnd(ConversationOf(run));
    ASSERT_TRUE(findings.empty()) << ToString(findings.front()) << "\nreplay: fuzz/show "
                                  << conversation::ToHex(Encode(ConversationOf(run)));
  }
}

TEST_F(PlantedTest, MfByStraddlingOnly) { ExpectCaught(Defect::kMfByStraddlingOnly, Law::kShape); }
TEST_F(PlantedTest, LastLostBehindLimit) {
  ExpectCaught(Defect::kLastLostBehindLimit, Law::kShape);
}
TEST_F(PlantedTest, WouldBlockLosesUnqueued) {
  ExpectCaught(Defect::kWouldBlockLosesUnqueued, Law::kLiveness);
}
TEST_F(PlantedTest, WriteIntoFullQueueLost) {
  ExpectCaught(Defect::kWriteIntoFullQueueLost, Law::kLiveness);
}
TEST_F(PlantedTest, ShareLostAtWouldBlock) {
  ExpectCaught(Defect::kShareLostAtWouldBlock, Law::kFairness);
}
TEST_F(PlantedTest, RotationOvertakesItsStream) {
  ExpectCaught(Defect::kRotationOvertakesItsStream, Law::kOrder);
}
TEST_F(PlantedTest, CompletesBeforeAcceptance) {
  ExpectCaught(Defect::kCompletesBeforeAcceptance, Law::kCompletions);
}
TEST_F(PlantedTest, SyncSkippedOnFailure) {
  ExpectCaught(Defect::kSyncSkippedOnFailure, Law::kCompletions);
}
TEST_F(PlantedTest, FdsSentAgain) { ExpectCaught(Defect::kFdsSentAgain, Law::kDescriptors); }
TEST_F(PlantedTest, StallAfterRotation) {
  ExpectCaught(Defect::kStallAfterRotation, Law::kLiveness);
}

TEST_F(PlantedTest, EachDefectHasItsName) {
  for (uint8_t i = 0; i < kDefectCount; ++i) {
    const auto defect = static_cast<Defect>(i);
    EXPECT_EQ(FindDefect(Name(defect)), defect);
  }
  EXPECT_EQ(FindDefect("no such"), std::nullopt);
}

}  // namespace
}  // namespace portproof
