// Messages that wait for an announcement: SHM-10, FRG-8, FRG-9, RCV-5.
#include "protocol/held_messages.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "protocol/reassembly.h"

namespace portproof {
namespace {

using Ids = std::vector<uint32_t>;

Datagram Of(int32_t sender, uint32_t stream, uint32_t bytes, bool nf, bool mf) {
  return {{.stream = stream, .pid = sender, .nf = nf, .mf = mf}, sender, bytes};
}

struct Desk {
  explicit Desk(const ReassemblyLimits& limits = {})
      : assemblies({.limits = limits}), budget(assemblies.budget()) {}

  // The slot, or nullopt where it is refused.
  std::optional<uint32_t> Hold(const Datagram& datagram, const Ids& unknown) {
    HeldMessage message{datagram, std::nullopt};
    const HeldMessages before = held;
    const auto refused = held.Hold(message, unknown, budget, ask);
    if (!refused) return message.slot;
    EXPECT_EQ(*refused, Rule::kFrg8);
    EXPECT_TRUE(held == before);
    return std::nullopt;
  }
  std::optional<uint32_t> Hold(int32_t sender, uint32_t stream, const Ids& unknown,
                               uint32_t bytes = 12) {
    return Hold(Of(sender, stream, bytes, false, false), unknown);
  }
  std::optional<uint32_t> HoldFragment(bool nf, bool mf, const Ids& unknown) {
    return Hold(Of(1, 5, 12, nf, mf), unknown);
  }
  Ids TakeReady() {
    Ids slots;
    while (held.has_ready()) slots.push_back(held.TakeReady(budget).slot);
    return slots;
  }
  Ids Announced(int32_t sender, uint32_t id) {
    held.Announced(sender, id);
    return TakeReady();
  }
  ReceiveAction::Kind Fragment(int32_t sender, uint32_t stream, bool nf, bool mf, uint32_t bytes) {
    ReceiveActions actions;
    assemblies.Take(Of(sender, stream, bytes, nf, mf), actions);
    return actions.at(0).kind;
  }

  Reassembly assemblies;
  Budget& budget;
  HeldMessages held;
  Ids ask;
};

Ids SlotsOf(const std::vector<HeldMessage>& messages) {
  Ids slots;
  for (const HeldMessage& message : messages) slots.push_back(message.slot);
  return slots;
}

TEST(HeldMessages, SHM_10_AsksOnceAndGoesOnWhenTheAnnouncementCame) {
  Desk desk;
  EXPECT_FALSE(desk.held.MustFollow(1, 5));
  EXPECT_EQ(desk.Hold(1, 5, {7}), 0U);
  EXPECT_EQ(desk.ask, Ids{7});
  EXPECT_EQ(desk.Hold(1, 6, {7}), 1U);
  EXPECT_EQ(desk.ask, Ids());
  EXPECT_EQ(desk.Hold(2, 5, {7}), 2U);  // another's segment 7
  EXPECT_EQ(desk.ask, Ids{7});
  EXPECT_TRUE(desk.held.MustFollow(1, 5));
  EXPECT_FALSE(desk.held.MustFollow(2, 6));
  EXPECT_EQ(desk.Announced(1, 8), Ids());
  EXPECT_EQ(desk.Announced(1, 7), (Ids{0, 1}));
  EXPECT_FALSE(desk.held.MustFollow(1, 5));
  EXPECT_EQ(desk.held.count(), 1U);
  EXPECT_EQ(desk.Hold(1, 5, {7}), 1U);  // a new one of that id is asked for anew
  EXPECT_EQ(desk.ask, Ids{7});
}

TEST(HeldMessages, SHM_10_TakesAnnouncementsInAnyOrder) {
  Desk desk;
  EXPECT_EQ(desk.Hold(1, 5, {2, 3}), 0U);
  EXPECT_EQ(desk.ask, (Ids{2, 3}));
  EXPECT_EQ(desk.Hold(1, 6, {2}), 1U);
  EXPECT_EQ(desk.Announced(1, 3), Ids());
  EXPECT_EQ(desk.Announced(1, 2), (Ids{0, 1}));
}

TEST(HeldMessages, SHM_10_KeepsTheOrderOfAStream) {
  Desk desk;
  EXPECT_EQ(desk.Hold(1, 5, {2}), 0U);
  EXPECT_EQ(desk.Hold(1, 5, {}), 1U);  // a fragment behind
  EXPECT_EQ(desk.Hold(1, 5, {3}), 2U);
  EXPECT_EQ(desk.Hold(1, 6, {3}), 3U);
  EXPECT_EQ(desk.Announced(1, 3), Ids{3});
  EXPECT_EQ(desk.Announced(1, 2), (Ids{0, 1, 2}));
  EXPECT_EQ(desk.held.count(), 0U);
  EXPECT_EQ(desk.budget.bytes(), 0U);
}

using Kind = ReceiveAction::Kind;

TEST(HeldMessages, FRG_8_CountAmongTheOpenOfASender) {
  Desk desk({.open_per_sender = 3, .open = 99});
  EXPECT_EQ(desk.Fragment(1, 1, false, true, 1), Kind::kOpen);
  EXPECT_EQ(desk.Hold(1, 2, {2}), 0U);
  EXPECT_EQ(desk.Hold(1, 3, {2}), 1U);  // exactly the limit
  EXPECT_EQ(desk.Hold(1, 4, {3}), std::nullopt);
  EXPECT_EQ(desk.Fragment(1, 4, false, true, 1), Kind::kRefuse);
  EXPECT_EQ(desk.Fragment(2, 4, false, true, 1), Kind::kOpen);  // another's
  EXPECT_EQ(desk.Fragment(1, 1, true, false, 1), Kind::kFinish);
  EXPECT_EQ(desk.Fragment(1, 4, false, true, 1), Kind::kOpen);
  EXPECT_EQ(desk.Announced(1, 2), (Ids{0, 1}));
  EXPECT_EQ(desk.Hold(1, 2, {3}), 1U);
  EXPECT_EQ(desk.ask, Ids{3});  // what was refused asked for nothing
  EXPECT_EQ(desk.Fragment(1, 5, false, true, 1), Kind::kOpen);
  EXPECT_EQ(desk.Fragment(1, 6, false, true, 1), Kind::kRefuse);
}

TEST(HeldMessages, FRG_8_CountAmongTheOpenOfThePort) {
  Desk desk({.open_per_sender = 99, .open = 4});
  EXPECT_EQ(desk.Hold(1, 1, {2}), 0U);
  EXPECT_EQ(desk.Fragment(2, 1, false, true, 1), Kind::kOpen);
  EXPECT_EQ(desk.Fragment(3, 1, false, true, 1), Kind::kOpen);
  EXPECT_EQ(desk.Fragment(4, 1, false, true, 1), Kind::kRefuse);
  EXPECT_EQ(desk.Hold(4, 1, {2}), std::nullopt);
  EXPECT_EQ(desk.Announced(1, 2), Ids{0});
  EXPECT_EQ(desk.Fragment(4, 1, false, true, 1), Kind::kOpen);
}

TEST(HeldMessages, FRG_8_TheirBytesCountAmongAll) {
  Desk desk({.assembly_bytes = 100, .bytes = 400});
  EXPECT_EQ(desk.Hold(1, 1, {2}, 101), std::nullopt);
  EXPECT_EQ(desk.Hold(1, 1, {2}, 100), 0U);
  EXPECT_EQ(desk.Fragment(1, 2, false, true, 50), Kind::kOpen);
  EXPECT_EQ(desk.Hold(1, 3, {2}, 51), std::nullopt);
  EXPECT_EQ(desk.Hold(1, 3, {2}, 49), 1U);
  EXPECT_EQ(desk.Fragment(1, 4, false, true, 2), Kind::kRefuse);
  EXPECT_EQ(desk.Fragment(1, 2, true, true, 1), Kind::kAppend);
  EXPECT_EQ(desk.budget.bytes(), 200U);
  EXPECT_EQ(desk.Fragment(1, 2, true, true, 1), Kind::kRefuse);  // and discarded
  EXPECT_EQ(desk.budget.bytes(), 149U);
  EXPECT_EQ(desk.Announced(1, 2), (Ids{0, 1}));
  EXPECT_EQ(desk.budget.bytes(), 0U);
}

struct Refusal {
  bool open_goes_too = false;
  Ids discarded = {99};
  Ids resumed = {99};

  friend bool operator==(const Refusal&, const Refusal&) = default;
};

Refusal RefuseOn(Desk& desk) {
  std::vector<HeldMessage> discarded;
  const bool open_goes_too = desk.held.Refuse(1, 5, desk.budget, discarded);
  return {open_goes_too, SlotsOf(discarded), desk.TakeReady()};
}

TEST(HeldMessages, FRG_8_ARefusalTearsTheHeldMessageOfItsKey) {
  Desk desk;
  EXPECT_EQ(desk.HoldFragment(false, true, {2}), 0U);
  EXPECT_EQ(desk.HoldFragment(true, true, {}), 1U);
  EXPECT_EQ(desk.Hold(1, 6, {2}), 2U);
  EXPECT_EQ(desk.Hold(2, 5, {2}), 3U);
  EXPECT_EQ(RefuseOn(desk), (Refusal{true, {0, 1}, {}}));
  EXPECT_FALSE(desk.held.MustFollow(1, 5));
  EXPECT_EQ(desk.budget.CountOf(1), 1U);
  EXPECT_EQ(desk.Announced(1, 2), Ids{2});
  EXPECT_EQ(RefuseOn(desk), (Refusal{true, {}, {}}));
}

TEST(HeldMessages, FRG_8_ARefusalLeavesWhatWasFinishedBefore) {
  Desk desk;
  EXPECT_EQ(desk.HoldFragment(true, true, {2}), 0U);  // of an assembly that is open
  EXPECT_EQ(desk.HoldFragment(true, false, {}), 1U);
  EXPECT_EQ(desk.HoldFragment(false, true, {3}), 2U);
  EXPECT_EQ(desk.HoldFragment(true, true, {}), 3U);
  EXPECT_EQ(RefuseOn(desk), (Refusal{false, {2, 3}, {}}));
  EXPECT_EQ(desk.Announced(1, 3), Ids{});
  EXPECT_EQ(desk.Announced(1, 2), (Ids{0, 1}));
}

TEST(HeldMessages, RCV_5_WhatWaitedBehindARefusedMessageAloneGoesOn) {
  Desk desk;
  EXPECT_EQ(desk.HoldFragment(false, true, {2}), 0U);
  EXPECT_EQ(desk.HoldFragment(false, false, {}), 1U);  // whole messages are not torn
  EXPECT_EQ(desk.HoldFragment(false, false, {3}), 2U);
  EXPECT_EQ(desk.HoldFragment(false, false, {}), 3U);
  EXPECT_EQ(RefuseOn(desk), (Refusal{true, {0}, {1}}));
  EXPECT_EQ(desk.Hold(1, 7, {2}), 1U);
  EXPECT_EQ(desk.ask, Ids{2});  // nobody waited for it any more
  EXPECT_EQ(desk.Announced(1, 3), (Ids{2, 3}));
}

TEST(HeldMessages, FRG_9_GoWithTheirSender) {
  Desk desk;
  desk.Hold(1, 1, {2});
  desk.Hold(2, 1, {2});
  desk.Hold(1, 3, {4});
  std::vector<HeldMessage> discarded;
  desk.held.SenderDied(1, desk.budget, discarded);
  EXPECT_EQ(SlotsOf(discarded), (Ids{0, 2}));
  EXPECT_FALSE(desk.held.MustFollow(1, 1));
  desk.Hold(1, 1, {2});
  EXPECT_EQ(desk.ask, Ids{2});  // the number of a dead process may come back
  desk.held.Close(desk.budget, discarded);
  EXPECT_EQ(SlotsOf(discarded), (Ids{1, 2}));
  EXPECT_EQ(desk.held.count(), 0U);
  EXPECT_EQ(desk.budget.bytes(), 0U);
}

}  // namespace
}  // namespace portproof
