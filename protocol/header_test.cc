// The header codec, by rule. The bytes themselves are pinned by testdata/vectors/header.json.
#include "protocol/header.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace portproof {
namespace {

TEST(Header, HDR_1_NeedsSixteenBytes) {
  const std::vector<uint8_t> bytes(32, 0);
  for (size_t size = 0; size <= bytes.size(); ++size) {
    EXPECT_EQ(DecodeHeader(std::span(bytes).first(size)).has_value(), size >= 16) << size;
  }
}

// Both decoders are one, for each length and each value of each byte behind the numbers.
TEST(Header, DecodesToItsPlaceAsElsewhere) {
  std::vector<uint8_t> bytes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 0, 1, 0, 15, 16};
  for (size_t size = 0; size <= bytes.size(); ++size) {
    Header header{.stream = 77};
    const auto decoded = DecodeHeader(std::span(bytes).first(size));
    EXPECT_EQ(DecodeHeaderTo(std::span(bytes).first(size), header), decoded.has_value());
    EXPECT_EQ(header, decoded ? decoded->header : Header{.stream = 77}) << size;
  }
  for (size_t offset = 11; offset < 16; ++offset) {
    for (int value = 0; value < 256; ++value) {
      bytes[offset] = static_cast<uint8_t>(value);
      Header header;
      ASSERT_TRUE(DecodeHeaderTo(bytes, header));
      EXPECT_EQ(header, DecodeHeader(bytes)->header) << offset << " " << value;
    }
  }
}

TEST(Header, HDR_2_IsInTheByteOrderOfTheMachineUnlessSaid) {
  Header header;
  header.stream = 1;
  const auto bytes = EncodeHeader(header);
  EXPECT_EQ(bytes, EncodeHeader(header, MachineByteOrder()));
  EXPECT_EQ(bytes[MachineByteOrder() == ByteOrder::kLittle ? 0 : 3], 1);
}

TEST(Header, HDR_3_TakesAnyNonZeroFlagAsOne) {
  for (const size_t offset : {11U, 12U, 13U, 14U}) {
    for (int value = 0; value < 256; ++value) {
      std::vector<uint8_t> bytes(16, 0);
      bytes[offset] = static_cast<uint8_t>(value);
      const auto decoded = DecodeHeader(bytes);
      ASSERT_TRUE(decoded);
      const Header& header = decoded->header;
      const bool flags[] = {header.last, header.mmap, header.nf, header.mf};
      for (size_t flag = 0; flag < 4; ++flag) {
        EXPECT_EQ(flags[flag], flag + 11 == offset && value != 0) << offset << " " << value;
      }
      EXPECT_EQ(decoded->flags_clean, value <= 1) << offset << " " << value;
    }
  }
}

TEST(Header, HDR_3_IsWrittenWithFlagsZeroOrOne) {
  Header header;
  header.last = header.mmap = header.nf = header.mf = true;
  const auto bytes = EncodeHeader(header);
  for (const size_t offset : {11U, 12U, 13U, 14U}) EXPECT_EQ(bytes[offset], 1);
}

TEST(Header, HDR_5_KeepsByteFifteenWithoutJudgingIt) {
  std::vector<uint8_t> bytes(16, 0);
  bytes[15] = 0xa5;
  const auto decoded = DecodeHeader(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_TRUE(decoded->flags_clean);
  EXPECT_EQ(decoded->header.byte15, 0xa5);
}

TEST(Header, HDR_9_OfNothingIsSixteenZeroBytes) {
  EXPECT_EQ(EncodeHeader(Header{}), (std::array<uint8_t, 16>{}));
}

TEST(Header, SpeaksOfItself) {
  Header header;
  header.stream = 5;
  header.pid = 101;
  header.type = 12;
  header.last = header.mf = true;
  EXPECT_EQ(ToString(header), "stream 5 pid 101 reply 0 type 12 last mf");
}

}  // namespace
}  // namespace portproof
