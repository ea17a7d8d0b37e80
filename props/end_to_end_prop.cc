// The heart of the project: whatever is written, on any number of senders, whatever the
// kernel does, arrives: each message once, whole, in the order of its stream, with its
// descriptors, with not one refusal by our own receiver, and with not one violation by
// our own checker, which sees nothing but the wire.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdio>
#include <map>
#include <set>
#include <string>

#include "props/conversation_gen.h"
#include "props/play_receiver.h"

namespace portproof {
namespace {

using conversation::CheckRuns;
using conversation::Conversation;
using conversation::Conversations;

void Expect(const Conversation& conversation) {
  const BrokenLaws findings = PlayEndToEnd(conversation);
  if (!findings.empty()) RC_FAIL(ToString(findings.front()));
}

// What a sender and a receiver carry out together.
TEST(EndToEndProp, WhateverIsWrittenArrivesWholeInOrderAndUnrefused) {
  EXPECT_TRUE(CheckRuns("what is written arrives", 1500, [] { Expect(*Conversations()); }));
}

// Nothing may go missing when nothing fails: every accepted message is delivered.
TEST(EndToEndProp, WithoutFailuresEveryAcceptedMessageArrives) {
  EXPECT_TRUE(CheckRuns("every accepted message arrives", 500, [] {
    const Conversation conversation = *Conversations({.failures = false});
    PlayReceiver arrival(conversation.setup);
    Play play(conversation.setup, {&arrival});
    arrival.Watch(play);
    for (const conversation::Action& action : conversation.actions) play.Perform(action);
    play.Drain();
    if (!play.findings().empty()) RC_FAIL(ToString(play.findings().front()));
    uint64_t accepted = 0;
    for (uint8_t i = 0; i < conversation.setup.senders; ++i) {
      for (const auto& [id, message] : play.laws(i).messages()) accepted += !message.withdrawn;
    }
    RC_ASSERT(arrival.delivered_count() == accepted);
  }));
}

// Every chain of up to three buffers around the limit, in every mode, alone and behind
// another message of its stream, through a socket that holds one datagram.
TEST(EndToEndProp, EverySmallChainArrives) {
  using conversation::BufferSpec;
  using conversation::Shape;
  const BufferSpec buffers[] = {
      {.shape = Shape::kEmpty},
      {.shape = Shape::kSync, .marked = true},
      {.offset = 5},
      {.adjacent = true, .limits = 1, .offset = -1},
      {.limits = 1, .offset = 0},
      {.limits = 1, .offset = 1},
      {.shape = Shape::kShared, .offset = 16},
      {.shape = Shape::kShared, .adjacent = true, .offset = 12},
  };
  constexpr size_t kKinds = std::size(buffers);
  size_t played = 0;
  for (size_t code = 0; code < (kKinds + 1) * (kKinds + 1) * (kKinds + 1); ++code) {
    conversation::Write write{.fds = 1, .close_fds = true};
    for (size_t digits = code; digits > 0; digits /= kKinds + 1) {
      if (digits % (kKinds + 1) != 0) write.chain.push_back(buffers[digits % (kKinds + 1) - 1]);
    }
    for (const uint8_t capacity : {0, 15}) {
      Conversation conversation;
      conversation.setup = {
          .share = 12, .capacity = capacity, .messages = 15, .limits = 31, .fds = 7};
      conversation.actions = {write, write};
      const BrokenLaws findings = PlayEndToEnd(conversation);
      ASSERT_TRUE(findings.empty()) << ToString(findings.front()) << "\n"
                                    << conversation::ToString(conversation);
      ++played;
    }
  }
  EXPECT_EQ(played, 2 * 729u);
}

// A property that never meets the case it is about says nothing.
TEST(EndToEndProp, TheCasesThatMatterAreMet) {
  constexpr int kRuns = 300;
  std::map<std::string, int> count;
  for (int seed = 0; seed < kRuns; ++seed) {
    conversation::Dice dice(static_cast<uint64_t>(seed));
    std::set<std::string> reached;
    PlayEndToEnd(conversation::Generate(dice, 4 + static_cast<size_t>(seed) * 96 / kRuns),
                 &reached);
    for (const std::string& name : reached) ++count[name];
  }
  for (const auto& [name, runs] : count) {
    std::printf("%3d%% %s\n", 100 * runs / kRuns, name.c_str());
  }
  for (const char* const name :
       {"delivered", "two streams interleaved", "EAGAIN mid-message", "k of n", "fds", "fragments",
        "shared memory", "same stream queued twice"}) {
    EXPECT_GE(count[name] * 5, kRuns) << name;
  }
}

}  // namespace
}  // namespace portproof
