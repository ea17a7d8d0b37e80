// The laws of the conversation codec, its shrinker and its printer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "oracle/conversation/action.h"
#include "oracle/conversation/generate.h"

namespace portproof::conversation {
namespace {

TEST(ConversationTest, EveryByteStringDecodesAndSettlesAtOnce) {
  Dice dice(1);
  for (int round = 0; round < 2000; ++round) {
    std::vector<uint8_t> bytes(dice.Below(200));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(dice.Next());
    const Conversation decoded = Decode(bytes);
    Conversation normal = decoded;
    Normalize(normal);
    ASSERT_EQ(normal, decoded) << ToHex(bytes);
    ASSERT_EQ(Decode(Encode(decoded)), decoded) << ToHex(bytes);
  }
}

TEST(ConversationTest, EveryPrefixDecodes) {
  Dice dice(2);
  const std::vector<uint8_t> bytes = Encode(Generate(dice, 40));
  for (size_t length = 0; length <= bytes.size(); ++length) {
    const Conversation decoded = Decode(std::span(bytes).first(length));
    ASSERT_EQ(Decode(Encode(decoded)), decoded) << length;
  }
}

TEST(ConversationTest, GeneratedAndMutatedOnesAreNormal) {
  Dice dice(3);
  for (int round = 0; round < 500; ++round) {
    Conversation conversation = Generate(dice, 1 + dice.Below(60));
    ASSERT_EQ(Decode(Encode(conversation)), conversation);
    for (int i = 0; i < 5; ++i) Mutate(dice, conversation);
    ASSERT_EQ(Decode(Encode(conversation)), conversation);
    const Mix receivers{.receivers = true};
    const Conversation spliced = Splice(dice, conversation, Generate(dice, 30, receivers));
    ASSERT_EQ(Decode(Encode(spliced)), spliced);
  }
}

// Nearly always: a byte of the encoding may change, too.
TEST(ConversationTest, MutationGrowsWhatItsMixSays) {
  Dice dice(6);
  for (const bool receivers : {false, true}) {
    int grown = 0;
    int of_mix = 0;
    for (int round = 0; round < 200; ++round) {
      Conversation conversation;
      Mutate(dice, conversation, {.receivers = receivers});
      if (conversation.actions.empty()) continue;
      ++grown;
      of_mix += (conversation.actions.front().index() >= kFirstOfReceivers) == receivers ? 1 : 0;
    }
    EXPECT_GT(grown, 150);
    EXPECT_GT(of_mix, grown - 10);
  }
}

TEST(ConversationTest, TheSameSeedIsTheSameConversation) {
  Dice a(4);
  Dice b(4);
  EXPECT_EQ(Generate(a, 50), Generate(b, 50));
}

TEST(ConversationTest, ShrinkingEndsAtTheSmallestThatFails) {
  Dice dice(5);
  const auto fails = [](const Conversation& conversation) {
    return std::count_if(conversation.actions.begin(), conversation.actions.end(),
                         [](const Action& action) {
                           const Write* const write = std::get_if<Write>(&action);
                           return write != nullptr && write->chain.size() >= 2;
                         }) >= 2;
  };
  Conversation conversation = Generate(dice, 100);
  ASSERT_TRUE(fails(conversation));
  const Conversation small = Minimize(conversation, fails);
  Write write;
  write.chain.resize(2);
  EXPECT_EQ(small.actions, (std::vector<Action>{write, write})) << ToString(small);
}

TEST(ConversationTest, AStoryReads) {
  Conversation conversation;
  conversation.setup = {.senders = 2, .share = 10, .capacity = 3, .messages = 15};
  Write write{.sender = 1, .stream = 2, .fds = 1, .close_fds = true};
  write.chain = {{.limits = 1, .offset = 1}, {.shape = Shape::kSync, .marked = true}};
  conversation.actions = {write, Script{1, 2, Answer::kWouldBlock}, Turn{1}, Receive{3}};
  EXPECT_EQ(ToString(conversation),
            "2 senders, L 48, SHARE 81, the socket holds 4; queues hold 16 messages, 48 bytes, "
            "1 fds; assemblies keyed by sender and stream\n"
            "  1  sender 1 writer 0 writes on stream 2 type 0: [L+1][sync last], fds 1, CLOSE_FD\n"
            "  2  the kernel takes 2 more of sender 1, then would block\n"
            "  3  sender 1's loop turns\n"
            "  4  the receiver reads 3");
}

TEST(ConversationTest, AStoryOfReceiversReads) {
  Conversation conversation;
  conversation.actions = {
      Arrive{.sender = 1, .port = 2, .stream = 3, .fds = 1, .mf = true, .bytes = 7},
      Arrive{.credentials = 3,
             .trouble = Trouble::kTruncated,
             .mmap = true,
             .tracked = true,
             .fresh = true,
             .references = 2,
             .ids = {1, 0},
             .chunk = 9},
      Announce{1, 0, 3, File::kUnsealed},
      GoOn{},
      Release{2},
      Forget{1, 3},
      Reopen{2},
      Tamper{0, 1, 5, false},
      Tamper{0, 1, 5, true}};
  const std::string story = ToString(conversation);
  EXPECT_EQ(story.substr(story.find('\n') + 1),
            "  1  port 2: from sender 1 stream 3 type 0 mf, 7 bytes, 1 fds\n"
            "  2  port 0: from sender 0 stream 0 type 0, 2 references to segments 1 and 0 from "
            "chunk 9 taken for it, tracked, 0 bytes, another's credentials, MSG_TRUNC\n"
            "  3  port 0: sender 1 announces segment 3, not sealed\n"
            "  4  a held datagram goes on\n"
            "  5  the application releases reference 2\n"
            "  6  port 3: sender 1 is dead\n"
            "  7  port 2 is closed, and opened again\n"
            "  8  sender 0 turns the bit of chunk 5 of segment 1\n"
            "  9  a page of sender 0's segment 1 goes");
}

// The encoding is kept: inputs lie in corpora and vectors.
TEST(ConversationTest, TheEncodingIsPinned) {
  Conversation conversation;
  conversation.setup = {.senders = 2, .payload_extra = 5, .share = 10};
  Write write{.sender = 1, .writer = 1, .stream = 2, .type = 3, .fds = 1, .last = true};
  write.chain = {{.adjacent = true, .limits = 1, .offset = -1}};
  conversation.actions = {write, Receive{3}, Script{1, 2, Answer::kBusy}, HangUp{}, Close{1}};
  EXPECT_EQ(ToHex(Encode(conversation)),
            "01050a0000000000"
            "0879010114ff"
            "0302"
            "0c22"
            "05"
            "0f");
  EXPECT_EQ(Decode(FromHex("01050a0000000000 0879010114ff 0302 0c22 05 0f")), conversation);
}

}  // namespace
}  // namespace portproof::conversation
