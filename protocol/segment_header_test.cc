// The header of a segment: HDR-2, HDR-9, SHM-6.
#include "protocol/segment_header.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <vector>

namespace portproof {
namespace {

constexpr SegmentHeader kHeader = {0x01020304, 0x11121314, 0x21222324, 0x3132, 0x4142434445464748};

std::vector<uint8_t> Encoded(SegmentLayout layout, const Geometry& geometry, ByteOrder order) {
  std::vector<uint8_t> bytes(geometry.header_bytes, 0xaa);
  EncodeSegmentHeader(kHeader, layout, geometry, bytes, order);
  return bytes;
}

std::vector<uint8_t> Head(SegmentLayout layout, ByteOrder order) {
  std::vector<uint8_t> bytes = Encoded(layout, kUnitGeometry, order);
  bytes.resize(kSegmentHeadBytes);
  return bytes;
}

TEST(SegmentHeader, HDR_2_StandsAsEachReleaseWritesIt) {
  using Bytes = std::vector<uint8_t>;
  EXPECT_EQ(Head(SegmentLayout::kSeed, ByteOrder::kLittle),
            (Bytes{4, 3, 2, 1, 0x24, 0x23, 0x22, 0x21, 0x32, 0x31, 0,    0,
                   0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
  EXPECT_EQ(Head(SegmentLayout::kSourced, ByteOrder::kLittle),
            (Bytes{4,    3,    2, 1, 0x14, 0x13, 0x12, 0x11, 0x24, 0x23, 0x22, 0x21,
                   0x32, 0x31, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
  EXPECT_EQ(Head(SegmentLayout::kOosm, ByteOrder::kLittle),
            (Bytes{4,    3,    2, 1, 0x14, 0x13, 0x12, 0x11, 0x24, 0x23, 0x22, 0x21,
                   0x32, 0x31, 0, 0, 0x48, 0x47, 0x46, 0x45, 0x44, 0x43, 0x42, 0x41}));
  EXPECT_EQ(Head(SegmentLayout::kOosm, ByteOrder::kBig),
            (Bytes{1,    2,    3, 4, 0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24,
                   0x31, 0x32, 0, 0, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48}));
}

TEST(SegmentHeader, SHM_6_BeginsAllFreeWithTheEndStopBehind) {
  struct Row {
    SegmentLayout layout;
    Geometry geometry;
    size_t begin, end;  // of the set bytes
  };
  const Row rows[] = {
      {SegmentLayout::kSeed, kUnitGeometry, 16, 96},
      {SegmentLayout::kSourced, kUnitGeometry, 16, 96},
      {SegmentLayout::kOosm, kUnitGeometry, 24, 104},
      {SegmentLayout::kSourced, kTinyGeometry, 16, 24},
      {SegmentLayout::kOosm, kTinyGeometry, 24, 32},
  };
  for (const Row& row : rows) {
    const std::vector<uint8_t> bytes = Encoded(row.layout, row.geometry, ByteOrder::kLittle);
    EXPECT_EQ(FieldsOf(row.layout).bitmap, row.begin);
    for (size_t i = row.begin; i < bytes.size(); ++i) {
      ASSERT_EQ(bytes[i], i < row.end ? 0xff : 0) << i;  // HDR-9: nothing of what stood there
    }
  }
}

TEST(SegmentHeader, IsReadBackAsItWasWritten) {
  for (const SegmentLayout layout :
       {SegmentLayout::kSeed, SegmentLayout::kSourced, SegmentLayout::kOosm}) {
    for (const ByteOrder order : {ByteOrder::kLittle, ByteOrder::kBig}) {
      SegmentHeader expected = kHeader;
      if (layout == SegmentLayout::kSeed) expected.source_pid = 0;
      if (layout != SegmentLayout::kOosm) expected.oosm = 0;
      const std::vector<uint8_t> head = Head(layout, order);
      EXPECT_EQ(DecodeSegmentHeader(std::span(head).first<kSegmentHeadBytes>(), layout, order),
                expected);
    }
  }
}

}  // namespace
}  // namespace portproof
