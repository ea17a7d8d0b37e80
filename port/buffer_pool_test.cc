#include "port/buffer_pool.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <span>
#include <utility>

namespace portproof {
namespace {

// FRG-8: at most so many unused blocks are kept, and each block is in one place.
TEST(BufferPoolTest, FRG_8_KeepsAsManyAsItMay) {
  BufferPool pool(64, 2);
  {
    const std::array<Part, 3> parts = {Part(pool.Take(), 0, 1), Part(pool.Take(), 0, 1),
                                       Part(pool.Take(), 0, 1)};
    EXPECT_EQ(pool.lent(), 3U);
    EXPECT_EQ(pool.unused(), 0U);
  }
  EXPECT_EQ(pool.lent(), 0U);
  EXPECT_EQ(pool.unused(), 2U);
  const Part again(pool.Take(), 0, 1);
  EXPECT_EQ(pool.unused(), 1U);
  pool.ReleaseUnused();
  EXPECT_EQ(pool.unused(), 0U);
  EXPECT_EQ(pool.lent(), 1U);
}

// RCV-3: a part that becomes another gives its block back.
TEST(BufferPoolTest, RCV_3_AnAssignedPartGivesItsBlockBack) {
  BufferPool pool(64);
  Part part(pool.Take(), 0, 1);
  part = Part(pool.Take(), 10, 20);
  EXPECT_EQ(pool.lent(), 1U);
  EXPECT_EQ(part.room(), 64U - 10 - 20);
  part = Part();
  EXPECT_EQ(pool.lent(), 0U);
}

TEST(BufferPoolTest, CopiesNoMoreThanThereIsRoomFor) {
  Payload payload;
  for (const uint8_t value : {uint8_t{1}, uint8_t{2}}) {
    Part& part = payload.emplace_back(NewSlab(64), 0, 0);
    for (int i = 0; i < 3; ++i) *part.Grow(1) = value;
  }
  std::array<uint8_t, 6> bytes = {};
  EXPECT_EQ(CopyOf(payload, std::span(bytes).first(4)), 4U);
  EXPECT_EQ(bytes, (std::array<uint8_t, 6>{1, 1, 1, 2, 0, 0}));
}

}  // namespace
}  // namespace portproof
