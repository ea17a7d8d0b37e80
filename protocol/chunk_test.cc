// References, geometry and range checks: SHM-1, SHM-2.
#include "protocol/chunk.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace portproof {
namespace {

constexpr ByteOrder kLittle = ByteOrder::kLittle;
constexpr ByteOrder kBig = ByteOrder::kBig;

TEST(Reference, HDR_2_StandsInTheNamedByteOrder) {
  const Reference reference = {0x01020304, 0x0000027f, 0x00004001};
  const std::array<uint8_t, 12> little = {4, 3, 2, 1, 0x7f, 2, 0, 0, 1, 0x40, 0, 0};
  const std::array<uint8_t, 12> big = {1, 2, 3, 4, 0, 0, 2, 0x7f, 0, 0, 0x40, 1};
  EXPECT_EQ(EncodeReference(reference, kLittle), little);
  EXPECT_EQ(EncodeReference(reference, kBig), big);
  EXPECT_EQ(DecodeReference(little, kLittle), reference);
  EXPECT_EQ(DecodeReference(big, kBig), reference);
  EXPECT_EQ(ToString(reference), "segment 16909060 chunk 639 bytes 16385");
}

TEST(ReferenceList, SHM_1_IsOneOrMoreTimesTwelveBytes) {
  std::vector<Reference> references;
  for (size_t size = 0; size <= 40; ++size) {
    const std::vector<uint8_t> payload(size, 1);
    const bool whole = size == 12 || size == 24 || size == 36;
    EXPECT_EQ(DecodeReferences(payload, false, kLittle, references), whole) << size;
    EXPECT_EQ(references.size(), whole ? size / 12 : 0) << size;
  }
}

TEST(ReferenceList, SHM_1_WithTrackingStandsAfterEightBytes) {
  std::vector<Reference> references;
  for (size_t size = 0; size <= 40; ++size) {
    const std::vector<uint8_t> payload(size, 1);
    const bool whole = size == 20 || size == 32;
    EXPECT_EQ(DecodeReferences(payload, true, kLittle, references), whole) << size;
  }
}

TEST(ReferenceList, IsReadBackAsItWasWritten) {
  const std::vector<Reference> written = {{0, 0, 1}, {7, 639, 16384}, {0xffffffff, 3, 0xffffffff}};
  std::vector<uint8_t> payload;
  std::vector<Reference> read;
  for (const ByteOrder order : {kLittle, kBig}) {
    EncodeReferences(written, std::nullopt, order, payload);
    ASSERT_EQ(payload.size(), 36U);
    ASSERT_TRUE(DecodeReferences(payload, false, order, read));
    EXPECT_EQ(read, written);
    const Tracking tracking = {5, 0x01020304};
    EncodeReferences(written, tracking, order, payload);
    ASSERT_EQ(payload.size(), 44U);
    ASSERT_TRUE(DecodeReferences(payload, true, order, read));
    EXPECT_EQ(read, written);
    EXPECT_EQ(DecodeTracking(std::span(payload).first<8>(), order), tracking);
  }
}

TEST(Geometry, FollowsTheSegmentsSize) {
  EXPECT_EQ(GeometryOfSize(10489856), kUnitGeometry);
  EXPECT_EQ(GeometryOfSize(2048), kTinyGeometry);
  for (const uint64_t size : {0ULL, 2047ULL, 2049ULL, 10489855ULL, 10489857ULL, ~0ULL}) {
    EXPECT_FALSE(GeometryOfSize(size)) << size;
  }
}

TEST(Geometry, SHM_2_RoundsUpWithoutWrap) {
  EXPECT_EQ(ChunksFor(0, kUnitGeometry), 0U);
  EXPECT_EQ(ChunksFor(1, kUnitGeometry), 1U);
  EXPECT_EQ(ChunksFor(16384, kUnitGeometry), 1U);
  EXPECT_EQ(ChunksFor(16385, kUnitGeometry), 2U);
  EXPECT_EQ(ChunksFor(0xffffc000, kUnitGeometry), 262143U);
  EXPECT_EQ(ChunksFor(0xffffc001, kUnitGeometry), 262144U);
  EXPECT_EQ(ChunksFor(0xffffffff, kUnitGeometry), 262144U);
  EXPECT_EQ(ChunksFor(0xffffffff, kTinyGeometry), 268435456U);
}

TEST(Range, SHM_2_HoldsAtEveryEdge) {
  struct Row {
    uint32_t chunk, bytes;
    bool in_range;
  };
  const Row rows[] = {
      {0, 0, false},
      {0, 1, true},
      {0, 16384, true},
      {0, 10485760, true},
      {0, 10485761, false},
      {639, 1, true},
      {639, 16384, true},
      {639, 16385, false},
      {640, 1, false},
      {640, 0, false},
      {638, 16385, true},
      {638, 32768, true},
      {638, 32769, false},
      {0, 0xffffc000, false},
      {0, 0xffffc001, false},
      {0, 0xffffffff, false},
      {639, 0xffffffff, false},
      {0xffffffff, 1, false},
      {0xffffffff, 0xffffffff, false},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(InRange({0, row.chunk, row.bytes}, kUnitGeometry), row.in_range)
        << row.chunk << " " << row.bytes;
  }
  EXPECT_TRUE(InRange({0, 0, 1024}, kTinyGeometry));
  EXPECT_FALSE(InRange({0, 0, 1025}, kTinyGeometry));
  EXPECT_TRUE(InRange({0, 63, 16}, kTinyGeometry));
  EXPECT_FALSE(InRange({0, 64, 1}, kTinyGeometry));
}

TEST(Range, SHM_2_FindsAnOverlapWithinAMessage) {
  std::vector<uint32_t> scratch;
  const auto find = [&scratch](std::vector<Reference> references) {
    return FindOverlap(references, kUnitGeometry, scratch);
  };
  EXPECT_EQ(find({}), std::nullopt);
  EXPECT_EQ(find({{0, 5, 1}}), std::nullopt);
  EXPECT_EQ(find({{0, 5, 16384}, {0, 6, 1}}), std::nullopt);
  EXPECT_EQ(find({{0, 6, 1}, {0, 5, 16384}}), std::nullopt);
  EXPECT_EQ(find({{0, 5, 16385}, {0, 6, 1}}), (Overlap{0, 1}));
  EXPECT_EQ(find({{0, 6, 1}, {0, 5, 16385}}), (Overlap{0, 1}));
  EXPECT_EQ(find({{0, 5, 1}, {0, 5, 1}}), (Overlap{0, 1}));
  EXPECT_EQ(find({{1, 5, 1}, {0, 5, 1}}), std::nullopt);
  EXPECT_EQ(find({{0, 0, 10485760}, {1, 0, 1}, {0, 639, 1}}), (Overlap{0, 2}));
}

}  // namespace
}  // namespace portproof
