// Properties of receiving against the naive process, on any conversation whatever.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>
#include <string>

#include "props/conversation_gen.h"
#include "props/floors.h"
#include "props/receive_play.h"

namespace portproof {
namespace {

using conversation::Conversation;

TEST(ReceiveProp, AnyConversationWhateverIsHandledAsTheNaiveProcessSays) {
  Floors floors;
  EXPECT_TRUE(conversation::CheckRuns(
      "any conversation is handled as the naive process says", 4000, [&floors] {
        floors.Begin();
        const Conversation conversation =
            *rc::gen::scale(2, conversation::Conversations({.receivers = true})).as("conversation");
        std::set<std::string> reached;
        const std::string difference = PlayReceivers(conversation, &reached);
        for (const std::string& name : reached) floors.Reached(name);
        if (!difference.empty()) RC_FAIL(difference);
      }));
  floors.Expect({"announced",
                 "an announcement lets one go on",
                 "resumed",
                 "refused when resumed",
                 "delivered when resumed",
                 "released",
                 "unmapped by the last release",
                 "a death unmaps",
                 "a death beside chunks held",
                 "closed with something held",
                 "several open",
                 "held beside an assembly",
                 "several held",
                 "held",
                 "held without asking",
                 "freed by a refusal",
                 "delivered with fds",
                 "delivered references",
                 "the end of file",
                 "refused HDR-1",
                 "refused HDR-4",
                 "refused HDR-8",
                 "refused FDS-1",
                 "refused FDS-2",
                 "refused RCV-1",
                 "refused FRG-1",
                 "refused FRG-2",
                 "refused FRG-3",
                 "refused FRG-8",
                 "refused FRG-10",
                 "refused SHM-2",
                 "refused SHM-8",
                 "refused SHM-10",
                 "reported FRG-3",
                 "reported FRG-6",
                 "reported FRG-7",
                 "reported HDR-7",
                 "discarded RCV-1",
                 "discarded FRG-3",
                 "discarded FRG-8",
                 "discarded FRG-9",
                 "discarded SHM-10"});
  floors.ExpectSome({"cancelled", "delivered both kinds", "refused SHM-14", "discarded SHM-1",
                     "discarded SHM-14", "discarded SHM-2", "refused SHM-1"});
}

}  // namespace
}  // namespace portproof
