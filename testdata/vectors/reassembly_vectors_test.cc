// reassembly.json against the machine: the table of section 5 and its rules.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "protocol/profile.h"
#include "protocol/receive_machine.h"
#include "protocol/rule.h"
#include "testdata/vectors/vector_reader.h"

namespace portproof {
namespace {

Rule ReadRule(const std::string& id) {
  const auto rule = FindRule(id);
  EXPECT_TRUE(rule) << "no rule " << id;
  return rule.value_or(Rule::kHdr1);
}

ReceivePortConfig ReadConfig(VectorObject& vector) {
  const auto profile = ResolveProfile(vector.Text("profile"));
  EXPECT_TRUE(profile) << vector.place();
  ReceivePortConfig config{.profile = profile->profile};
  config.takes_fragments = vector.Number("takes_fragments", 1) != 0;
  if (!vector.Has("limits")) return config;
  VectorObject limits(vector.Raw("limits"), vector.place() + ": limits");
  config.limits.open_per_sender = static_cast<uint32_t>(limits.Number("open_per_sender"));
  config.limits.open = static_cast<uint32_t>(limits.Number("open"));
  config.limits.assembly_bytes = static_cast<uint32_t>(limits.Number("assembly_bytes"));
  config.limits.bytes = static_cast<uint64_t>(limits.Number("bytes"));
  return config;
}

class BusyView : public SegmentView {
 public:
  bool AllBusy(uint32_t, uint32_t, uint32_t) const override { return true; }
  bool Poisoned(uint32_t) const override { return false; }
};

// A machine with one port, to which sender 101 has announced segment 0.
class Machine {
 public:
  explicit Machine(VectorObject& vector) : machine_({}) {
    const ReceivePortConfig config = ReadConfig(vector);
    machine_ = ReceiveMachine({.layout = config.profile->segment_layout});
    machine_.AddPort(config);
    Announcement facts{
        .sender = 101, .fds = 1, .file_bytes = kUnitGeometry.SegmentBytes(), .sealed = true};
    std::vector<uint8_t> header(kUnitGeometry.header_bytes);
    EncodeSegmentHeader({.source_pid = 101}, config.profile->segment_layout, kUnitGeometry, header);
    std::copy_n(header.begin(), facts.head.size(), facts.head.begin());
    After(Announced{0, facts});
    if (!actions_.empty() && actions_[0].kind == ReceiveAction::Kind::kMap) {
      After(Mapped{actions_[0].slot, true});
    }
  }

  const ReceiveActions& After(const ReceiveEvent& event) {
    Step(machine_, event, BusyView(), actions_);
    return actions_;
  }
  // The datagram of a step, whose header is kept for what the vector leaves out.
  const ReceiveActions& Arrive(const nlohmann::json& json, const std::string& place) {
    VectorObject fields(json, place + ": datagram");
    const auto sender = static_cast<int32_t>(fields.Number("sender"));
    const auto references = static_cast<uint32_t>(fields.Number("references"));
    const bool tracked = fields.Has("tracking");
    header = {.stream = static_cast<uint32_t>(fields.Number("stream")),
              .pid = static_cast<int32_t>(fields.Number("pid", sender)),
              .reply_port = static_cast<uint16_t>(fields.Number("reply_port")),
              .type = static_cast<uint8_t>(fields.Number("type", 3)),
              .last = fields.Number("last") != 0,
              .mmap = references != 0 || fields.Number("mmap") != 0,
              .nf = fields.Number("nf") != 0,
              .mf = fields.Number("mf") != 0,
              .byte15 = static_cast<uint8_t>(tracked)};
    ReferenceList list;
    list.well_formed = references != 0;
    if (tracked) list.tracking = {0, static_cast<uint32_t>(fields.Number("tracking"))};
    const auto chunk = static_cast<uint32_t>(fields.Number("chunk"));
    for (uint32_t i = 0; i < references; ++i) list.references.push_back({0, chunk + i, 1});
    const uint32_t bytes = references == 0 ? static_cast<uint32_t>(fields.Number("payload"))
                                           : 12 * references + (tracked ? 8 : 0);
    const auto fds = static_cast<uint32_t>(fields.Number("fds"));
    return After(Arrival{.port = 0,
                         .received = {.bytes = kHeaderBytes + bytes,
                                      .rights_messages = fds > 0 ? 1U : 0U,
                                      .fds = fds,
                                      .truncated = fields.Number("truncated") != 0,
                                      .credentials_pid = sender},
                         .header = &header,
                         .payload_bytes = bytes,
                         .named = header.mmap ? &list : nullptr});
  }
  const ReceiveActions& Take(VectorObject& step) {
    if (step.Has("datagram")) return Arrive(step.Raw("datagram"), step.place());
    if (step.Has("cancelled")) {
      VectorObject fields(step.Raw("cancelled"), step.place() + ": cancelled");
      return After(
          Cancelled{0,
                    static_cast<int32_t>(fields.Number("sender")),
                    {.stream = static_cast<uint32_t>(fields.Number("stream")), .mf = true}});
    }
    if (step.Has("sender_died")) {
      return After(SenderDied{0, static_cast<int32_t>(step.Number("sender_died"))});
    }
    EXPECT_EQ(step.Number("closed"), 1) << step.place();
    return After(PortClosed{0});
  }
  size_t open() const { return machine_.assemblies(0).open(); }

  Header header;

 private:
  ReceiveMachine machine_;
  ReceiveActions actions_;
};

// The header of a message: what the vector gives, else what the datagram had.
void CheckMessage(const ReceiveAction& action, VectorObject& expected, const Header& datagram) {
  const bool alone = action.kind == ReceiveAction::Kind::kDeliver;
  Header header = datagram;
  header.nf = header.mf = false;
  header.last = expected.Number("last", alone && header.last) != 0;
  header.mmap = expected.Number("mmap") != 0;
  header.pid = static_cast<int32_t>(expected.Number("pid", datagram.pid));
  header.reply_port = static_cast<uint16_t>(expected.Number("reply_port", datagram.reply_port));
  header.type = static_cast<uint8_t>(expected.Number("type", datagram.type));
  EXPECT_EQ(action.header, header) << expected.place() << ": " << ToString(action);
  EXPECT_EQ(action.payload_bytes, expected.Number("payload")) << expected.place();
  EXPECT_EQ(action.fragments, expected.Number("fragments", 1)) << expected.place();
}

void CheckAction(const ReceiveAction& action, VectorObject& expected, const Header& datagram) {
  using Kind = ReceiveAction::Kind;
  EXPECT_EQ(Name(action.kind), expected.Text("do")) << expected.place();
  ASSERT_EQ(action.rule.has_value(), expected.Has("rule"))
      << expected.place() << ": " << ToString(action);
  if (action.rule) {
    EXPECT_EQ(*action.rule, ReadRule(expected.Text("rule"))) << expected.place();
  }
  switch (action.kind) {
    case Kind::kLend:
    case Kind::kFree:
      EXPECT_EQ(action.holding.first_chunk, expected.Number("chunk", -1)) << expected.place();
      return;
    case Kind::kTake:
      EXPECT_EQ(action.count, expected.Number("word", -1)) << expected.place();
      return;
    case Kind::kDeliver:
      return CheckMessage(action, expected, datagram);
    case Kind::kFinish:
      CheckMessage(action, expected, datagram);
      [[fallthrough]];
    case Kind::kOpen:
    case Kind::kAppend:
    case Kind::kDiscard:
    case Kind::kCancel:
      EXPECT_EQ(action.slot, expected.Number("slot", -1)) << expected.place();
      return;
    default:
      return;
  }
}

TEST(ReassemblyVectors, GiveTheActionsTheySay) {
  ForEachVector("reassembly.json", [](VectorObject& vector) {
    ReadRule(vector.Text("rule"));
    Machine machine(vector);
    int number = 0;
    for (const nlohmann::json& json : vector.Raw("steps")) {
      VectorObject step(json, vector.place() + ": step " + std::to_string(++number));
      const ReceiveActions& actions = machine.Take(step);
      const nlohmann::json& expected = step.Raw("actions");
      ASSERT_EQ(actions.size(), expected.size()) << step.place() << ": " << ToString(actions);
      for (size_t i = 0; i < actions.size(); ++i) {
        VectorObject one(expected[i], step.place() + ": action " + std::to_string(i + 1));
        CheckAction(actions[i], one, machine.header);
      }
    }
    EXPECT_EQ(static_cast<int64_t>(machine.open()), vector.Number("open")) << vector.place();
  });
}

}  // namespace
}  // namespace portproof
