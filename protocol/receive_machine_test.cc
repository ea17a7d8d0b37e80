// Receiving by rule, through the whole machine. The table of fragments itself is also in
// testdata/vectors/reassembly.json.
#include "protocol/receive_machine.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace portproof {
namespace {

using Kind = ReceiveAction::Kind;

// The small language of this test: a fragment's place, and its fields by name.
struct Fields {
  int32_t sender = 101;
  uint32_t stream = 5;
  uint32_t bytes = 10;
  uint8_t type = 3;
  bool last = false;
  uint16_t reply_port = 0;
};

// Every chunk is busy, no page is gone, unless a test says so.
class View : public SegmentView {
 public:
  bool AllBusy(uint32_t, uint32_t, uint32_t) const override { return busy; }
  bool Poisoned(uint32_t slot) const override { return poisoned.contains(slot); }

  bool busy = true;
  std::map<uint32_t, bool> poisoned;
};

class ReceiveMachineTest : public testing::Test {
 protected:
  ReceiveMachineTest() { Configure(); }

  // A machine with one port that has read for a while, so that it reads in batches.
  void Configure() {
    machine_ = ReceiveMachine(SegmentConfig{});
    machine_.AddPort(config_);
    for (uint32_t i = 0; i < kSinglyReads; ++i) Whole();
  }
  void ConfigureProfile(const char* name) {
    config_.profile = ResolveProfile(name)->profile;
    Configure();
  }
  void Limit(uint32_t per_sender, uint32_t open, uint32_t assembly_bytes, uint64_t bytes) {
    config_.limits = {per_sender, open, assembly_bytes, bytes};
    Configure();
  }
  std::string Datagram(bool nf, bool mf, const Fields& fields) {
    const Header header{.stream = fields.stream,
                        .pid = fields.sender,
                        .reply_port = fields.reply_port,
                        .type = fields.type,
                        .last = fields.last,
                        .nf = nf,
                        .mf = mf};
    return Arrive(header, fields.bytes, {});
  }
  std::string Arrive(const Header& header, uint32_t bytes, Received received,
                     const ReferenceList* named = nullptr) {
    received.bytes = kHeaderBytes + uint64_t{bytes};
    return After(Arrival{.port = 0,
                         .received = received,
                         .header = &header,
                         .payload_bytes = bytes,
                         .named = named});
  }
  // Refused before the table is asked.
  std::string Truncated(uint32_t stream) {
    return Arrive({.stream = stream, .pid = 101, .type = 3}, 10, {.truncated = true});
  }
  // A message of references, each of one chunk in the segment.
  std::string Refer(const Fields& fields, const std::vector<uint32_t>& ids, bool nf = false,
                    bool mf = false, std::optional<Tracking> tracking = std::nullopt) {
    ReferenceList list{.well_formed = true, .tracking = tracking};
    for (const uint32_t id : ids) list.references.push_back({id, next_chunk_++ % 640, 100});
    const Header header{.stream = fields.stream,
                        .pid = fields.sender,
                        .type = fields.type,
                        .mmap = true,
                        .nf = nf,
                        .mf = mf,
                        .byte15 = static_cast<uint8_t>(tracking.has_value())};
    return Arrive(header, static_cast<uint32_t>(12 * ids.size() + (tracking ? 8 : 0)), {}, &list);
  }
  static Announcement Sealed(int32_t sender, uint32_t id) {
    Announcement announcement{
        .sender = sender, .fds = 1, .file_bytes = kUnitGeometry.SegmentBytes(), .sealed = true};
    std::vector<uint8_t> header(kUnitGeometry.header_bytes);
    EncodeSegmentHeader({.id = id, .source_pid = sender}, SegmentLayout::kOosm, kUnitGeometry,
                        header);
    std::copy_n(header.begin(), announcement.head.size(), announcement.head.begin());
    return announcement;
  }
  std::string Announce(int32_t sender, uint32_t id, bool mapped = true) {
    const Announcement announcement = Sealed(sender, id);
    std::string text = After(Announced{0, announcement});
    if (actions_.empty() || actions_[0].kind != Kind::kMap) return text;
    const std::string map = After(Mapped{actions_[0].slot, mapped});
    return map.empty() ? text : text + "; " + map;
  }
  std::string Whole(const Fields& fields = {}) { return Datagram(false, false, fields); }
  std::string First(const Fields& fields = {}) { return Datagram(false, true, fields); }
  std::string Middle(const Fields& fields = {}) { return Datagram(true, true, fields); }
  std::string Final(const Fields& fields = {}) { return Datagram(true, false, fields); }
  std::string Cancel() { return After(Cancelled{0, 101, {.stream = 5, .pid = 101, .mf = true}}); }
  std::string Die(int32_t sender) { return After(SenderDied{0, sender}); }

  std::string After(const ReceiveEvent& event) {
    Step(machine_, event, view_, actions_);
    std::string text;
    for (const ReceiveAction& action : actions_) text += (text.empty() ? "" : "; ") + Short(action);
    return text;
  }
  // "open 0", "append 0", "finish 0 20 bytes", "deliver 10 bytes", "refuse FRG-1";
  // "!FRG-3" where an accepted datagram broke a rule.
  static std::string Short(const ReceiveAction& action) {
    const std::string id = action.rule ? std::string(Id(*action.rule)) : "";
    const std::string broke = action.rule ? " !" + id : "";
    const std::string slot = std::to_string(action.slot);
    const std::string bytes = std::to_string(action.payload_bytes) + " bytes";
    const std::string last = action.header.last ? " last" : "";
    switch (action.kind) {
      case Kind::kDeliver:
        return "deliver " + bytes + last + broke;
      case Kind::kOpen:
        return "open " + slot + broke;
      case Kind::kAppend:
        return "append " + slot + broke;
      case Kind::kFinish:
        return "finish " + slot + " " + bytes + last + broke;
      case Kind::kRefuse:
        return "refuse " + id;
      case Kind::kReport:
        return "report " + id;
      case Kind::kDiscard:
        return "discard " + slot + " " + id;
      case Kind::kRead:
        return "read " + std::to_string(action.count);
      case Kind::kAsk:
        return "ask " + std::to_string(action.sender) + " for " + std::to_string(action.count);
      case Kind::kLend:
      case Kind::kFree:
        return std::string(Name(action.kind)) + " " + std::to_string(action.holding.slot) + "+" +
               std::to_string(action.holding.first_chunk);
      case Kind::kKeep:
      case Kind::kDropKept:
      case Kind::kResume:
      case Kind::kCancel:
      case Kind::kMap:
      case Kind::kUnmap:
        return std::string(Name(action.kind)) + " " + slot;
      case Kind::kStop:
      case Kind::kAskSlots:
      case Kind::kGoOn:
      case Kind::kTake:
      case Kind::kDrop:
        return ToString(action);
    }
    return "";
  }

  const Reassembly& assemblies() const { return machine_.assemblies(0); }
  const Budget& budget() const { return assemblies().budget(); }

  ReceivePortConfig config_ = {.profile = ResolveProfile("unit-1.35.0")->profile,
                               .max_size = 0xffffffff};
  View view_;
  ReceiveMachine machine_ = ReceiveMachine(SegmentConfig{});
  ReceiveActions actions_;
  uint32_t next_chunk_ = 0;
};

TEST_F(ReceiveMachineTest, FRG_1_ADuplicateFirstFragmentIsRefusedAndTheMessageArrivesIntact) {
  EXPECT_EQ(First({.bytes = 100}), "open 0");
  const ReceiveMachine before = machine_;
  EXPECT_EQ(First({.bytes = 7, .type = 9}), "refuse FRG-1");
  EXPECT_TRUE(machine_ == before) << ToString(machine_);
  EXPECT_EQ(Final({.bytes = 20}), "finish 0 120 bytes");
}

TEST_F(ReceiveMachineTest, FRG_2_ALaterFragmentWithoutAnOpenAssemblyIsRefused) {
  const ReceiveMachine before = machine_;
  EXPECT_EQ(Middle(), "refuse FRG-2");
  EXPECT_EQ(Final(), "refuse FRG-2");
  EXPECT_TRUE(machine_ == before) << ToString(machine_);
}

TEST_F(ReceiveMachineTest, FRG_2_ASecondFinalFragmentIsRefused) {
  First();
  EXPECT_EQ(Final(), "finish 0 20 bytes");
  EXPECT_EQ(Final(), "refuse FRG-2");
}

TEST_F(ReceiveMachineTest, FRG_3_AnotherTypeDiscards) {
  First();
  EXPECT_EQ(Middle({.type = 4}), "refuse FRG-3; discard 0 FRG-3");
  EXPECT_EQ(assemblies().open(), 0U);
  EXPECT_EQ(budget().bytes(), 0U);
  EXPECT_EQ(Final(), "refuse FRG-2");
  EXPECT_EQ(First(), "open 0");
}

TEST_F(ReceiveMachineTest, FRG_3_OtherChangesAreAccepted) {
  First({.reply_port = 7});
  EXPECT_EQ(Middle({.reply_port = 8}), "append 0 !FRG-3");
  EXPECT_EQ(Middle({.last = true, .reply_port = 7}), "append 0");
  EXPECT_EQ(Middle({.reply_port = 7}), "append 0 !FRG-3");
  EXPECT_EQ(Final({.reply_port = 7}), "finish 0 50 bytes last !FRG-3");
  EXPECT_EQ(actions_[0].header.reply_port, 7);
}

TEST_F(ReceiveMachineTest, FRG_4_LastIsTheOrOverAllFragments) {
  for (int mask = 0; mask < 8; ++mask) {
    First({.last = (mask & 1) != 0});
    Middle({.last = (mask & 2) != 0});
    Final({.last = (mask & 4) != 0});
    EXPECT_EQ(actions_[0].header.last, mask != 0) << mask;
  }
}

TEST_F(ReceiveMachineTest, FRG_4_TheHeaderIsTheFirstFragmentsWithoutItsFragmentFlags) {
  First({.sender = 7, .stream = 9, .type = 11, .reply_port = 12});
  Final({.sender = 7, .stream = 9, .type = 11, .reply_port = 12});
  EXPECT_EQ(ToString(actions_[0].header), "stream 9 pid 7 reply 12 type 11");
  EXPECT_EQ(actions_[0].fragments, 2U);
}

TEST_F(ReceiveMachineTest, FRG_4_TheKeyIsSenderAndStreamFrom19) {
  ConfigureProfile("unit-1.9.0");
  EXPECT_EQ(First({.sender = 101}), "open 0");
  EXPECT_EQ(First({.sender = 102}), "open 1");
  EXPECT_EQ(First({.sender = 101, .stream = 6}), "open 2");
  EXPECT_EQ(Final({.sender = 102}), "finish 1 20 bytes");
}

TEST_F(ReceiveMachineTest, FRG_4_TheKeyIsTheStreamAloneTo18) {
  ConfigureProfile("unit-1.8.0");
  EXPECT_EQ(First({.sender = 101}), "open 0");
  EXPECT_EQ(First({.sender = 102}), "refuse FRG-1");
  EXPECT_EQ(First({.sender = 102, .stream = 6}), "open 1");
}

TEST_F(ReceiveMachineTest, FRG_6_AWholeMessageBetweenFragmentsIsDeliveredAndHarmsNothing) {
  First();
  const ReceiveMachine before = machine_;
  EXPECT_EQ(Whole({.bytes = 3}), "deliver 3 bytes !FRG-6");
  EXPECT_EQ(Whole({.stream = 6, .bytes = 4, .last = true}), "deliver 4 bytes last");
  EXPECT_TRUE(machine_ == before) << ToString(machine_);
  EXPECT_EQ(Final(), "finish 0 20 bytes");
}

TEST_F(ReceiveMachineTest, FRG_7_EmptyFragmentsAreAccepted) {
  EXPECT_EQ(First({.bytes = 0}), "open 0 !FRG-7");
  EXPECT_EQ(actions_[0].storage, Storage::kNone);
  EXPECT_EQ(Middle({.bytes = 0}), "append 0 !FRG-7");
  EXPECT_EQ(actions_[0].storage, Storage::kNone);
  EXPECT_EQ(Final({.bytes = 0}), "finish 0 0 bytes !FRG-7");
}

TEST_F(ReceiveMachineTest, FRG_8_OpenAssembliesOfASenderAreBounded) {
  Limit(2, 100, 1000, 1000);
  EXPECT_EQ(First({.stream = 1}), "open 0");
  EXPECT_EQ(First({.stream = 2}), "open 1");
  EXPECT_EQ(First({.stream = 3}), "refuse FRG-8");
  EXPECT_EQ(First({.stream = 2}), "refuse FRG-1");
  EXPECT_EQ(budget().CountOf(101), 2U);
  EXPECT_EQ(First({.sender = 102, .stream = 3}), "open 2");
  Final({.stream = 1});
  EXPECT_EQ(First({.stream = 3}), "open 0");
}

TEST_F(ReceiveMachineTest, FRG_8_PerSenderMeansTheOpenersPidWhereTheKeyIsTheStream) {
  config_.profile = ResolveProfile("unit-1.8.0")->profile;
  Limit(1, 100, 1000, 1000);
  EXPECT_EQ(First({.stream = 1}), "open 0");
  EXPECT_EQ(First({.stream = 2}), "refuse FRG-8");
  EXPECT_EQ(First({.sender = 102, .stream = 2}), "open 1");
  EXPECT_EQ(First({.sender = 103, .stream = 2}), "refuse FRG-1");
  EXPECT_EQ(budget().CountOf(103), 0U);
  // What another sends on its stream is the opener's.
  Limit(100, 100, 1000, 40);
  EXPECT_EQ(First({.stream = 1, .bytes = 5}), "open 0");
  EXPECT_EQ(Middle({.sender = 102, .stream = 1, .bytes = 15}), "append 0 !FRG-3");
  EXPECT_EQ(First({.sender = 102, .stream = 2, .bytes = 10}), "open 1");
  EXPECT_EQ(Middle({.sender = 102, .stream = 1, .bytes = 1}), "refuse FRG-8; discard 0 FRG-8");
}

TEST_F(ReceiveMachineTest, FRG_8_OpenAssembliesOfAPortAreBounded) {
  Limit(100, 3, 1000, 1000);
  EXPECT_EQ(First({.sender = 1}), "open 0");
  EXPECT_EQ(First({.sender = 2}), "open 1");
  EXPECT_EQ(First({.sender = 3}), "refuse FRG-8");
  EXPECT_EQ(budget().CountOf(3), 0U);
}

// h assemblies of a sender, o of others, T in all: 2h + o <= T.
TEST_F(ReceiveMachineTest, FRG_8_OneSenderHoldsHalfOfWhatTheOthersLeaveFree) {
  Limit(100, 11, 1000, 1000);
  for (uint32_t stream = 0; stream < 5; ++stream) {
    EXPECT_EQ(First({.sender = 1, .stream = stream}), "open " + std::to_string(stream));
  }
  EXPECT_EQ(First({.sender = 1, .stream = 9}), "refuse FRG-8");  // 2*6 + 0 > 11
  for (uint32_t stream = 0; stream < 3; ++stream) {
    EXPECT_EQ(First({.sender = 2, .stream = stream}), "open " + std::to_string(5 + stream));
  }
  EXPECT_EQ(First({.sender = 2, .stream = 9}), "refuse FRG-8");  // 2*4 + 5 > 11
  EXPECT_EQ(First({.sender = 3, .stream = 1}), "open 8");        // 2*1 + 8 = 10
  EXPECT_EQ(First({.sender = 3, .stream = 2}), "refuse FRG-8");
  EXPECT_EQ(First({.sender = 4, .stream = 1}), "open 9");        // 2*1 + 9 = 11
  EXPECT_EQ(First({.sender = 5, .stream = 1}), "refuse FRG-8");  // 2*1 + 10 > 11
  // It is not taken back when others come, but nothing is added.
  Final({.sender = 1, .stream = 0});
  EXPECT_EQ(First({.sender = 1, .stream = 9}), "refuse FRG-8");  // 2*5 + 5 > 11
  EXPECT_EQ(First({.sender = 5, .stream = 1}), "open 0");        // 2*1 + 9 = 11
}

TEST_F(ReceiveMachineTest, FRG_8_OneSenderHoldsHalfOfTheBytesThatTheOthersLeaveFree) {
  Limit(100, 100, 1000, 101);
  EXPECT_EQ(First({.sender = 1, .stream = 1, .bytes = 51}), "refuse FRG-8");
  EXPECT_EQ(First({.sender = 1, .stream = 1, .bytes = 20}), "open 0");
  EXPECT_EQ(First({.sender = 1, .stream = 2, .bytes = 30}), "open 1");
  EXPECT_EQ(First({.sender = 2, .stream = 1, .bytes = 26}), "refuse FRG-8");
  EXPECT_EQ(First({.sender = 2, .stream = 1, .bytes = 1}), "open 2");
  EXPECT_EQ(Middle({.sender = 2, .stream = 1, .bytes = 24}), "append 2");  // 2*25 + 50 = 100
  EXPECT_EQ(Final({.sender = 2, .stream = 1, .bytes = 1}), "refuse FRG-8; discard 2 FRG-8");
  EXPECT_EQ(First({.sender = 2, .stream = 1, .bytes = 25}), "open 2");
  EXPECT_EQ(Final({.sender = 1, .stream = 1, .bytes = 1}), "refuse FRG-8; discard 0 FRG-8");
  EXPECT_EQ(Final({.sender = 1, .stream = 2, .bytes = 8}), "finish 1 38 bytes");  // 2*38 + 25
  EXPECT_EQ(First({.sender = 1, .stream = 2, .bytes = 38}), "open 1");
}

TEST_F(ReceiveMachineTest, FRG_8_BytesOfAnAssemblyAreBoundedTheFinalFragmentIncluded) {
  Limit(100, 100, 30, 1000);
  First();
  Middle();
  EXPECT_EQ(Final({.bytes = 10}), "finish 0 30 bytes");
  First();
  Middle();
  EXPECT_EQ(Final({.bytes = 11}), "refuse FRG-8; discard 0 FRG-8");
  EXPECT_EQ(First({.bytes = 31}), "refuse FRG-8");
  EXPECT_EQ(First({.bytes = 0xffffffff}), "refuse FRG-8");
}

TEST_F(ReceiveMachineTest, FRG_8_BytesInAllAreBounded) {
  Limit(100, 100, 1000, 60);
  First({.stream = 1});
  First({.stream = 2});
  EXPECT_EQ(Middle({.stream = 1, .bytes = 0xffffffff}), "refuse FRG-8; discard 0 FRG-8");
  EXPECT_EQ(First({.stream = 1, .bytes = 20}), "open 0");
  EXPECT_EQ(First({.stream = 3, .bytes = 1}), "refuse FRG-8");
  EXPECT_EQ(Final({.stream = 2, .bytes = 1}), "refuse FRG-8; discard 1 FRG-8");
  EXPECT_EQ(budget().bytes(), 20U);
}

// What follows of a cancelled message is no orphan, and holds nothing but its key.
TEST_F(ReceiveMachineTest, SHM_14_ACancelledMessageIsDroppedWithAllItsFragments) {
  Limit(1, 100, 1000, 200);
  EXPECT_EQ(First({.bytes = 50}), "open 0");
  EXPECT_EQ(Cancel(), "cancel 0; drop");
  EXPECT_EQ(budget().bytes(), 0U);
  EXPECT_EQ(assemblies().open(), 1U);
  EXPECT_EQ(Middle({.bytes = 1000}), "drop");
  EXPECT_EQ(Middle({.bytes = 0, .type = 9}), "drop");
  EXPECT_EQ(First(), "refuse FRG-1");
  EXPECT_EQ(First({.stream = 6}), "refuse FRG-8");  // it is the sender's one
  EXPECT_EQ(First({.sender = 102}), "open 1");
  EXPECT_EQ(Final(), "drop");
  EXPECT_EQ(Final(), "refuse FRG-2");
  EXPECT_EQ(First({.bytes = 50}), "open 0");
  EXPECT_EQ(Final({.bytes = 0}), "finish 0 50 bytes !FRG-7");
  EXPECT_EQ(budget().CountOf(101), 0U);
}

// SHM-14, FRG-8: of 100 bytes in all, one sender may hold 50.
TEST_F(ReceiveMachineTest, TheBytesOfACancelledMessageCountNoMore) {
  Limit(8, 8, 100, 100);
  EXPECT_EQ(First({.bytes = 40}), "open 0");
  EXPECT_EQ(First({.stream = 6, .bytes = 50}), "refuse FRG-8");
  EXPECT_EQ(Cancel(), "cancel 0; drop");
  EXPECT_EQ(First({.stream = 6, .bytes = 50}), "open 1");
}

TEST_F(ReceiveMachineTest, SHM_14_ACancelledMessageEndsAsOthersDo) {
  for (int way = 0; way < 3; ++way) {
    EXPECT_EQ(First(), "open 0");
    EXPECT_EQ(Cancel(), "cancel 0; drop");
    EXPECT_EQ(First(), "refuse FRG-1");
    EXPECT_EQ(Whole(), "deliver 10 bytes !FRG-6");
    const std::string end = way == 0 ? Truncated(5) : way == 1 ? Die(101) : After(PortClosed{0});
    EXPECT_NE(end.find("discard 0"), std::string::npos) << end;
    EXPECT_EQ(assemblies().open(), 0U);
    EXPECT_EQ(budget().bytes(), 0U);
    if (way != 2) {
      EXPECT_EQ(Final(), "refuse FRG-2");
    }
  }
}

TEST_F(ReceiveMachineTest, FRG_8_ALimitOfNothingRefusesEverything) {
  Limit(0, 0, 0, 0);
  EXPECT_EQ(First({.bytes = 0}), "refuse FRG-8");
  EXPECT_EQ(budget().CountOf(101), 0U);
  EXPECT_EQ(Whole(), "deliver 10 bytes");
}

TEST_F(ReceiveMachineTest, FRG_8_SmallFragmentsGoToSlabsLargeOnesKeepTheirBuffer) {
  First({.bytes = 10});
  EXPECT_EQ(actions_[0].storage, Storage::kSlab);
  EXPECT_EQ(actions_[0].slab_bytes, 64U);
  Middle({.bytes = 54});
  EXPECT_EQ(actions_[0].storage, Storage::kTail);
  Middle({.bytes = 65});
  EXPECT_EQ(actions_[0].storage, Storage::kSlab);
  EXPECT_EQ(actions_[0].slab_bytes, 128U);
  Middle({.bytes = 8199});
  EXPECT_EQ(actions_[0].storage, Storage::kSlab);
  EXPECT_EQ(actions_[0].slab_bytes, 16384U);
  Middle({.bytes = 8200});
  EXPECT_EQ(actions_[0].storage, Storage::kKeep);
  Middle({.bytes = 8199});
  EXPECT_EQ(actions_[0].storage, Storage::kTail);
  Middle({.bytes = 16400});
  EXPECT_EQ(actions_[0].storage, Storage::kKeep);
  Middle({.bytes = 1});
  EXPECT_EQ(actions_[0].storage, Storage::kSlab);
  Final({.bytes = 1});
  EXPECT_EQ(actions_[0].storage, Storage::kKeep);
}

TEST_F(ReceiveMachineTest, FRG_8_ABurstLeavesNothingBehind) {
  const uint64_t idle = machine_.MemoryBytes(0);
  for (int32_t sender = 101; sender < 301; ++sender) {
    First({.sender = sender});
    Refer({.sender = sender, .stream = 6}, {0});
  }
  for (int32_t sender = 101; sender < 300; ++sender) Die(sender);
  After(CallReturned{.port = 0, .answer = Answer::kEmpty});
  EXPECT_GT(machine_.MemoryBytes(0), 3 * idle);  // one sender's are left
  EXPECT_EQ(Final({.sender = 300}), "finish 199 20 bytes");
  Die(300);
  After(CallReturned{.port = 0, .answer = Answer::kEmpty});
  EXPECT_LE(machine_.MemoryBytes(0), idle);
  EXPECT_EQ(First({.sender = 300}), "open 0");
}

TEST_F(ReceiveMachineTest, FRG_9_ASendersDeathDiscardsItsAssembliesAlone) {
  First({.sender = 101, .stream = 1});
  First({.sender = 102, .stream = 1});
  First({.sender = 101, .stream = 2});
  EXPECT_EQ(Die(101), "discard 0 FRG-9; discard 2 FRG-9");
  EXPECT_EQ(Die(101), "");
  EXPECT_EQ(Die(7), "");
  EXPECT_EQ(assemblies().open(), 1U);
  EXPECT_EQ(budget().CountOf(101), 0U);
  EXPECT_EQ(Final({.sender = 102, .stream = 1}), "finish 1 20 bytes");
}

TEST_F(ReceiveMachineTest, FRG_9_ASendersDeathMeansTheOpenersPidWhereTheKeyIsTheStream) {
  ConfigureProfile("unit-1.8.0");
  First({.sender = 101, .stream = 1});
  First({.sender = 102, .stream = 2});
  EXPECT_EQ(Die(102), "discard 1 FRG-9");
}

TEST_F(ReceiveMachineTest, FRG_9_ClosingDiscardsEverything) {
  for (uint32_t stream = 0; stream < 20; ++stream) First({.stream = stream});
  After(PortClosed{0});
  ASSERT_EQ(actions_.size(), 20U);
  for (uint32_t slot = 0; slot < 20; ++slot) EXPECT_EQ(actions_[slot].slot, slot);
  EXPECT_EQ(assemblies().open(), 0U);
  EXPECT_EQ(budget().bytes(), 0U);
  EXPECT_EQ(After(PortClosed{0}), "");
}

TEST_F(ReceiveMachineTest, FRG_10_AReceiverWithoutFragmentsRefusesThem) {
  config_.takes_fragments = false;
  Configure();
  EXPECT_EQ(First(), "refuse FRG-10");
  EXPECT_EQ(Middle(), "refuse FRG-10");
  EXPECT_EQ(Final(), "refuse FRG-10");
  EXPECT_EQ(Whole(), "deliver 10 bytes");
}

TEST_F(ReceiveMachineTest, RCV_1_ATruncatedDatagramDiscardsTheAssemblyOfItsKey) {
  First({.stream = 5});
  First({.stream = 6});
  EXPECT_EQ(Truncated(6), "refuse RCV-1; discard 1 RCV-1");
  EXPECT_EQ(Truncated(6), "refuse RCV-1");
  EXPECT_EQ(Final({.stream = 5}), "finish 0 20 bytes");
}

TEST_F(ReceiveMachineTest, SHM_1_WhatIsNoListDiscardsTheAssemblyOfItsKey) {
  First();
  const ReferenceList none;
  EXPECT_EQ(Arrive({.stream = 5, .pid = 101, .type = 3, .mmap = true, .nf = true}, 13, {}, &none),
            "refuse SHM-1; discard 0 SHM-1");
}

TEST_F(ReceiveMachineTest, SHM_2_ABadReferenceDiscardsTheAssemblyOfItsKey) {
  Announce(101, 0);
  First();
  view_.busy = false;
  EXPECT_EQ(Refer({}, {0}, true, true), "refuse SHM-2; discard 0 SHM-2");
  EXPECT_EQ(Refer({}, {1024}, true, true), "refuse SHM-2");
  EXPECT_EQ(assemblies().open(), 0U);
}

// To 1.18 nothing is held.
TEST_F(ReceiveMachineTest, SHM_10_AnUnknownSegmentIsRefusedTo118) {
  ConfigureProfile("unit-1.18.0");
  First();
  EXPECT_EQ(Refer({}, {7}, true, true), "refuse SHM-10; discard 0 SHM-10");
}

TEST_F(ReceiveMachineTest, RCV_5_AnyOtherRefusalChangesNothing) {
  First();
  const ReceiveMachine before = machine_;
  const Header later{.stream = 5, .pid = 101, .type = 3, .nf = true};
  const Header unknown{.stream = 5, .pid = 101, .type = 200};
  EXPECT_EQ(Arrive(unknown, 10, {}), "refuse HDR-4");
  EXPECT_EQ(Arrive(later, 10, {.rights_messages = 1, .fds = 3}), "refuse FDS-2");
  EXPECT_EQ(Arrive(later, 10, {.rights_messages = 1, .fds = 1}), "refuse FDS-1");
  EXPECT_EQ(After(Arrival{.port = 0, .received = {.bytes = 15}}), "refuse HDR-1");
  EXPECT_TRUE(machine_ == before) << ToString(machine_);
}

TEST_F(ReceiveMachineTest, RCV_3_AMessageWithoutPayloadIsDeliveredEmpty) {
  EXPECT_EQ(Whole({.bytes = 0}), "deliver 0 bytes");
}

TEST_F(ReceiveMachineTest, RCV_2_TheLargestNumbersAreOrdinaryOnes) {
  EXPECT_EQ(First({.sender = -1, .stream = 0xffffffff, .bytes = 1}), "open 0");
  EXPECT_EQ(First({.sender = INT32_MIN, .stream = 0xffffffff, .bytes = 1}), "open 1");
  EXPECT_EQ(First({.sender = 0, .stream = 0xffffffff, .bytes = 1}), "open 2");
  EXPECT_EQ(Die(-1), "discard 0 FRG-9");
}

// An assembly of 2^32 fragments was one of none, which is no assembly: its slot was lost.
TEST_F(ReceiveMachineTest, RCV_2_MoreFragmentsThanCanBeCountedAreStillAnAssembly) {
  First();
  // As 2^32 - 2 empty fragments leave it.
  const_cast<Assembly*>(assemblies().Find(101, 5))->fragments = 0xffffffff;
  EXPECT_EQ(Middle({.bytes = 0}), "append 0 !FRG-7");
  ASSERT_NE(assemblies().Find(101, 5), nullptr);
  EXPECT_EQ(assemblies().Find(101, 5)->fragments, 0xffffffff);
  EXPECT_EQ(Final(), "finish 0 20 bytes");
  EXPECT_EQ(assemblies().open(), 0U);
}

// HDR-7: once for each pair.
TEST_F(ReceiveMachineTest, HDR_7_AnotherPidInTheHeaderIsReportedOnce) {
  const Header header{.stream = 1, .pid = 9, .type = 3};
  EXPECT_EQ(Arrive(header, 10, {.credentials_pid = 101}), "report HDR-7; deliver 10 bytes");
  EXPECT_EQ(Arrive(header, 10, {.credentials_pid = 101}), "deliver 10 bytes");
  EXPECT_EQ(actions_[0].sender, 101);
  EXPECT_EQ(Arrive(header, 10, {.credentials_pid = 102}), "report HDR-7; deliver 10 bytes");
  for (int32_t pid = 1; pid <= 14; ++pid) Arrive(header, 10, {.credentials_pid = 200 + pid});
  EXPECT_EQ(Arrive(header, 10, {.credentials_pid = 101}), "deliver 10 bytes");  // of 16 pairs
  Arrive(header, 10, {.credentials_pid = 215});
  EXPECT_EQ(Arrive(header, 10, {.credentials_pid = 101}), "report HDR-7; deliver 10 bytes");
}

// HDR-8: end-of-file is told when the call is over; before it nothing is read any more.
TEST_F(ReceiveMachineTest, HDR_8_ZeroBytesAreTheEndOnlyOfAHungUpSocket) {
  const ZeroRead alive;
  EXPECT_EQ(After(Arrival{.port = 0, .zero = &alive}), "refuse HDR-8");
  EXPECT_EQ(After(CallReturned{.port = 0, .count = 1, .came_short = true}), "stop: wait");
  const ZeroRead end{.hung_up = true};
  EXPECT_EQ(After(Arrival{.port = 0, .zero = &end}), "drop");
  EXPECT_EQ(After(CallReturned{.port = 0, .count = 1}), "stop: end");
}

TEST_F(ReceiveMachineTest, RCV_4_ATurnReadsAStatedNumberOfDatagrams) {
  config_.reads_per_turn = 20;
  Configure();
  EXPECT_EQ(After(TurnBegins{0}), "ask slots");
  EXPECT_EQ(After(SlotsCounted{0, true}), "read 16");
  EXPECT_EQ(After(CallReturned{.port = 0, .count = 16}), "read 4");
  EXPECT_EQ(After(CallReturned{.port = 0, .count = 4}), "stop: call again");  // RCV-7
  EXPECT_EQ(After(TurnBegins{0}), "read 16");
  EXPECT_EQ(After(CallReturned{.port = 0, .count = 3, .came_short = true}), "stop: wait");
}

TEST_F(ReceiveMachineTest, RCV_6_EachAnswerOfTheKernelHasItsOwn) {
  After(TurnBegins{0});
  After(SlotsCounted{0, true});
  EXPECT_EQ(After(CallReturned{.port = 0, .answer = Answer::kInterrupted, .came_short = true}),
            "read 16");
  EXPECT_EQ(After(CallReturned{.port = 0, .answer = Answer::kReset}), "read 16");
  EXPECT_EQ(After(CallReturned{.port = 0, .answer = Answer::kEmpty}), "stop: wait");
  EXPECT_EQ(After(CallReturned{.port = 0, .answer = Answer::kBusy}), "stop: retry later");
  EXPECT_EQ(After(CallReturned{.port = 0, .answer = Answer::kNoBuffer}), "stop: retry later");
  EXPECT_EQ(After(CallReturned{.port = 0, .answer = Answer::kError}), "stop: end");
}

// RCV-5: descriptors came, or the table is short of places.
TEST_F(ReceiveMachineTest, RCV_5_OneAtATimeWhileDescriptorsMayBeLost) {
  After(TurnBegins{0});
  EXPECT_EQ(After(SlotsCounted{0, false}), "read 1");
  EXPECT_EQ(After(TurnBegins{0}), "read 1");
  for (uint32_t i = 0; i < kSinglyReads; ++i) Whole();
  EXPECT_EQ(After(TurnBegins{0}), "ask slots");
  EXPECT_EQ(After(SlotsCounted{0, true}), "read 16");
  EXPECT_EQ(After(TurnBegins{0, true}), "ask slots");  // another port saw it full
  EXPECT_EQ(After(SlotsCounted{0, true}), "read 16");
  const Header header{.stream = 1, .pid = 101, .type = 3};
  After(Arrival{.port = 0,
                .received = {.bytes = 16, .rights_messages = 1, .fds = 1},
                .used_slots = true,
                .header = &header});
  EXPECT_EQ(After(TurnBegins{0}), "read 1");
}

// SHM-6: lent on delivery, free when released, and unmapped when the last went.
TEST_F(ReceiveMachineTest, SHM_6_ChunksAreLentAndFreedOnce) {
  EXPECT_EQ(Announce(101, 3), "map 0");
  EXPECT_EQ(Refer({}, {3, 3}), "lend 0+0; lend 0+1; deliver 24 bytes");
  const Holding first = actions_[0].holding;
  const Holding second = actions_[1].holding;
  EXPECT_EQ(machine_.segments().held_chunks(), 2U);
  EXPECT_EQ(After(Released{first}), "free 0+0");
  EXPECT_EQ(Die(101), "");  // SHM-13
  EXPECT_EQ(After(Released{second}), "free 0+1; unmap 0");
  EXPECT_EQ(machine_.segments().mapped(), 0U);
}

TEST_F(ReceiveMachineTest, SHM_6_WhatIsRefusedIsFreed) {
  Announce(101, 0);
  EXPECT_EQ(Refer({.type = 200}, {0, 0}), "free 0+0; free 0+1; refuse HDR-4");
  EXPECT_EQ(Refer({}, {0}, true, true), "free 0+2; refuse FRG-2");
  EXPECT_EQ(Refer({}, {0, 1024, 0}), "free 0+3; free 0+5; refuse SHM-2");
  EXPECT_EQ(machine_.segments().held_chunks(), 0U);
  EXPECT_EQ(After(PortClosed{0}), "");
  EXPECT_EQ(Refer({}, {0}), "free 0+6; drop");  // it came in one call with what closed the port
}

TEST_F(ReceiveMachineTest, SHM_8_AnAnnouncementCountsOnceItIsMapped) {
  EXPECT_EQ(Announce(101, 0, false), "map 0; refuse SHM-8");
  EXPECT_EQ(machine_.segments().mapped(), 0U);
  EXPECT_EQ(Announce(101, 0), "map 0");
  EXPECT_EQ(Announce(101, 0), "refuse SHM-8");  // a duplicate
  EXPECT_EQ(Announce(101, 1024), "refuse SHM-8");
}

TEST_F(ReceiveMachineTest, SHM_8_OnlyWhatIsNotSealedIsGuarded) {
  Announcement announcement = Sealed(101, 0);
  announcement.guarded = true;  // the application would, but need not
  ASSERT_EQ(After(Announced{0, announcement}), "map 0");
  EXPECT_FALSE(actions_[0].guard);
  announcement = Sealed(101, 1);
  announcement.sealed = false;
  ASSERT_EQ(After(Announced{0, announcement}), "refuse SHM-8");
  announcement.guarded = true;
  ASSERT_EQ(After(Announced{0, announcement}), "map 1");
  EXPECT_TRUE(actions_[0].guard);
}

TEST_F(ReceiveMachineTest, SHM_8_AnAnnouncementIsNotForTheHandler) {
  const Header header{.stream = 0, .pid = 101, .type = 16};
  EXPECT_EQ(Arrive(header, 0, {.rights_messages = 1, .fds = 1}), "deliver 0 bytes");
  EXPECT_EQ(actions_[0].use, Use::kAnnouncement);
}

TEST_F(ReceiveMachineTest, FRG_9_ARemovePidIsAProcessesEnd) {
  Whole({.bytes = 4, .type = 21});
  EXPECT_EQ(actions_[0].use, Use::kRemovePid);
  config_.obeys_remove_pid = false;
  Configure();
  Whole({.bytes = 4, .type = 21});
  EXPECT_EQ(actions_[0].use, Use::kHandler);
}

// SHM-10: held, asked for once, and on in order once the announcement came.
TEST_F(ReceiveMachineTest, SHM_10_WaitsForTheAnnouncement) {
  EXPECT_EQ(Refer({}, {7}, false, true), "keep 0; ask 101 for 7");
  EXPECT_EQ(Final(), "keep 1");
  EXPECT_EQ(Refer({.stream = 6}, {7, 8}), "keep 2; ask 101 for 8");
  EXPECT_EQ(Whole({.stream = 9}), "deliver 10 bytes");
  EXPECT_EQ(budget().count(), 3U);
  EXPECT_EQ(Announce(101, 7), "map 0; go on");
  EXPECT_EQ(machine_.ready(), 0U);
  EXPECT_EQ(Whole({.bytes = 1}), "keep 3; go on");  // behind those that have not gone on yet
  EXPECT_EQ(After(GoesOn{0}), "resume 0; lend 0+0; open 0");
  EXPECT_EQ(After(GoesOn{0}), "resume 1; finish 0 22 bytes");
  EXPECT_EQ(After(GoesOn{0}), "resume 3; deliver 1 bytes");
  EXPECT_EQ(machine_.ready(), std::nullopt);
  EXPECT_EQ(After(GoesOn{0}), "");
  EXPECT_EQ(Announce(101, 8), "map 1; go on");
  EXPECT_EQ(After(GoesOn{0}), "resume 2; lend 0+1; lend 1+2; deliver 24 bytes");
  EXPECT_EQ(budget().count(), 0U);
}

TEST_F(ReceiveMachineTest, SHM_10_AnAnnouncementIsNeverHeld) {
  Refer({.stream = 0}, {7});
  const Header announcement{.stream = 0, .pid = 101, .type = 16};
  EXPECT_EQ(Arrive(announcement, 0, {.rights_messages = 1, .fds = 1}), "deliver 0 bytes");
}

// RCV-5: the held message of its key goes, and what waited behind that alone goes on.
TEST_F(ReceiveMachineTest, RCV_5_ARefusalTearsTheHeldMessageOfItsKey) {
  Announce(101, 0);
  Refer({}, {0, 7}, false, true);
  Whole({.bytes = 1});
  EXPECT_EQ(Truncated(5), "refuse RCV-1; free 0+0; drop kept 0; go on");
  EXPECT_EQ(After(GoesOn{0}), "resume 1; deliver 1 bytes");
}

TEST_F(ReceiveMachineTest, FRG_8_WhatIsHeldIsBounded) {
  Limit(2, 100, 1000, 1000);
  Refer({.stream = 1}, {7});
  Refer({.stream = 2}, {7});
  EXPECT_EQ(Refer({.stream = 3}, {7}), "refuse FRG-8");
  EXPECT_EQ(First({.stream = 4}), "refuse FRG-8");
}

TEST_F(ReceiveMachineTest, FRG_9_WhatIsHeldGoesWithItsSenderAndThePort) {
  Refer({.stream = 1}, {7});
  Refer({.sender = 102, .stream = 1}, {7});
  EXPECT_EQ(Die(101), "drop kept 0");
  EXPECT_EQ(After(PortClosed{0}), "drop kept 1");
  EXPECT_EQ(budget().bytes(), 0U);
}

// The segments are the process's, what is unfinished is the port's.
TEST_F(ReceiveMachineTest, SHM_10_AnAnnouncementOnOnePortServesTheOthers) {
  const uint32_t other = machine_.AddPort(config_);
  EXPECT_EQ(other, 1U);
  Refer({}, {7});
  EXPECT_EQ(Announce(101, 7), "map 0; go on");
  EXPECT_EQ(machine_.ready(), 0U);
  EXPECT_EQ(After(SenderDied{other, 101}), "unmap 0");
  EXPECT_EQ(machine_.held(0).count(), 1U);
}

// SHM-14: the word is taken behind all checks; where it was not there, the message is not.
TEST_F(ReceiveMachineTest, SHM_14_TheWordIsTakenWhenTheMessageIsBegunOrDelivered) {
  ConfigureProfile("unit-1.18.0");
  Announce(101, 0);
  EXPECT_EQ(Refer({}, {0}, false, false, Tracking{0, 4}),
            "lend 0+0; take word 4 of segment slot 0; deliver 20 bytes");
  EXPECT_EQ(Refer({}, {0}, false, true, Tracking{0, 4}),
            "lend 0+1; open 0; take word 4 of segment slot 0");
  EXPECT_EQ(Cancel(), "cancel 0; drop");
  EXPECT_EQ(Refer({}, {0}, false, true, Tracking{0, 4}), "free 0+2; refuse FRG-1");
  EXPECT_EQ(Refer({.stream = 6}, {0}, false, false, Tracking{0, 487}), "free 0+3; refuse SHM-14");
  EXPECT_EQ(After(Cancelled{0, 101, {.stream = 6, .pid = 101}}), "drop");  // it was whole
  Announce(101, 3);
  EXPECT_EQ(Refer({.stream = 6}, {0}, false, false, Tracking{3, 4}),
            "lend 0+4; take word 4 of segment slot 1; deliver 20 bytes");
}

TEST_F(ReceiveMachineTest, SpeaksOfItself) {
  First({.stream = 9, .bytes = 100, .last = true});
  EXPECT_EQ(ToString(actions_), "open slot 0 storage slab 128 fragments 1 bytes 100");
  EXPECT_EQ(ToString(machine_),
            "port 0, 64 reads left, 1 open, 100 bytes\nslot 0 sender 101 stream 9 type 3 last "
            "fragments 1 bytes 100 room 28\n");
  Final({.stream = 9});
  EXPECT_EQ(ToString(actions_),
            "finish FRG-3 slot 0 stream 9 pid 101 reply 0 type 3 last fragments 2 bytes 110");
}

}  // namespace
}  // namespace portproof
