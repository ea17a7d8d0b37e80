// The table against a std::map, above all where entries crowd.
#include "protocol/probe_table.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>

namespace portproof {
namespace {

struct Numbered {
  uint64_t key = 0;
  uint32_t number = 0;  // 0: free

  bool IsFree() const { return number == 0; }
  void SetFree() { number = 0; }
  friend bool operator==(const Numbered&, const Numbered&) = default;
};

using Table = ProbeTable<Numbered>;

void Open(Table& table, uint64_t key, uint32_t number) {
  Numbered& entry = table.Place(key);
  ASSERT_TRUE(entry.IsFree());
  ASSERT_EQ(entry.key, key);
  entry.number = number;
  table.Placed();
}

TEST(ProbeTable, OfNothingFindsNothing) {
  Table table;
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(table.Find(0), nullptr);
  EXPECT_EQ(table.MemoryBytes(), 0U);
}

TEST(ProbeTable, FindsWhatAMapFindsWhileItGrowsAndShrinks) {
  Table table;
  std::map<uint64_t, uint32_t> model;
  uint32_t random = 1;
  for (uint32_t step = 0; step < 200000; ++step) {
    random = random * 1664525U + 1013904223U;
    // Phases of growing and of shrinking, over few keys, so that runs form and break.
    const uint64_t key = random >> 22;
    const bool open = (random >> 10 & 7U) < (step / 20000 % 2 == 0 ? 5U : 3U);
    Numbered* entry = table.Find(key);
    const auto expected = model.find(key);
    ASSERT_EQ(entry != nullptr, expected != model.end()) << step;
    if (entry != nullptr) {
      ASSERT_EQ(entry->key, key);
      ASSERT_EQ(entry->number, expected->second);
    }
    if (open && entry == nullptr) {
      Open(table, key, step + 1);
      model[key] = step + 1;
    } else if (!open && entry != nullptr) {
      table.Close(*entry);
      model.erase(expected);
    }
    ASSERT_EQ(table.size(), model.size());
  }
  size_t visited = 0;
  table.ForEach([&](const Numbered& entry) {
    ++visited;
    EXPECT_EQ(model.at(entry.key), entry.number);
  });
  EXPECT_EQ(visited, model.size());
}

TEST(ProbeTable, AFreeEntryThatIsPlacedAndLeftIsNoEntry) {
  Table table;
  EXPECT_TRUE(table.Place(7).IsFree());
  EXPECT_EQ(table.Find(7), nullptr);
  Open(table, 7, 1);
  EXPECT_EQ(table.Place(7).number, 1U);
}

TEST(ProbeTable, ReservedDoesNotGrow) {
  Table table;
  table.Reserve(1000);
  const size_t bytes = table.MemoryBytes();
  for (uint32_t i = 0; i < 1000; ++i) Open(table, uint64_t{i} << 32, i + 1);
  EXPECT_EQ(table.MemoryBytes(), bytes);
}

TEST(ProbeTable, IsEqualByWhatItHoldsNotByItsHistory) {
  Table a;
  Table b;
  for (uint32_t i = 0; i < 100; ++i) Open(a, i, i + 1);
  for (uint32_t i = 100; i-- > 0;) Open(b, i, i + 1);
  EXPECT_EQ(a, b);
  b.Close(*b.Find(50));
  EXPECT_FALSE(a == b);
  Open(b, 50, 51);
  EXPECT_EQ(a, b);
  b.Find(50)->number = 1;
  EXPECT_FALSE(a == b);
}

}  // namespace
}  // namespace portproof
