// What a receiver takes for a segment and for a reference: SHM-2, SHM-6, SHM-8, SHM-9,
// SHM-10, SHM-13.
#include "protocol/segment_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace portproof {
namespace {

constexpr int32_t kPeer = 101;
constexpr int32_t kOther = 102;
constexpr std::optional<Rule> kGood = std::nullopt;

Announcement Announced(int32_t sender, uint32_t id, const SegmentConfig& config,
                       int32_t source = 0) {
  Announcement announcement{
      .sender = sender, .fds = 1, .file_bytes = config.geometry.SegmentBytes(), .sealed = true};
  std::vector<uint8_t> header(config.geometry.header_bytes);
  EncodeSegmentHeader({.id = id, .source_pid = source != 0 ? source : sender, .destination_pid = 7},
                      config.layout, config.geometry, header);
  std::copy_n(header.begin(), announcement.head.size(), announcement.head.begin());
  return announcement;
}

// The rule that an announcement breaks; a copy of the table is asked.
std::optional<Rule> Judge(SegmentTable table, const Announcement& announcement) {
  const SegmentTable before = table;
  uint32_t slot = 0;
  const auto refused = table.Announce(announcement, slot);
  EXPECT_TRUE(!refused || table == before);
  return refused;
}

// A receiver with the bitmaps of its peers' segments, all busy at first.
struct Desk : SegmentView {
  explicit Desk(const SegmentConfig& config = {}) : table(config) {}

  uint32_t Announce(int32_t sender, uint32_t id) {
    const Announcement announcement = Announced(sender, id, table.config());
    uint32_t slot = 0;
    EXPECT_EQ(table.Announce(announcement, slot), kGood);
    EXPECT_EQ(table.IdOf(announcement), id);
    EXPECT_EQ(table.Find(sender, id), std::nullopt);  // not before it is mapped
    table.Mapped(slot, true);
    EXPECT_EQ(table.Find(sender, id), slot);
    maps[slot] = {};
    return slot;
  }
  bool AllBusy(uint32_t slot, uint32_t first_chunk, uint32_t chunk_count) const override {
    std::array<uint64_t, kMapWordsMax> map = maps.at(slot);
    ValueWords words(map);
    return portproof::AllBusy(words, first_chunk, chunk_count);
  }
  bool Poisoned(uint32_t slot) const override { return poisoned.contains(slot); }
  void Free(const Holding& holding) {
    ValueWords words(maps.at(holding.slot));
    FreeChunks(words, holding.first_chunk, holding.chunk_count);
  }
  std::optional<Rule> Accept(int32_t sender, const std::vector<Reference>& references) {
    const auto refused = table.Accept(sender, references, *this, holdings);
    if (!refused) return refused;
    for (const Holding& holding : holdings) EXPECT_FALSE(Release(holding));
    holdings.clear();
    return refused;
  }
  bool Release(const Holding& holding) {
    const bool unmap = table.Release(holding);
    Free(holding);
    return unmap;
  }
  bool IsFree(uint32_t slot, uint32_t chunk) {
    return (maps.at(slot)[chunk / 64] >> chunk % 64 & 1) != 0;
  }
  uint32_t FreeCount() const {
    uint32_t count = 0;
    for (const auto& [slot, map] : maps) {
      for (const uint64_t word : map) count += static_cast<uint32_t>(std::popcount(word));
    }
    return count;
  }

  SegmentTable table;
  std::map<uint32_t, std::array<uint64_t, kMapWordsMax>> maps;
  Holdings holdings;
  std::set<uint32_t> poisoned;
};

TEST(Announcement, SHM_8_IsOneFileOfTheRightSizeThatCannotShrink) {
  const SegmentTable table({});
  const Announcement good = Announced(kPeer, 0, table.config());
  EXPECT_EQ(Judge(table, good), kGood);
  for (const uint32_t fds : {0U, 2U, 253U}) {
    Announcement bad = good;
    bad.fds = fds;
    EXPECT_EQ(Judge(table, bad), Rule::kShm8) << fds;
  }
  for (const uint64_t bytes : {0ULL, 2048ULL, 10489855ULL, 10489857ULL, ~0ULL}) {
    Announcement bad = good;
    bad.file_bytes = bytes;
    EXPECT_EQ(Judge(table, bad), Rule::kShm8) << bytes;
  }
  Announcement unsealed = good;
  unsealed.sealed = false;
  EXPECT_EQ(Judge(table, unsealed), Rule::kShm8);
  unsealed.guarded = true;
  EXPECT_EQ(Judge(table, unsealed), kGood);
}

TEST(Announcement, SHM_8_NamesItsSender) {
  const SegmentTable table({});
  EXPECT_EQ(Judge(table, Announced(kPeer, 0, table.config(), kOther)), Rule::kShm8);
  const SegmentTable sourced({.layout = SegmentLayout::kSourced});
  EXPECT_EQ(Judge(sourced, Announced(kPeer, 0, sourced.config())), kGood);
  EXPECT_EQ(Judge(sourced, Announced(kPeer, 0, sourced.config(), kOther)), Rule::kShm8);
  const SegmentTable seed({.layout = SegmentLayout::kSeed, .own_pid = 7});
  EXPECT_EQ(Judge(seed, Announced(kPeer, 0, seed.config())), kGood);
  const SegmentTable not_ours({.layout = SegmentLayout::kSeed, .own_pid = 8});
  EXPECT_EQ(Judge(not_ours, Announced(kPeer, 0, not_ours.config())), Rule::kShm8);
}

TEST(Announcement, SHM_8_HasABoundedIdThatIsNew) {
  Desk desk({.ids_max = 4, .segments_max = 5});
  const auto judge = [&desk](int32_t sender, uint32_t id) {
    return Judge(desk.table, Announced(sender, id, desk.table.config()));
  };
  for (const uint32_t id : {4U, 5U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
    EXPECT_EQ(judge(kPeer, id), Rule::kShm8) << id;
  }
  const uint32_t slot = desk.Announce(kPeer, 3);
  EXPECT_EQ(judge(kPeer, 3), Rule::kShm8);
  EXPECT_EQ(desk.table.Find(kPeer, 3), slot);  // the old mapping stays
  EXPECT_EQ(judge(kOther, 3), kGood);
  for (uint32_t id = 0; id < 4; ++id) desk.Announce(kOther, id);
  EXPECT_EQ(judge(kPeer, 0), Rule::kShm8);  // five are mapped
}

TEST(Reference, SHM_2_IsJudgedAtEveryEdge) {
  struct Row {
    uint32_t chunk, bytes;
    bool good;
  };
  const Row rows[] = {
      {0, 0, false},
      {0, 1, true},
      {0, 16384, true},
      {0, 16385, true},
      {0, 10485760, true},
      {0, 10485761, false},
      {0, 0xffffc000, false},
      {0, 0xffffc001, false},
      {0, 0xffffffff, false},
      {639, 0, false},
      {639, 1, true},
      {639, 16384, true},
      {639, 16385, false},
      {639, 0xffffc000, false},
      {639, 0xffffc001, false},
      {639, 0xffffffff, false},
      {640, 0, false},
      {640, 1, false},
      {640, 16384, false},
      {640, 16385, false},
      {640, 0xffffffff, false},
      {0xffffffff, 1, false},
      {0xffffffff, 0xffffffff, false},
  };
  for (const Row& row : rows) {
    Desk desk;
    desk.Announce(kPeer, 0);
    EXPECT_EQ(desk.Accept(kPeer, {{0, row.chunk, row.bytes}}),
              row.good ? kGood : std::optional(Rule::kShm2))
        << row.chunk << " " << row.bytes;
    EXPECT_EQ(desk.holdings.size(), row.good ? 1U : 0U);
    EXPECT_EQ(desk.FreeCount(), 0U);  // a bad one frees nothing
    if (row.good) {
      EXPECT_FALSE(desk.Release(desk.holdings.front()));
    }
    EXPECT_EQ(desk.FreeCount(), row.good ? (row.bytes + 16383) / 16384 : 0U);
    EXPECT_EQ(desk.table.held_chunks(), 0U);
  }
}

TEST(Reference, SHM_10_NamesASegmentOfItsSender) {
  Desk desk;
  desk.Announce(kPeer, 0);
  desk.Announce(kOther, 1);
  EXPECT_EQ(desk.Accept(kPeer, {{1, 0, 1}}), Rule::kShm10);  // another's
  EXPECT_EQ(desk.Accept(kPeer, {{2, 0, 1}}), Rule::kShm10);
  EXPECT_EQ(desk.Accept(kPeer, {{1023, 0, 1}}), Rule::kShm10);
  EXPECT_EQ(desk.Accept(kPeer, {{1024, 0, 1}}), Rule::kShm2);  // no segment can have it
  EXPECT_EQ(desk.Accept(kPeer, {{0xffffffff, 0, 1}}), Rule::kShm2);
  EXPECT_EQ(desk.FreeCount(), 0U);
  EXPECT_EQ(desk.Accept(kOther, {{1, 0, 1}}), kGood);
}

TEST(Reference, SHM_2_NamesBusyChunks) {
  Desk desk;
  const uint32_t slot = desk.Announce(kPeer, 0);
  ValueWords words(desk.maps.at(slot));
  FreeChunks(words, 70, 1);
  EXPECT_EQ(desk.Accept(kPeer, {{0, 60, 11 * 16384}}), Rule::kShm2);
  EXPECT_EQ(desk.Accept(kPeer, {{0, 60, 10 * 16384}}), kGood);
  EXPECT_EQ(desk.FreeCount(), 1U);
}

TEST(Reference, SHM_2_NamesNothingTwiceNorWhatIsHeld) {
  Desk desk;
  const uint32_t slot = desk.Announce(kPeer, 0);
  // The good one of an overlapping pair is released once, the other not at all.
  EXPECT_EQ(desk.Accept(kPeer, {{0, 5, 2 * 16384}, {0, 6, 2 * 16384}}), Rule::kShm2);
  EXPECT_TRUE(desk.IsFree(slot, 5) && desk.IsFree(slot, 6) && !desk.IsFree(slot, 7));
  EXPECT_EQ(desk.Accept(kPeer, {{0, 10, 1}, {0, 10, 1}}), Rule::kShm2);
  EXPECT_TRUE(desk.IsFree(slot, 10));
  ASSERT_EQ(desk.Accept(kPeer, {{0, 20, 3 * 16384}}), kGood);
  const Holding held = desk.holdings.front();
  EXPECT_EQ(held, (Holding{slot, 20, 3, 3 * 16384}));
  for (const uint32_t chunk : {18U, 20U, 22U}) {
    EXPECT_EQ(desk.Accept(kPeer, {{0, chunk, 3 * 16384}}), Rule::kShm2) << chunk;
    EXPECT_FALSE(desk.IsFree(slot, 20) || desk.IsFree(slot, 22)) << chunk;
  }
  EXPECT_EQ(desk.table.held_chunks(), 3U);
  desk.Release(held);
  EXPECT_TRUE(desk.IsFree(slot, 20) && desk.IsFree(slot, 21) && desk.IsFree(slot, 22));
  EXPECT_EQ(desk.FreeCount(), 6U);
}

TEST(Reference, SHM_2_ReleasesTheGoodOnesAroundABadOneOnce) {
  Desk desk;
  const uint32_t slot = desk.Announce(kPeer, 0);
  const uint32_t second = desk.Announce(kPeer, 1);
  EXPECT_EQ(desk.Accept(kPeer, {{0, 1, 1}, {9, 0, 1}, {0, 640, 1}, {1, 3, 16385}}), Rule::kShm10);
  EXPECT_TRUE(desk.holdings.empty());
  EXPECT_TRUE(desk.IsFree(slot, 1) && desk.IsFree(second, 3) && desk.IsFree(second, 4));
  EXPECT_EQ(desk.FreeCount(), 3U);
  EXPECT_EQ(desk.table.held_chunks(), 0U);
}

// Says "busy" to the first look at a chunk and "free" to the second: a second look
// would tell the two apart.
struct TurningWords {
  std::array<uint64_t, kMapWordsMax>* looked;
  uint32_t* loads;

  uint64_t Load(size_t word) {
    ++*loads;
    const uint64_t before = (*looked)[word];
    (*looked)[word] = ~uint64_t{0};
    return before;
  }
  bool Take(size_t, uint64_t, uint64_t) { return false; }
  void Free(size_t, uint64_t) {}
};

TEST(Reference, SHM_9_LooksAtAChunkOnce) {
  struct TurningView : SegmentView {
    bool AllBusy(uint32_t, uint32_t first_chunk, uint32_t chunk_count) const override {
      TurningWords words{&looked, &loads};
      return portproof::AllBusy(words, first_chunk, chunk_count);
    }
    bool Poisoned(uint32_t) const override { return false; }
    mutable std::array<uint64_t, kMapWordsMax> looked = {};
    mutable uint32_t loads = 0;
  };
  Desk desk;
  desk.Announce(kPeer, 0);
  const TurningView view;
  const Reference whole = {0, 0, 10485760};
  ASSERT_EQ(desk.table.Accept(kPeer, {&whole, 1}, view, desk.holdings), kGood);
  EXPECT_EQ(view.loads, 10U);
  const Holding held = desk.holdings.front();
  EXPECT_EQ(desk.table.Accept(kPeer, {&whole, 1}, view, desk.holdings), Rule::kShm2);
  EXPECT_EQ(view.loads, 10U);  // what is held is not asked of the peer
  EXPECT_FALSE(desk.table.Release(held));
  EXPECT_EQ(view.loads, 10U);
}

TEST(Segment, SHM_13_StaysWhileAChunkIsHeld) {
  Desk desk;
  const uint32_t idle = desk.Announce(kPeer, 0);
  const uint32_t taken = desk.Announce(kPeer, 1);
  const uint32_t other = desk.Announce(kOther, 0);
  ASSERT_EQ(desk.Accept(kPeer, {{1, 0, 1}, {1, 8, 16385}}), kGood);
  const Holdings held = desk.holdings;
  std::vector<uint32_t> unmap;
  desk.table.SenderDied(kPeer, unmap);
  EXPECT_EQ(unmap, std::vector{idle});
  EXPECT_EQ(desk.table.mapped(), 2U);
  EXPECT_EQ(desk.Accept(kPeer, {{1, 1, 1}}), Rule::kShm10);  // the dead send nothing
  EXPECT_EQ(Judge(desk.table, Announced(kPeer, 1, desk.table.config())), kGood);
  EXPECT_FALSE(desk.Release(held[0]));
  EXPECT_TRUE(desk.Release(held[1]));
  EXPECT_TRUE(desk.IsFree(taken, 0) && desk.IsFree(taken, 8) && desk.IsFree(taken, 9));
  desk.table.Close(unmap);
  EXPECT_EQ(unmap, std::vector{other});
  EXPECT_EQ(desk.table.mapped(), 0U);
  EXPECT_EQ(ToString(desk.table), "");
}

TEST(Segment, SHM_8_IsOfNoUseOncePoisoned) {
  Desk desk;
  const uint32_t slot = desk.Announce(kPeer, 0);
  ASSERT_EQ(desk.Accept(kPeer, {{0, 0, 1}}), kGood);
  const Holding held = desk.holdings.front();
  desk.poisoned.insert(slot);
  EXPECT_EQ(desk.Accept(kPeer, {{0, 1, 1}}), Rule::kShm2);
  EXPECT_EQ(ToString(desk.table), "slot 0 segment 0 of 101 holds 1\n");
  EXPECT_FALSE(desk.Release(held));
  EXPECT_EQ(desk.table.held_chunks(), 0U);
}

// The page of the bitmap goes while it is looked at: the zeros in its place look busy.
TEST(Segment, SHM_8_IsOfNoUseWhereTheLookItselfPoisonedIt) {
  struct GoingView : SegmentView {
    bool AllBusy(uint32_t, uint32_t, uint32_t) const override { return gone = true; }
    bool Poisoned(uint32_t) const override { return gone; }
    mutable bool gone = false;
  };
  Desk desk;
  desk.Announce(kPeer, 0);
  const Reference reference = {0, 0, 1};
  EXPECT_EQ(desk.table.Accept(kPeer, {&reference, 1}, GoingView(), desk.holdings), Rule::kShm2);
  EXPECT_EQ(desk.table.held_chunks(), 0U);
}

TEST(Segment, SHM_10_IsUnknownUntilAnnounced) {
  Desk desk;
  desk.Announce(kPeer, 4);
  std::vector<uint32_t> ids = {99};
  const std::vector<Reference> references = {{7, 0, 1}, {4, 0, 1}, {2, 0, 1}, {7, 5, 1}};
  EXPECT_TRUE(desk.table.FindUnknown(kPeer, references, ids));
  EXPECT_EQ(ids, (std::vector<uint32_t>{2, 7}));
  EXPECT_TRUE(desk.table.FindUnknown(kPeer, std::vector<Reference>{{4, 0, 1}}, ids));
  EXPECT_TRUE(ids.empty());
  EXPECT_FALSE(desk.table.FindUnknown(kPeer, std::vector<Reference>{{3, 0, 1}, {1024, 0, 1}}, ids));
  EXPECT_TRUE(ids.empty());
}

// SHM-14: the segment is the sender's, and the word in its header.
TEST(SegmentTable, SHM_14_ATrackingWordLiesInAKnownHeader) {
  for (const auto& [layout, slots] :
       {std::pair(SegmentLayout::kSourced, 488U), std::pair(SegmentLayout::kOosm, 487U)}) {
    Desk desk({.layout = layout});
    desk.Announce(7, 0);
    const uint32_t announced = desk.Announce(7, 3);
    uint32_t slot = 99;
    EXPECT_EQ(desk.table.JudgeTracking(7, {3, 0}, desk, slot), kGood);
    EXPECT_EQ(slot, announced);
    EXPECT_EQ(desk.table.JudgeTracking(7, {3, slots - 1}, desk, slot), kGood);
    EXPECT_EQ(desk.table.JudgeTracking(7, {3, slots}, desk, slot), Rule::kShm14);
    EXPECT_EQ(desk.table.JudgeTracking(7, {3, 0xffffffff}, desk, slot), Rule::kShm14);
    EXPECT_EQ(desk.table.JudgeTracking(7, {1, 0}, desk, slot), Rule::kShm14);
    EXPECT_EQ(desk.table.JudgeTracking(8, {3, 0}, desk, slot), Rule::kShm14);
    desk.poisoned.insert(announced);
    EXPECT_EQ(desk.table.JudgeTracking(7, {3, 0}, desk, slot), Rule::kShm14);
  }
}

}  // namespace
}  // namespace portproof
