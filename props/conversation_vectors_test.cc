// conversation.json: conversations with a name, most of them once a counterexample. Each
// is played from end to end; no law may be broken, and as much must leave and arrive as
// the vector says.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "oracle/conversation/action.h"
#include "props/play_receiver.h"
#include "props/verdict.h"
#include "protocol/rule.h"
#include "testdata/vectors/vector_reader.h"

namespace portproof {
namespace {

TEST(ConversationVectors, PlayAsTheySay) {
  ForEachVector("conversation.json", [](VectorObject& vector) {
    EXPECT_TRUE(FindRule(vector.Text("rule"))) << vector.place();
    const std::vector<uint8_t> bytes = vector.Bytes("conversation");
    const conversation::Conversation conversation = conversation::Decode(bytes);
    EXPECT_EQ(conversation::Encode(conversation), bytes) << vector.place() << ": not normal";
    std::string story;
    for (const nlohmann::json& line : vector.Raw("story")) {
      story += (story.empty() ? "" : "\n") + line.get<std::string>();
    }
    EXPECT_EQ(conversation::ToString(conversation), story) << vector.place();
    PlayReceiver arrival(conversation.setup);
    Verdict verdict(conversation.setup);
    Play play(conversation.setup, {&arrival, &verdict});
    arrival.Watch(play);
    for (const conversation::Action& action : conversation.actions) play.Perform(action);
    play.Drain();
    for (const BrokenLaw& broken : play.findings()) {
      ADD_FAILURE() << vector.place() << ": " << ToString(broken);
    }
    int64_t datagrams = 0;
    for (uint8_t i = 0; i < conversation.setup.senders; ++i) {
      for (const auto& [id, message] : play.laws(i).messages()) {
        datagrams += static_cast<int64_t>(message.datagram_ends.size());
      }
    }
    EXPECT_EQ(datagrams, vector.Number("datagrams")) << vector.place();
    EXPECT_EQ(static_cast<int64_t>(arrival.delivered_count()), vector.Number("delivered"))
        << vector.place();
  });
}

}  // namespace
}  // namespace portproof
