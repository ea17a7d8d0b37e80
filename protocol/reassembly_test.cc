// Section 5 by rule. The table itself is also in testdata/vectors/reassembly.json.
#include "protocol/reassembly.h"

#include <gtest/gtest.h>

#include <string>

namespace portproof {
namespace {

// The small language of this test: a fragment's place, and its fields by name.
struct Fields {
  int32_t sender = 101;
  uint32_t stream = 5;
  uint32_t bytes = 10;
  uint8_t type = 3;
  bool last = false;
  uint16_t reply_port = 0;
};

class ReassemblyTest : public testing::Test {
 protected:
  void Configure(const ReassemblyConfig& config) {
    config_ = config;
    state_ = Reassembly(config);
  }
  void Limit(uint32_t per_sender, uint32_t open, uint32_t assembly_bytes, uint64_t bytes) {
    config_.limits = {per_sender, open, assembly_bytes, bytes};
    Configure(config_);
  }
  std::string Datagram(bool nf, bool mf, const Fields& fields) {
    portproof::Datagram datagram;
    datagram.sender = fields.sender;
    datagram.payload_bytes = fields.bytes;
    datagram.header.stream = fields.stream;
    datagram.header.pid = fields.sender;
    datagram.header.type = fields.type;
    datagram.header.last = fields.last;
    datagram.header.reply_port = fields.reply_port;
    datagram.header.nf = nf;
    datagram.header.mf = mf;
    return After(datagram);
  }
  std::string Whole(const Fields& fields = {}) { return Datagram(false, false, fields); }
  std::string First(const Fields& fields = {}) { return Datagram(false, true, fields); }
  std::string Middle(const Fields& fields = {}) { return Datagram(true, true, fields); }
  std::string Final(const Fields& fields = {}) { return Datagram(true, false, fields); }

  std::string After(const ReassemblyEvent& event) {
    Step(state_, event, actions_);
    std::string text;
    for (const Action& action : actions_) text += (text.empty() ? "" : "; ") + Short(action);
    return text;
  }
  // "open 0", "append 0", "finish 0 20 bytes", "deliver 10 bytes", "refuse FRG-1";
  // "!FRG-3" where an accepted datagram broke a rule.
  static std::string Short(const Action& action) {
    using Kind = Action::Kind;
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
      case Kind::kDiscard:
        return "discard " + slot + " " + id;
      case Kind::kCancel:
        return "cancel " + slot;
      case Kind::kDrop:
        return "drop " + slot;
    }
    return "";
  }

  ReassemblyConfig config_;
  Reassembly state_ = Reassembly(config_);
  Actions actions_;
};

TEST_F(ReassemblyTest, FRG_1_ADuplicateFirstFragmentIsRefusedAndTheMessageArrivesIntact) {
  EXPECT_EQ(First({.bytes = 100}), "open 0");
  const Reassembly before = state_;
  EXPECT_EQ(First({.bytes = 7, .type = 9}), "refuse FRG-1");
  EXPECT_EQ(state_, before);
  EXPECT_EQ(Final({.bytes = 20}), "finish 0 120 bytes");
}

TEST_F(ReassemblyTest, FRG_2_ALaterFragmentWithoutAnOpenAssemblyIsRefused) {
  const Reassembly before = state_;
  EXPECT_EQ(Middle(), "refuse FRG-2");
  EXPECT_EQ(Final(), "refuse FRG-2");
  EXPECT_EQ(state_, before);
}

TEST_F(ReassemblyTest, FRG_2_ASecondFinalFragmentIsRefused) {
  First();
  EXPECT_EQ(Final(), "finish 0 20 bytes");
  EXPECT_EQ(Final(), "refuse FRG-2");
}

TEST_F(ReassemblyTest, FRG_3_AnotherTypeDiscards) {
  First();
  EXPECT_EQ(Middle({.type = 4}), "refuse FRG-3; discard 0 FRG-3");
  EXPECT_EQ(state_.open(), 0U);
  EXPECT_EQ(state_.budget().bytes(), 0U);
  EXPECT_EQ(Final(), "refuse FRG-2");
  EXPECT_EQ(First(), "open 0");
}

TEST_F(ReassemblyTest, FRG_3_OtherChangesAreAccepted) {
  First({.reply_port = 7});
  EXPECT_EQ(Middle({.reply_port = 8}), "append 0 !FRG-3");
  EXPECT_EQ(Middle({.last = true, .reply_port = 7}), "append 0");
  EXPECT_EQ(Middle({.reply_port = 7}), "append 0 !FRG-3");
  EXPECT_EQ(Final({.reply_port = 7}), "finish 0 50 bytes last !FRG-3");
  EXPECT_EQ(actions_[0].header.reply_port, 7);
}

TEST_F(ReassemblyTest, FRG_4_LastIsTheOrOverAllFragments) {
  for (int mask = 0; mask < 8; ++mask) {
    First({.last = (mask & 1) != 0});
    Middle({.last = (mask & 2) != 0});
    Final({.last = (mask & 4) != 0});
    EXPECT_EQ(actions_[0].header.last, mask != 0) << mask;
  }
}

TEST_F(ReassemblyTest, FRG_4_TheHeaderIsTheFirstFragmentsWithoutItsFragmentFlags) {
  First({.sender = 7, .stream = 9, .type = 11, .reply_port = 12});
  Final({.sender = 7, .stream = 9, .type = 11, .reply_port = 12});
  EXPECT_EQ(ToString(actions_[0].header), "stream 9 pid 7 reply 12 type 11");
  EXPECT_EQ(actions_[0].fragments, 2U);
}

TEST_F(ReassemblyTest, FRG_4_TheKeyIsSenderAndStreamFrom19) {
  Configure(ConfigFor(*ResolveProfile("unit-1.9.0")->profile, 16384));
  EXPECT_EQ(First({.sender = 101}), "open 0");
  EXPECT_EQ(First({.sender = 102}), "open 1");
  EXPECT_EQ(First({.sender = 101, .stream = 6}), "open 2");
  EXPECT_EQ(Final({.sender = 102}), "finish 1 20 bytes");
}

TEST_F(ReassemblyTest, FRG_4_TheKeyIsTheStreamAloneTo18) {
  Configure(ConfigFor(*ResolveProfile("unit-1.8.0")->profile, 16384));
  EXPECT_EQ(First({.sender = 101}), "open 0");
  EXPECT_EQ(First({.sender = 102}), "refuse FRG-1");
  EXPECT_EQ(First({.sender = 102, .stream = 6}), "open 1");
}

TEST_F(ReassemblyTest, FRG_6_AWholeMessageBetweenFragmentsIsDeliveredAndHarmsNothing) {
  First();
  const Reassembly before = state_;
  EXPECT_EQ(Whole({.bytes = 3}), "deliver 3 bytes !FRG-6");
  EXPECT_EQ(Whole({.stream = 6, .bytes = 4, .last = true}), "deliver 4 bytes last");
  EXPECT_EQ(state_, before);
  EXPECT_EQ(Final(), "finish 0 20 bytes");
}

TEST_F(ReassemblyTest, FRG_7_EmptyFragmentsAreAccepted) {
  EXPECT_EQ(First({.bytes = 0}), "open 0 !FRG-7");
  EXPECT_EQ(actions_[0].storage, Storage::kNone);
  EXPECT_EQ(Middle({.bytes = 0}), "append 0 !FRG-7");
  EXPECT_EQ(actions_[0].storage, Storage::kNone);
  EXPECT_EQ(Final({.bytes = 0}), "finish 0 0 bytes !FRG-7");
}

TEST_F(ReassemblyTest, FRG_8_OpenAssembliesOfASenderAreBounded) {
  Limit(2, 100, 1000, 1000);
  EXPECT_EQ(First({.stream = 1}), "open 0");
  EXPECT_EQ(First({.stream = 2}), "open 1");
  EXPECT_EQ(First({.stream = 3}), "refuse FRG-8");
  EXPECT_EQ(First({.stream = 2}), "refuse FRG-1");
  EXPECT_EQ(state_.budget().CountOf(101), 2U);
  EXPECT_EQ(First({.sender = 102, .stream = 3}), "open 2");
  Final({.stream = 1});
  EXPECT_EQ(First({.stream = 3}), "open 0");
}

TEST_F(ReassemblyTest, FRG_8_PerSenderMeansTheOpenersPidWhereTheKeyIsTheStream) {
  config_.key_has_sender = false;
  Limit(1, 100, 1000, 1000);
  EXPECT_EQ(First({.stream = 1}), "open 0");
  EXPECT_EQ(First({.stream = 2}), "refuse FRG-8");
  EXPECT_EQ(First({.sender = 102, .stream = 2}), "open 1");
  EXPECT_EQ(First({.sender = 103, .stream = 2}), "refuse FRG-1");
  EXPECT_EQ(state_.budget().CountOf(103), 0U);
  // What another sends on its stream is the opener's.
  Limit(100, 100, 1000, 40);
  EXPECT_EQ(First({.stream = 1, .bytes = 5}), "open 0");
  EXPECT_EQ(Middle({.sender = 102, .stream = 1, .bytes = 15}), "append 0 !FRG-3");
  EXPECT_EQ(First({.sender = 102, .stream = 2, .bytes = 10}), "open 1");
  EXPECT_EQ(Middle({.sender = 102, .stream = 1, .bytes = 1}), "refuse FRG-8; discard 0 FRG-8");
}

TEST_F(ReassemblyTest, FRG_8_OpenAssembliesOfAPortAreBounded) {
  Limit(100, 3, 1000, 1000);
  EXPECT_EQ(First({.sender = 1}), "open 0");
  EXPECT_EQ(First({.sender = 2}), "open 1");
  EXPECT_EQ(First({.sender = 3}), "refuse FRG-8");
  EXPECT_EQ(state_.budget().CountOf(3), 0U);
}

// h assemblies of a sender, o of others, T in all: 2h + o <= T.
TEST_F(ReassemblyTest, FRG_8_OneSenderHoldsHalfOfWhatTheOthersLeaveFree) {
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

TEST_F(ReassemblyTest, FRG_8_OneSenderHoldsHalfOfTheBytesThatTheOthersLeaveFree) {
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

TEST_F(ReassemblyTest, FRG_8_BytesOfAnAssemblyAreBoundedTheFinalFragmentIncluded) {
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

TEST_F(ReassemblyTest, FRG_8_BytesInAllAreBounded) {
  Limit(100, 100, 1000, 60);
  First({.stream = 1});
  First({.stream = 2});
  EXPECT_EQ(Middle({.stream = 1, .bytes = 0xffffffff}), "refuse FRG-8; discard 0 FRG-8");
  EXPECT_EQ(First({.stream = 1, .bytes = 20}), "open 0");
  EXPECT_EQ(First({.stream = 3, .bytes = 1}), "refuse FRG-8");
  EXPECT_EQ(Final({.stream = 2, .bytes = 1}), "refuse FRG-8; discard 1 FRG-8");
  EXPECT_EQ(state_.budget().bytes(), 20U);
}

// What follows of a cancelled message is no orphan, and holds nothing but its key.
TEST_F(ReassemblyTest, SHM_14_ACancelledMessageIsDroppedWithAllItsFragments) {
  Limit(1, 100, 1000, 200);
  EXPECT_EQ(First({.bytes = 50}), "open 0");
  EXPECT_EQ(After(Cancelled{5, 101}), "cancel 0");
  EXPECT_EQ(state_.budget().bytes(), 0U);
  EXPECT_EQ(state_.open(), 1U);
  EXPECT_EQ(Middle({.bytes = 1000}), "drop 0");
  EXPECT_EQ(Middle({.bytes = 0, .type = 9}), "drop 0");
  EXPECT_EQ(First(), "refuse FRG-1");
  EXPECT_EQ(First({.stream = 6}), "refuse FRG-8");  // it is the sender's one
  EXPECT_EQ(First({.sender = 102}), "open 1");
  EXPECT_EQ(Final(), "drop 0");
  EXPECT_EQ(Final(), "refuse FRG-2");
  EXPECT_EQ(First({.bytes = 50}), "open 0");
  EXPECT_EQ(Final({.bytes = 0}), "finish 0 50 bytes !FRG-7");
  EXPECT_EQ(state_.budget().CountOf(101), 0U);
}

TEST_F(ReassemblyTest, SHM_14_ACancelledMessageEndsAsOthersDo) {
  for (const ReassemblyEvent& end : {ReassemblyEvent(Refused{5, 101, Rule::kRcv1}),
                                     ReassemblyEvent(SenderDied{101}), ReassemblyEvent(Closed{})}) {
    EXPECT_EQ(First(), "open 0");
    EXPECT_EQ(After(Cancelled{5, 101}), "cancel 0");
    EXPECT_EQ(First(), "refuse FRG-1");
    EXPECT_EQ(Whole(), "deliver 10 bytes !FRG-6");
    EXPECT_NE(After(end).find("discard 0"), std::string::npos) << ToString(end);
    EXPECT_EQ(state_.open(), 0U);
    EXPECT_EQ(state_.budget().bytes(), 0U);
    EXPECT_EQ(Final(), "refuse FRG-2");
  }
}

TEST_F(ReassemblyTest, FRG_8_ALimitOfNothingRefusesEverything) {
  Limit(0, 0, 0, 0);
  EXPECT_EQ(First({.bytes = 0}), "refuse FRG-8");
  EXPECT_EQ(state_.budget().CountOf(101), 0U);
  EXPECT_EQ(Whole(), "deliver 10 bytes");
}

TEST_F(ReassemblyTest, FRG_8_SmallFragmentsGoToSlabsLargeOnesKeepTheirBuffer) {
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

TEST_F(ReassemblyTest, FRG_9_ASendersDeathDiscardsItsAssembliesAlone) {
  First({.sender = 101, .stream = 1});
  First({.sender = 102, .stream = 1});
  First({.sender = 101, .stream = 2});
  EXPECT_EQ(After(SenderDied{101}), "discard 0 FRG-9; discard 2 FRG-9");
  EXPECT_EQ(After(SenderDied{101}), "");
  EXPECT_EQ(After(SenderDied{7}), "");
  EXPECT_EQ(state_.open(), 1U);
  EXPECT_EQ(state_.budget().CountOf(101), 0U);
  EXPECT_EQ(Final({.sender = 102, .stream = 1}), "finish 1 20 bytes");
}

TEST_F(ReassemblyTest, FRG_9_ASendersDeathMeansTheOpenersPidWhereTheKeyIsTheStream) {
  config_.key_has_sender = false;
  Configure(config_);
  First({.sender = 101, .stream = 1});
  First({.sender = 102, .stream = 2});
  EXPECT_EQ(After(SenderDied{102}), "discard 1 FRG-9");
}

TEST_F(ReassemblyTest, FRG_9_ClosingDiscardsEverything) {
  for (uint32_t stream = 0; stream < 20; ++stream) First({.stream = stream});
  After(Closed{});
  ASSERT_EQ(actions_.size(), 20U);
  for (uint32_t slot = 0; slot < 20; ++slot) EXPECT_EQ(actions_[slot].slot, slot);
  EXPECT_EQ(state_.open(), 0U);
  EXPECT_EQ(state_.budget().bytes(), 0U);
  EXPECT_EQ(After(Closed{}), "");
}

TEST_F(ReassemblyTest, FRG_10_AReceiverWithoutFragmentsRefusesThem) {
  config_.takes_fragments = false;
  Configure(config_);
  EXPECT_EQ(First(), "refuse FRG-10");
  EXPECT_EQ(Middle(), "refuse FRG-10");
  EXPECT_EQ(Final(), "refuse FRG-10");
  EXPECT_EQ(Whole(), "deliver 10 bytes");
}

TEST_F(ReassemblyTest, RCV_1_ATruncatedDatagramDiscardsTheAssemblyOfItsKey) {
  First({.stream = 5});
  First({.stream = 6});
  EXPECT_EQ(After(Refused{6, 101, Rule::kRcv1}), "refuse RCV-1; discard 1 RCV-1");
  EXPECT_EQ(After(Refused{6, 101, Rule::kRcv1}), "refuse RCV-1");
  EXPECT_EQ(Final({.stream = 5}), "finish 0 20 bytes");
}

TEST_F(ReassemblyTest, SHM_2_ABadReferenceDiscardsTheAssemblyOfItsKey) {
  for (const Rule rule : {Rule::kShm1, Rule::kShm2, Rule::kShm10}) {
    First();
    After(Refused{5, 101, rule});
    EXPECT_EQ(actions_.size(), 2U) << Id(rule);
    EXPECT_EQ(state_.open(), 0U);
  }
}

TEST_F(ReassemblyTest, RCV_5_AnyOtherRefusalChangesNothing) {
  First();
  const Reassembly before = state_;
  for (const Rule rule : {Rule::kHdr1, Rule::kHdr4, Rule::kFds1, Rule::kFds2}) {
    EXPECT_EQ(After(Refused{5, 101, rule}), "refuse " + std::string(Id(rule)));
    EXPECT_EQ(state_, before);
  }
}

TEST_F(ReassemblyTest, RCV_3_AMessageWithoutPayloadIsDeliveredEmpty) {
  EXPECT_EQ(Whole({.bytes = 0}), "deliver 0 bytes");
}

TEST_F(ReassemblyTest, RCV_2_TheLargestNumbersAreOrdinaryOnes) {
  EXPECT_EQ(First({.sender = -1, .stream = 0xffffffff, .bytes = 1}), "open 0");
  EXPECT_EQ(First({.sender = INT32_MIN, .stream = 0xffffffff, .bytes = 1}), "open 1");
  EXPECT_EQ(First({.sender = 0, .stream = 0xffffffff, .bytes = 1}), "open 2");
  EXPECT_EQ(After(SenderDied{-1}), "discard 0 FRG-9");
}

// An assembly of 2^32 fragments was one of none, which is no assembly: its slot was lost.
TEST_F(ReassemblyTest, RCV_2_MoreFragmentsThanCanBeCountedAreStillAnAssembly) {
  First();
  // As 2^32 - 2 empty fragments leave it.
  const_cast<Assembly*>(state_.Find(101, 5))->fragments = 0xffffffff;
  EXPECT_EQ(Middle({.bytes = 0}), "append 0 !FRG-7");
  ASSERT_NE(state_.Find(101, 5), nullptr);
  EXPECT_EQ(state_.Find(101, 5)->fragments, 0xffffffff);
  EXPECT_EQ(Final(), "finish 0 20 bytes");
  EXPECT_EQ(state_.open(), 0U);
}

TEST_F(ReassemblyTest, SpeaksOfItself) {
  First({.stream = 9, .bytes = 100, .last = true});
  EXPECT_EQ(ToString(actions_), "open slot 0 storage slab 128 fragments 1 bytes 100");
  EXPECT_EQ(ToString(state_),
            "1 open, 100 bytes\nslot 0 sender 101 stream 9 type 3 last fragments 1 bytes 100 "
            "room 28\n");
  EXPECT_EQ(ToString(ReassemblyEvent(SenderDied{4})), "sender 4 died");
  Final({.stream = 9});
  EXPECT_EQ(ToString(actions_),
            "finish slot 0 FRG-3 storage keep stream 9 pid 101 reply 0 type 3 last fragments 2 "
            "bytes 110");
}

}  // namespace
}  // namespace portproof
