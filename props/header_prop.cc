// Properties of the header codec.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <cstdint>
#include <vector>

#include "protocol/header.h"

namespace portproof {
namespace {

Header AnyHeader() {
  Header header;
  header.stream = *rc::gen::arbitrary<uint32_t>();
  header.pid = *rc::gen::arbitrary<int32_t>();
  header.reply_port = *rc::gen::arbitrary<uint16_t>();
  header.type = *rc::gen::arbitrary<uint8_t>();
  header.last = *rc::gen::arbitrary<bool>();
  header.mmap = *rc::gen::arbitrary<bool>();
  header.nf = *rc::gen::arbitrary<bool>();
  header.mf = *rc::gen::arbitrary<bool>();
  header.byte15 = *rc::gen::arbitrary<uint8_t>();
  return header;
}

// HDR-2, HDR-3
TEST(HeaderProp, WhatWasEncodedIsDecodedInEitherByteOrder) {
  EXPECT_TRUE(rc::check([] {
    const Header header = AnyHeader();
    for (const ByteOrder order : {ByteOrder::kLittle, ByteOrder::kBig}) {
      const auto decoded = DecodeHeader(EncodeHeader(header, order), order);
      RC_ASSERT(decoded.has_value());
      RC_ASSERT(decoded->flags_clean);
      RC_ASSERT(decoded->header == header);
    }
  }));
}

// HDR-1, HDR-3, HDR-5
TEST(HeaderProp, AnyBytesDecodeIffThereAreSixteen) {
  EXPECT_TRUE(rc::check([] {
    const auto bytes = *rc::gen::arbitrary<std::vector<uint8_t>>();
    const auto decoded = DecodeHeader(bytes, ByteOrder::kLittle);
    RC_ASSERT(decoded.has_value() == (bytes.size() >= 16));
    RC_CLASSIFY(decoded.has_value(), "decoded");
    if (!decoded) return;
    RC_ASSERT(decoded->header.last == (bytes[11] != 0));
    RC_ASSERT(decoded->header.mmap == (bytes[12] != 0));
    RC_ASSERT(decoded->header.nf == (bytes[13] != 0));
    RC_ASSERT(decoded->header.mf == (bytes[14] != 0));
    RC_ASSERT(decoded->header.byte15 == bytes[15]);
  }));
}

// HDR-2
TEST(HeaderProp, TheOtherByteOrderReversesEachField) {
  EXPECT_TRUE(rc::check([] {
    const Header header = AnyHeader();
    const auto little = EncodeHeader(header, ByteOrder::kLittle);
    const auto big = EncodeHeader(header, ByteOrder::kBig);
    constexpr std::array<size_t, 16> kMirror = {3, 2, 1,  0,  7,  6,  5,  4,
                                                9, 8, 10, 11, 12, 13, 14, 15};
    for (size_t i = 0; i < 16; ++i) RC_ASSERT(little[i] == big[kMirror[i]]);
  }));
}

}  // namespace
}  // namespace portproof
