// Messages that wait for an announcement: SHM-10, FRG-8, FRG-9.
#include "protocol/held_messages.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace portproof {
namespace {

using Ids = std::vector<uint32_t>;

struct Desk {
  explicit Desk(const ReassemblyLimits& limits = {}) : held(limits) {}

  // The slot, or nullopt where it is refused.
  std::optional<uint32_t> Hold(int32_t sender, uint32_t stream, const Ids& unknown,
                               uint32_t bytes = 12, const Usage& usage = {}) {
    uint32_t slot = 0;
    const auto refused = held.Hold({sender, stream, bytes}, unknown, usage, slot, ask);
    if (!refused) return slot;
    EXPECT_EQ(*refused, Rule::kFrg8);
    return std::nullopt;
  }
  Ids Announced(int32_t sender, uint32_t id) {
    Ids resumed = {99};
    held.Announced(sender, id, resumed);
    return resumed;
  }

  HeldMessages held;
  Ids ask;
};

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
  EXPECT_EQ(desk.held.bytes(), 0U);
}

TEST(HeldMessages, FRG_8_CountWithTheAssemblies) {
  Desk desk({.open_per_sender = 3, .open = 5, .assembly_bytes = 100, .bytes = 200});
  EXPECT_EQ(desk.Hold(1, 1, {2}, 101), std::nullopt);
  EXPECT_EQ(desk.Hold(1, 1, {2}, 100, {.bytes = 101}), std::nullopt);
  EXPECT_EQ(desk.Hold(1, 1, {2}, 100, {.bytes = 100}), 0U);
  EXPECT_EQ(desk.ask, Ids{2});
  EXPECT_EQ(desk.Hold(1, 2, {2}, 12, {.open_of_sender = 2}), std::nullopt);
  EXPECT_EQ(desk.Hold(1, 2, {2}, 12, {.open_of_sender = 1}), 1U);
  EXPECT_EQ(desk.Hold(2, 1, {2}, 12, {.open = 3}), std::nullopt);
  EXPECT_EQ(desk.Hold(2, 1, {2}, 88, {.open = 2}), 2U);
  EXPECT_EQ(desk.Hold(3, 1, {2}, 1), std::nullopt);
  EXPECT_EQ(desk.held.bytes(), 200U);
}

TEST(HeldMessages, FRG_9_GoWithTheirSender) {
  Desk desk;
  desk.Hold(1, 1, {2});
  desk.Hold(2, 1, {2});
  desk.Hold(1, 3, {4});
  Ids discarded = {99};
  desk.held.SenderDied(1, discarded);
  EXPECT_EQ(discarded, (Ids{0, 2}));
  EXPECT_FALSE(desk.held.MustFollow(1, 1));
  desk.Hold(1, 1, {2});
  EXPECT_EQ(desk.ask, Ids{2});  // the number of a dead process may come back
  desk.held.Close(discarded);
  EXPECT_EQ(discarded, (Ids{1, 2}));
  EXPECT_EQ(desk.held.count(), 0U);
  EXPECT_EQ(desk.held.bytes(), 0U);
}

}  // namespace
}  // namespace portproof
