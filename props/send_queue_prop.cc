// The promises of section 4, one property each, over random conversations in which the
// kernel takes k of n, says EAGAIN, is busy, refuses a message, fails, or hangs up.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdio>
#include <map>
#include <set>
#include <string>

#include "props/conversation_gen.h"
#include "props/play.h"

namespace portproof {
namespace {

using conversation::Conversation;
using conversation::Conversations;

// No conversation breaks this law.
bool Keeps(Law law) {
  return conversation::CheckRuns("the law of " + std::string(Name(law)), 400, [law] {
    const Conversation conversation = *Conversations();
    for (const BrokenLaw& finding : PlayWhole(conversation)) {
      if (finding.law == law) RC_FAIL(ToString(finding));
    }
  });
}

// IOV-1, SND-2, SND-4
TEST(SendQueueProp, EachAcceptedMessageIsDeliveredOnceOrFailedOnce) {
  EXPECT_TRUE(Keeps(Law::kConservation));
}

// IOV-2 ... IOV-7, SHM-4, SHM-5, FRG-3
TEST(SendQueueProp, EachDatagramIsAsFullAndFlaggedAsItMustBe) { EXPECT_TRUE(Keeps(Law::kShape)); }

// CMP-1 ... CMP-6
TEST(SendQueueProp, EachBufferCompletesOnceInOrderAndOnTime) {
  EXPECT_TRUE(Keeps(Law::kCompletions));
}

// SND-5
TEST(SendQueueProp, NobodyWaitsLongerThanOneTurnOfEachOther) { EXPECT_TRUE(Keeps(Law::kFairness)); }

// SND-6, SHM-10
TEST(SendQueueProp, MessagesBeginAsWrittenAndStreamsNeverMix) { EXPECT_TRUE(Keeps(Law::kOrder)); }

// SND-7
TEST(SendQueueProp, WhatIsQueuedIsAlwaysOnItsWay) { EXPECT_TRUE(Keeps(Law::kLiveness)); }

// SND-8, SND-9
TEST(SendQueueProp, DescriptorsGoFirstAndOwnedOnesAreClosedOnce) {
  EXPECT_TRUE(Keeps(Law::kDescriptors));
}

// SND-12
TEST(SendQueueProp, AWriteBeyondALimitIsRefusedWhole) { EXPECT_TRUE(Keeps(Law::kBounds)); }

// All of it, action by action
TEST(SendQueueProp, TheQueueDoesWhatTheNaiveQueueDoes) { EXPECT_TRUE(Keeps(Law::kModel)); }

// A property that never meets the case it is about says nothing.
TEST(SendQueueProp, TheCasesThatMatterAreMet) {
  constexpr int kRuns = 300;
  std::map<std::string, int> count;
  for (int seed = 0; seed < kRuns; ++seed) {
    conversation::Dice dice(static_cast<uint64_t>(seed));
    const size_t size = 4 + static_cast<size_t>(seed) * 96 / kRuns;  // as RapidCheck grows them
    std::set<std::string> reached;
    PlayWhole(conversation::Generate(dice, size), &reached);
    for (const std::string& name : reached) ++count[name];
  }
  for (const auto& [name, runs] : count) {
    std::printf("%3d%% %s\n", 100 * runs / kRuns, name.c_str());
  }
  for (const char* const name : {"two streams interleaved", "EAGAIN mid-message", "k of n", "fds",
                                 "same stream queued twice"}) {
    EXPECT_GE(count[name] * 5, kRuns) << name;
  }
  for (const char* const name : {"busy", "message error", "port error", "a death", "shared memory",
                                 "a write taken back", "closed with work queued"}) {
    EXPECT_GE(count[name] * 50, kRuns) << name;
  }
}

}  // namespace
}  // namespace portproof
