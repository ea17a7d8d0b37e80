// Properties of receiving against the naive process, on any conversation whatever. All tests
// share one series of conversations. The test of a rule asks two things: whether enough of the
// conversations reached what the rule is about, and whether the two processes agreed in those.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <initializer_list>
#include <map>
#include <set>
#include <string>

#include "props/conversation_gen.h"
#include "props/floors.h"
#include "props/receive_play.h"

namespace portproof {
namespace {

using conversation::Conversation;

class ReceiveProp : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    agree_ =
        conversation::CheckRuns("any conversation is handled as the naive process says", 4000, [] {
          floors_.Begin();
          const Conversation conversation =
              *rc::gen::scale(2, conversation::Conversations({.receivers = true}))
                   .as("conversation");
          std::set<std::string> reached;
          const std::string difference = PlayReceivers(conversation, &reached);
          for (const std::string& name : reached) {
            floors_.Reached(name);
            if (!difference.empty()) differences_.emplace(name, difference);
          }
          if (!difference.empty()) RC_FAIL(difference);
        });
  }

  // A tenth of the conversations reached each of these.
  static void Expect(std::initializer_list<const char*> names) {
    floors_.Expect(names);
    ExpectAgreement(names);
  }
  // Some did: what has several causes at once is seldom.
  static void ExpectSome(std::initializer_list<const char*> names) {
    floors_.ExpectSome(names);
    ExpectAgreement(names);
  }

  static bool agree_;
  static Floors floors_;
  static std::map<std::string, std::string> differences_;  // by what was reached, the first

 private:
  static void ExpectAgreement(std::initializer_list<const char*> names) {
    for (const char* name : names) {
      const auto found = differences_.find(name);
      EXPECT_TRUE(found == differences_.end()) << name << ": " << found->second;
    }
  }
};

bool ReceiveProp::agree_ = false;
Floors ReceiveProp::floors_;
std::map<std::string, std::string> ReceiveProp::differences_;

// RCV-2
TEST_F(ReceiveProp, AnyConversationWhateverIsHandledAsTheNaiveProcessSays) { EXPECT_TRUE(agree_); }

TEST_F(ReceiveProp, HDR_1_AShortDatagramIsRefused) { Expect({"refused HDR-1"}); }
TEST_F(ReceiveProp, HDR_4_ATypeBeyondTheCountIsRefused) { Expect({"refused HDR-4"}); }
TEST_F(ReceiveProp, HDR_7_AForgedPidIsReported) { Expect({"reported HDR-7"}); }
TEST_F(ReceiveProp, HDR_8_NoBytesAreNoEndOfFile) { Expect({"refused HDR-8", "the end of file"}); }

TEST_F(ReceiveProp, FDS_1_ALaterFragmentWithDescriptorsIsRefused) { Expect({"refused FDS-1"}); }
TEST_F(ReceiveProp, FDS_2_MoreDescriptorsThanAllowedAreRefused) { Expect({"refused FDS-2"}); }
TEST_F(ReceiveProp, FDS_5_DescriptorsAreDelivered) { Expect({"delivered with fds"}); }
TEST_F(ReceiveProp, RCV_1_ATruncatedDatagramEndsItsMessage) {
  Expect({"refused RCV-1", "discarded RCV-1"});
}
// RCV-5: the play compares the states before and after a refusal.
TEST_F(ReceiveProp, ARefusalChangesNothing) { Expect({"refused FRG-1", "refused HDR-4"}); }

TEST_F(ReceiveProp, FRG_1_ASecondFirstFragmentIsRefused) { Expect({"refused FRG-1"}); }
TEST_F(ReceiveProp, FRG_2_ALaterFragmentOfNothingIsRefused) { Expect({"refused FRG-2"}); }
TEST_F(ReceiveProp, FRG_3_FragmentsThatDifferEndTheirMessage) {
  Expect({"refused FRG-3", "reported FRG-3", "discarded FRG-3"});
}
TEST_F(ReceiveProp, FRG_6_AWholeMessageBesideAnOpenOneIsReported) { Expect({"reported FRG-6"}); }
TEST_F(ReceiveProp, FRG_7_AnEmptyFragmentIsReported) { Expect({"reported FRG-7"}); }
TEST_F(ReceiveProp, FRG_8_WhatIsBeyondALimitIsRefused) {
  Expect({"refused FRG-8", "discarded FRG-8"});
}
TEST_F(ReceiveProp, FRG_9_DeathsAndClosesDiscard) { Expect({"discarded FRG-9", "several open"}); }
TEST_F(ReceiveProp, FRG_10_FragmentsAreRefusedWhereNoneAreTaken) { Expect({"refused FRG-10"}); }

TEST_F(ReceiveProp, SHM_1_AListCutShortIsRefused) {
  ExpectSome({"refused SHM-1", "discarded SHM-1"});
}
TEST_F(ReceiveProp, SHM_2_ABadReferenceIsRefused) {
  Expect({"refused SHM-2", "freed by a refusal"});
  ExpectSome({"discarded SHM-2"});
}
TEST_F(ReceiveProp, SHM_5_ReferencesAreDelivered) {
  Expect({"delivered references"});
  ExpectSome({"delivered both kinds"});
}
TEST_F(ReceiveProp, SHM_8_ABadAnnouncementIsRefused) { Expect({"announced", "refused SHM-8"}); }
TEST_F(ReceiveProp, SHM_10_WhatNamesAnUnknownSegmentIsHeld) {
  Expect({"held", "several held", "held without asking", "held beside an assembly",
          "closed with something held", "an announcement lets one go on", "resumed",
          "refused when resumed", "delivered when resumed", "refused SHM-10", "discarded SHM-10"});
}
TEST_F(ReceiveProp, SHM_13_AChunkKeepsItsSegmentMapped) {
  Expect(
      {"released", "unmapped by the last release", "a death unmaps", "a death beside chunks held"});
}
TEST_F(ReceiveProp, SHM_14_ACancelledMessageIsDropped) {
  ExpectSome({"cancelled", "refused SHM-14", "discarded SHM-14"});
}

}  // namespace
}  // namespace portproof
