// Where tracking words stand, and whose compare-and-swap wins: SHM-14, SHM-15.
#include "protocol/tracking.h"

#include <gtest/gtest.h>

#include <array>

#include "protocol/chunk_map.h"
#include "protocol/segment_header.h"

namespace portproof {
namespace {

struct PlainWords {
  std::array<uint64_t, 3> words = {};

  void Store(size_t slot, uint64_t value) { words[slot] = value; }
  bool Replace(size_t slot, uint64_t seen, uint64_t value) {
    if (words[slot] != seen) return false;
    words[slot] = value;
    return true;
  }
};

// The last word ends with the header, and the next would be in chunk 0.
TEST(Tracking, SHM_14_WordsStandBehindTheBitmapsUpToTheHeadersEnd) {
  EXPECT_EQ(TrackingOffset(SegmentLayout::kSourced), 192U);
  EXPECT_EQ(TrackingOffset(SegmentLayout::kOosm), 200U);
  EXPECT_EQ(TrackingSlots(SegmentLayout::kSourced, kUnitGeometry), 488U);
  EXPECT_EQ(TrackingSlots(SegmentLayout::kOosm, kUnitGeometry), 487U);
  for (const SegmentLayout layout : {SegmentLayout::kSourced, SegmentLayout::kOosm}) {
    for (const Geometry& geometry : {kUnitGeometry, kTinyGeometry}) {
      const uint32_t slots = TrackingSlots(layout, geometry);
      EXPECT_EQ(TrackingOffset(layout) % 8, 0U);
      EXPECT_LE(TrackingOffset(layout) + 8 * slots, geometry.header_bytes);
      EXPECT_GT(TrackingOffset(layout) + 8 * (slots + 1), geometry.header_bytes);
      EXPECT_GE(TrackingOffset(layout), FieldsOf(layout).bitmap + 8 * (MapWords(geometry) + 1));
    }
  }
}

TEST(Tracking, SHM_14_TheReceiverTakesAMessageOnce) {
  PlainWords words;
  BeginTracking(words, 1, 7);
  EXPECT_EQ(words.words, (std::array<uint64_t, 3>{0, 7, 0}));
  EXPECT_FALSE(TakeTracked(words, 1, 8));  // of another stream
  EXPECT_FALSE(TakeTracked(words, 0, 7));  // of another slot
  EXPECT_TRUE(TakeTracked(words, 1, 7));
  EXPECT_EQ(words.words, (std::array<uint64_t, 3>{}));
  EXPECT_FALSE(TakeTracked(words, 1, 7));
  EXPECT_FALSE(CancelTracked(words, 1, 7));  // too late
}

TEST(Tracking, SHM_15_ACancelledMessageIsNotTaken) {
  PlainWords words;
  BeginTracking(words, 2, 0xffffffff);
  EXPECT_TRUE(CancelTracked(words, 2, 0xffffffff));
  EXPECT_FALSE(TakeTracked(words, 2, 0xffffffff));
  EXPECT_FALSE(CancelTracked(words, 2, 0xffffffff));
}

// All 64 bits are compared.
TEST(Tracking, SHM_14_AWordWithMoreThanAStreamIsNoMessage) {
  PlainWords words;
  words.Store(0, uint64_t{1} << 32 | 7);
  EXPECT_FALSE(TakeTracked(words, 0, 7));
}

}  // namespace
}  // namespace portproof
