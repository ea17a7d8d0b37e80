// reassembly.json against the machine: the table of section 5 and its rules.
#include <gtest/gtest.h>

#include <string>
#include <variant>

#include "protocol/profile.h"
#include "protocol/reassembly.h"
#include "protocol/rule.h"
#include "testdata/vectors/vector_reader.h"

namespace portproof {
namespace {

Rule ReadRule(const std::string& id) {
  const auto rule = FindRule(id);
  EXPECT_TRUE(rule) << "no rule " << id;
  return rule.value_or(Rule::kHdr1);
}

ReassemblyConfig ReadConfig(VectorObject& vector) {
  const auto profile = ResolveProfile(vector.Text("profile"));
  EXPECT_TRUE(profile) << vector.place();
  ReassemblyConfig config = ConfigFor(*profile->profile, 16384);
  config.takes_fragments = vector.Number("takes_fragments", 1) != 0;
  if (!vector.Has("limits")) return config;
  VectorObject limits(vector.Raw("limits"), vector.place() + ": limits");
  config.limits.open_per_sender = static_cast<uint32_t>(limits.Number("open_per_sender"));
  config.limits.open = static_cast<uint32_t>(limits.Number("open"));
  config.limits.assembly_bytes = static_cast<uint32_t>(limits.Number("assembly_bytes"));
  config.limits.bytes = static_cast<uint64_t>(limits.Number("bytes"));
  return config;
}

Datagram ReadDatagram(const nlohmann::json& json, const std::string& place) {
  VectorObject fields(json, place + ": datagram");
  Datagram datagram;
  datagram.sender = static_cast<int32_t>(fields.Number("sender"));
  datagram.payload_bytes = static_cast<uint32_t>(fields.Number("payload"));
  datagram.header.stream = static_cast<uint32_t>(fields.Number("stream"));
  datagram.header.pid = static_cast<int32_t>(fields.Number("pid", datagram.sender));
  datagram.header.reply_port = static_cast<uint16_t>(fields.Number("reply_port"));
  datagram.header.type = static_cast<uint8_t>(fields.Number("type", 3));
  datagram.header.last = fields.Number("last") != 0;
  datagram.header.mmap = fields.Number("mmap") != 0;
  datagram.header.nf = fields.Number("nf") != 0;
  datagram.header.mf = fields.Number("mf") != 0;
  return datagram;
}

ReassemblyEvent ReadEvent(VectorObject& step) {
  if (step.Has("datagram")) return ReadDatagram(step.Raw("datagram"), step.place());
  if (step.Has("refused")) {
    VectorObject fields(step.Raw("refused"), step.place() + ": refused");
    return Refused{static_cast<uint32_t>(fields.Number("stream")),
                   static_cast<int32_t>(fields.Number("sender")), ReadRule(fields.Text("rule"))};
  }
  if (step.Has("cancelled")) {
    VectorObject fields(step.Raw("cancelled"), step.place() + ": cancelled");
    return Cancelled{static_cast<uint32_t>(fields.Number("stream")),
                     static_cast<int32_t>(fields.Number("sender"))};
  }
  if (step.Has("sender_died")) return SenderDied{static_cast<int32_t>(step.Number("sender_died"))};
  EXPECT_EQ(step.Number("closed"), 1) << step.place();
  return Closed{};
}

// The header of a message: what the vector gives, else what the event had.
void CheckMessage(const Action& action, VectorObject& expected, const Datagram& datagram) {
  Header header = datagram.header;
  header.nf = header.mf = false;
  header.last = expected.Number("last", action.kind == Action::Kind::kDeliver && header.last) != 0;
  header.mmap = expected.Number("mmap") != 0;
  header.pid = static_cast<int32_t>(expected.Number("pid", datagram.header.pid));
  header.reply_port =
      static_cast<uint16_t>(expected.Number("reply_port", datagram.header.reply_port));
  header.type = static_cast<uint8_t>(expected.Number("type", datagram.header.type));
  EXPECT_EQ(action.header, header) << expected.place() << ": " << ToString(action);
  EXPECT_EQ(action.payload_bytes, expected.Number("payload")) << expected.place();
  EXPECT_EQ(action.fragments, expected.Number("fragments", 1)) << expected.place();
}

void CheckAction(const Action& action, VectorObject& expected, const ReassemblyEvent& event) {
  EXPECT_EQ(Name(action.kind), expected.Text("do")) << expected.place();
  ASSERT_EQ(action.rule.has_value(), expected.Has("rule"))
      << expected.place() << ": " << ToString(action);
  if (action.rule) {
    EXPECT_EQ(*action.rule, ReadRule(expected.Text("rule"))) << expected.place();
  }
  const bool is_message =
      action.kind == Action::Kind::kDeliver || action.kind == Action::Kind::kFinish;
  if (action.kind != Action::Kind::kDeliver && action.kind != Action::Kind::kRefuse) {
    EXPECT_EQ(action.slot, expected.Number("slot", -1)) << expected.place();
  }
  if (is_message) CheckMessage(action, expected, std::get<Datagram>(event));
}

TEST(ReassemblyVectors, GiveTheActionsTheySay) {
  ForEachVector("reassembly.json", [](VectorObject& vector) {
    ReadRule(vector.Text("rule"));
    Reassembly state(ReadConfig(vector));
    Actions actions;
    int number = 0;
    for (const nlohmann::json& json : vector.Raw("steps")) {
      VectorObject step(json, vector.place() + ": step " + std::to_string(++number));
      const ReassemblyEvent event = ReadEvent(step);
      Step(state, event, actions);
      const nlohmann::json& expected = step.Raw("actions");
      ASSERT_EQ(actions.size(), expected.size()) << step.place() << ": " << ToString(actions);
      for (size_t i = 0; i < actions.size(); ++i) {
        VectorObject one(expected[i], step.place() + ": action " + std::to_string(i + 1));
        CheckAction(actions[i], one, event);
      }
    }
    EXPECT_EQ(static_cast<int64_t>(state.open()), vector.Number("open")) << vector.place();
  });
}

}  // namespace
}  // namespace portproof
