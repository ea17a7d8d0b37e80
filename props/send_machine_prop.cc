// The promises of section 4, one property each, over random conversations in which the
// kernel takes k of n, says EAGAIN, is busy, refuses a message, fails, or hangs up.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "props/conversation_gen.h"
#include "props/naive_queue.h"
#include "props/play.h"

namespace portproof {
namespace {

using conversation::Conversation;
using conversation::Conversations;

// All tests of this fixture share one series of conversations; the test of a rule asks
// whether one of them broke it.
class SenderLawsProp : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    kept_ = conversation::CheckRuns("a sender keeps the laws", 3600, [] {
      const BrokenLaws findings = PlayWhole(*Conversations());
      for (const BrokenLaw& finding : findings) broken_.emplace(finding.rule, ToString(finding));
      if (!findings.empty()) RC_FAIL(ToString(findings.front()));
    });
  }
  static void Expect(Rule rule) {
    const auto found = broken_.find(rule);
    EXPECT_TRUE(found == broken_.end()) << found->second;
  }

  static bool kept_;
  static std::map<Rule, std::string> broken_;  // the first finding
};

bool SenderLawsProp::kept_ = false;
std::map<Rule, std::string> SenderLawsProp::broken_;

// All of it, action by action as the naive queue does it.
TEST_F(SenderLawsProp, NoConversationBreaksALaw) { EXPECT_TRUE(kept_); }

TEST_F(SenderLawsProp, IOV_1_TheBytesAreTheChains) { Expect(Rule::kIov1); }
TEST_F(SenderLawsProp, IOV_2_AdjacentBuffersAreOneRun) { Expect(Rule::kIov2); }
TEST_F(SenderLawsProp, IOV_3_BytesAndRunsAreWithinTheirLimits) { Expect(Rule::kIov3); }
TEST_F(SenderLawsProp, IOV_4_ADatagramThatIsNotTheLastIsFull) { Expect(Rule::kIov4); }
TEST_F(SenderLawsProp, IOV_5_MfSaysWhetherBytesRemain) { Expect(Rule::kIov5); }
TEST_F(SenderLawsProp, IOV_6_LastIsOnTheFinalDatagram) { Expect(Rule::kIov6); }
TEST_F(SenderLawsProp, IOV_7_AnEmptyMessageIsOneDatagram) { Expect(Rule::kIov7); }
TEST_F(SenderLawsProp, SND_1_NothingIsDoneForARefusedWrite) { Expect(Rule::kSnd1); }
TEST_F(SenderLawsProp, SND_4_AMessageFailsOnceOrNever) { Expect(Rule::kSnd4); }
TEST_F(SenderLawsProp, SND_5_NobodyWaitsLongerThanOneTurnOfEachOther) { Expect(Rule::kSnd5); }
TEST_F(SenderLawsProp, SND_6_MessagesBeginAsWrittenAndStreamsNeverMix) { Expect(Rule::kSnd6); }
TEST_F(SenderLawsProp, SND_7_WhatIsQueuedIsAlwaysOnItsWay) { Expect(Rule::kSnd7); }
TEST_F(SenderLawsProp, SND_8_DescriptorsGoFirst) { Expect(Rule::kSnd8); }
TEST_F(SenderLawsProp, SND_9_OwnedDescriptorsAreClosedOnce) { Expect(Rule::kSnd9); }
TEST_F(SenderLawsProp, SND_12_AWriteBeyondALimitIsRefusedWhole) { Expect(Rule::kSnd12); }
TEST_F(SenderLawsProp, CMP_1_EachBufferCompletesOnce) { Expect(Rule::kCmp1); }
TEST_F(SenderLawsProp, CMP_2_CompletionsStandInOrder) { Expect(Rule::kCmp2); }
TEST_F(SenderLawsProp, CMP_3_NoneCompletesBeforeItsLastByteLeft) { Expect(Rule::kCmp3); }
TEST_F(SenderLawsProp, CMP_4_NoneCompletesInsideItsWrite) { Expect(Rule::kCmp4); }
TEST_F(SenderLawsProp, CMP_5_TheRestCompletesWithTheFailure) { Expect(Rule::kCmp5); }
TEST_F(SenderLawsProp, CMP_6_EachCompletesToItsWriter) { Expect(Rule::kCmp6); }
TEST_F(SenderLawsProp, FRG_2_NfSaysWhetherTheMessageHadBegun) { Expect(Rule::kFrg2); }
TEST_F(SenderLawsProp, FRG_3_AllFragmentsRepeatTheFields) { Expect(Rule::kFrg3); }
TEST_F(SenderLawsProp, FRG_5_EachBegunMessageIsFinished) { Expect(Rule::kFrg5); }
TEST_F(SenderLawsProp, SHM_1_ThePayloadIsReferences) { Expect(Rule::kShm1); }
TEST_F(SenderLawsProp, SHM_3_SharedOrPlainIsChosenOnce) { Expect(Rule::kShm3); }
TEST_F(SenderLawsProp, SHM_4_TwelveBytesOrFewerGoPlain) { Expect(Rule::kShm4); }
TEST_F(SenderLawsProp, SHM_6_ChunksAreHandedOverBeforeTheyLeave) { Expect(Rule::kShm6); }
TEST_F(SenderLawsProp, SHM_11_NoMoreThan79References) { Expect(Rule::kShm11); }
TEST_F(SenderLawsProp, SHM_10_ASegmentIsAnnouncedFirst) { Expect(Rule::kShm10); }

// SND-2: the socket is full whenever something is written.
TEST(SendMachineProp, AFullSocketLosesNothing) {
  EXPECT_TRUE(conversation::CheckRuns("a full socket loses nothing", 400, [] {
    Conversation conversation = *Conversations();
    std::vector<conversation::Action> actions;
    for (conversation::Action& action : conversation.actions) {
      if (const auto* const write = std::get_if<conversation::Write>(&action)) {
        actions.emplace_back(
            conversation::Script{write->sender, 0, conversation::Answer::kWouldBlock});
      }
      actions.push_back(std::move(action));
    }
    conversation.actions = std::move(actions);
    Normalize(conversation);
    const BrokenLaws findings = PlayWhole(conversation);
    if (!findings.empty()) RC_FAIL(ToString(findings.front()));
  }));
}

// Early in a conversation a sender must wait with an announcement, and with random messages
// behind it, most of which name the segment; then the kernel refuses a message.
Conversation WithALostSegment(conversation::Dice& dice, size_t size) {
  Conversation conversation = conversation::Generate(dice, size);
  const auto sender = static_cast<uint8_t>(dice.Below(conversation.setup.senders));
  conversation.setup.messages = static_cast<uint8_t>(8 + dice.Below(8));
  conversation.setup.limits = 31;
  std::vector<conversation::Action> scene = {
      conversation::Script{sender, 0, conversation::Answer::kWouldBlock}};
  for (uint32_t i = 0, writes = 2 + dice.Below(5); i < writes; ++i) {
    conversation::Write write = {.sender = sender,
                                 .writer = static_cast<uint8_t>(dice.Below(4)),
                                 .stream = static_cast<uint8_t>(dice.Below(4)),
                                 .fds = static_cast<uint8_t>(dice.Below(3)),
                                 .close_fds = dice.OneIn(2)};
    const bool plain = dice.OneIn(3);
    for (uint32_t buffers = 1 + dice.Below(3); buffers > 0; --buffers) {
      const conversation::Shape other =
          dice.OneIn(2) ? conversation::Shape::kSync : conversation::Shape::kPlain;
      write.chain.push_back({.shape = plain && dice.OneIn(2) ? other : conversation::Shape::kShared,
                             .offset = static_cast<int16_t>(1 + dice.Below(100))});
    }
    scene.emplace_back(std::move(write));
  }
  scene.emplace_back(conversation::Receive{16});
  scene.emplace_back(conversation::Script{sender, static_cast<uint8_t>(dice.Below(2)),
                                          conversation::Answer::kMessageError});
  scene.emplace_back(conversation::Turn{sender});
  const size_t at = std::min<size_t>(dice.Below(4), conversation.actions.size());
  conversation.actions.insert(conversation.actions.begin() + static_cast<ptrdiff_t>(at),
                              scene.begin(), scene.end());
  Normalize(conversation);
  return conversation;
}

// SND-4, SHM-10, CMP-1: the announcement fails alone, and what names its segment with it;
// nothing else does, and each buffer completes once.
TEST(SendMachineProp, WhatNamesALostSegmentFailsAndNothingElse) {
  constexpr int kRuns = 1000;
  std::map<std::string, int> count;
  for (int seed = 0; seed < kRuns; ++seed) {
    conversation::Dice dice(static_cast<uint64_t>(seed));
    const Conversation conversation = WithALostSegment(dice, dice.Below(40));
    std::set<std::string> reached;
    for (const BrokenLaw& finding : PlayWhole(conversation, &reached)) {
      ADD_FAILURE() << "seed " << seed << ": " << ToString(finding);
    }
    if (HasFailure()) {
      std::printf("%s\n", ToString(conversation).c_str());
      return;
    }
    for (const std::string& name : reached) ++count[name];
  }
  for (const char* const name : {"an announcement failed", "what names a lost segment",
                                 "announced again", "chunks handed over", "chunks taken back"}) {
    std::printf("%3d%% %s\n", 100 * count[name] / kRuns, name);
    EXPECT_GE(count[name] * 50, kRuns) << name;
  }
}

// A property that never meets the case it is about says nothing.
TEST(SendMachineProp, TheCasesThatMatterAreMet) {
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

std::vector<Buffer> SharedChain() {
  const auto sizes = *rc::gen::container<std::vector<uint32_t>>(
      *rc::gen::inRange<size_t>(1, 12), rc::gen::element(1U, 3U, 4U, 12U, 13U, 40U, 16384U));
  std::vector<Buffer> chain;
  uint32_t chunk = 0;
  for (const uint32_t bytes : sizes) {
    chunk += *rc::gen::element(1U, 2U);
    chain.push_back({.address = 1 + chunk * uint64_t{16384},
                     .bytes = bytes,
                     .segment_offset = chunk * 16384,
                     .kind = BufferKind::kShared,
                     .usable = *rc::gen::weightedElement<bool>({{9, true}, {1, false}})});
  }
  return chain;
}

// SHM-15, SHM-4, IOV-3: eight bytes more in the first datagram, and in no other; the write
// says whether there are.
TEST(SendMachineProp, TrackingGoesWithTheFirstDatagramAlone) {
  std::set<std::string> reached;
  EXPECT_TRUE(rc::check([&reached] {
    const SendLimits limits = {.payload_bytes = *rc::gen::element(36U, 48U, 100U, 1000U)};
    const std::vector<Buffer> chain = SharedChain();
    WriteRequest request = {.stream = *rc::gen::element(0U, 7U, 8U), .chain = chain};
    request.tracking = Tracking{1, 2};
    SendMachine machine(limits);
    NaiveQueue model(limits);
    SendPlan plan;
    SendActions actions;
    SendActions expected;
    for (const uint32_t id : {0U, 1U}) {
      const AnnounceSegment announce{.segment_id = id, .tracking_slots = 3};
      Step(machine, announce, actions);
      model.Announce(announce, expected);
      machine.Plan(plan);
      Step(machine, Sent{plan, 1}, actions);
      model.Sent(expected);
    }
    expected.clear();
    Step(machine, request, actions);
    model.Write(request, expected);
    RC_ASSERT(actions == expected);
    const bool tracked = actions.front().kind == SendAction::Kind::kTrack;
    reached.insert(tracked ? "tracked" : "not tracked");
    bool first = true;
    for (; !machine.empty(); first = false) {
      machine.Plan(plan);
      const PlannedDatagram& datagram = plan.datagrams()[0];
      const auto wanted = model.Next();
      RC_ASSERT(wanted.has_value());
      RC_ASSERT(kHeaderBytes + datagram.payload_bytes == wanted->wire_bytes);
      RC_ASSERT(datagram.run_count == wanted->runs);
      RC_ASSERT(datagram.header.mmap == wanted->mmap);
      RC_ASSERT(datagram.header.mf == wanted->mf);
      RC_ASSERT(datagram.tracking.has_value() == (first && tracked));
      RC_ASSERT(datagram.header.byte15 == (first && tracked ? 1 : 0));
      if (!first && datagram.header.mmap && tracked) reached.insert("behind a tracked one");
      Step(machine, Sent{plan, 1}, actions);
      model.Sent(expected);
    }
    RC_ASSERT(model.empty());
  }));
  EXPECT_EQ(reached, (std::set<std::string>{"behind a tracked one", "not tracked", "tracked"}));
}

}  // namespace
}  // namespace portproof
