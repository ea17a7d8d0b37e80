// The tables of section 3, and what a table does not show: runs, cursors, places.
#include "protocol/compose.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "testdata/vectors/compose_vectors.h"

namespace portproof {
namespace {

constexpr uint32_t kChunkBytes = kUnitGeometry.chunk_bytes;

std::vector<GoldenDatagram> Datagrams(const std::vector<Buffer>& chain, bool last_flag,
                                      ComposeLimits limits) {
  std::vector<GoldenDatagram> datagrams;
  std::vector<ByteRun> runs(limits.runs);
  bool last = last_flag;
  ChainCursor from;
  for (;;) {
    const Composed composed = Compose(chain, from, limits, runs);
    last |= composed.last;
    datagrams.push_back({composed.payload_bytes, last, !datagrams.empty(), composed.more});
    if (!composed.more) return datagrams;
    from = composed.next;
  }
}

std::string ToString(const std::vector<GoldenDatagram>& datagrams) {
  std::string text;
  for (const GoldenDatagram& d : datagrams) {
    text += "(" + std::to_string(d.payload_bytes) + "," + std::to_string(d.last) + "," +
            std::to_string(d.nf) + "," + std::to_string(d.mf) + ") ";
  }
  return text;
}

// IOV-1, IOV-2, IOV-3, IOV-4, IOV-5, IOV-6, IOV-7
TEST(ComposeTest, TheGoldenTable) {
  const ComposeVectors vectors = LoadComposeVectors();
  ASSERT_EQ(vectors.golden.size(), 40u);
  for (const GoldenCase& golden : vectors.golden) {
    const auto datagrams =
        Datagrams(golden.chain, golden.last_flag, {golden.payload_bytes_max, kPlainRunsMax});
    EXPECT_EQ(ToString(datagrams), ToString(golden.datagrams))
        << golden.chain_is << ", L = " << golden.payload_bytes_max;
  }
}

TEST(ComposeTest, TheTableOfDatagramCounts) {  // IOV-4
  const ComposeVectors vectors = LoadComposeVectors();
  ASSERT_EQ(vectors.counts.size(), 24u);
  for (const GoldenCount& row : vectors.counts) {
    const std::vector<Buffer> chain = {{.address = 4096, .bytes = row.payload_bytes}};
    EXPECT_EQ(Datagrams(chain, false, {row.payload_bytes_max, kPlainRunsMax}).size(),
              row.datagram_count)
        << row.payload_bytes << " bytes, L = " << row.payload_bytes_max;
  }
}

TEST(ComposeTest, RunsJoinAcrossSyncAndEmptyBuffers) {  // IOV-2
  const std::vector<Buffer> chain = {{.address = 100, .bytes = 10},
                                     {.kind = BufferKind::kSync},
                                     {.address = 500, .bytes = 0},
                                     {.address = 110, .bytes = 5},
                                     {.address = 116, .bytes = 1}};
  std::array<ByteRun, 7> runs;
  const Composed composed = Compose(chain, {}, {100, 7}, runs);
  ASSERT_EQ(composed.run_count, 2u);
  EXPECT_EQ(runs[0], (ByteRun{100, 15}));
  EXPECT_EQ(runs[1], (ByteRun{116, 1}));
  EXPECT_FALSE(composed.more);
  EXPECT_EQ(composed.next, (ChainCursor{5, 0}));
}

TEST(ComposeTest, ACutBufferGoesOnWhereItWasCut) {  // IOV-1
  const std::vector<Buffer> chain = {{.address = 100, .bytes = 10}, {.address = 110, .bytes = 10}};
  std::array<ByteRun, 7> runs;
  const Composed first = Compose(chain, {}, {4, 7}, runs);
  EXPECT_EQ(runs[0], (ByteRun{100, 4}));
  EXPECT_EQ(first.next, (ChainCursor{0, 4}));
  const Composed second = Compose(chain, first.next, {12, 7}, runs);
  EXPECT_EQ(runs[0], (ByteRun{104, 12}));
  EXPECT_EQ(second.run_count, 1u);
  EXPECT_EQ(second.next, (ChainCursor{1, 6}));
}

TEST(ComposeTest, NoRunIsOpenedAtTheLimit) {  // IOV-3
  const std::vector<Buffer> chain = {{.address = 100, .bytes = 10}, {.address = 200, .bytes = 10}};
  std::array<ByteRun, 7> runs;
  const Composed composed = Compose(chain, {}, {10, 7}, runs);
  EXPECT_EQ(composed.run_count, 1u);
  EXPECT_EQ(composed.next, (ChainCursor{1, 0}));
  EXPECT_TRUE(composed.more);
}

// A buffer that begins exactly at the first byte of the address space, or at the
// last possible one, is no neighbour of "no run yet".
TEST(ComposeTest, TheEndsOfTheAddressSpaceAreOrdinaryPlaces) {  // IOV-2
  const std::vector<Buffer> chain = {{.address = ~uint64_t{0} - 5, .bytes = 5},
                                     {.address = 0, .bytes = 3}};
  std::array<ByteRun, 7> runs;
  EXPECT_EQ(Compose(chain, {}, {100, 7}, runs).run_count, 2u);
}

// Two buffers of up to nine bytes each, with a mark between them, against a limit of four.
template <typename Check>
void EachMarkedPair(Check check) {
  for (uint32_t first = 0; first < 10; ++first) {
    for (uint32_t second = 0; second < 10; ++second) {
      const std::vector<Buffer> chain = {{.address = 100, .bytes = first},
                                         {.kind = BufferKind::kSync, .last = true},
                                         {.address = 200, .bytes = second}};
      SCOPED_TRACE(std::to_string(first) + " bytes, a mark, " + std::to_string(second));
      check(first, second, Datagrams(chain, false, {4, kPlainRunsMax}));
    }
  }
}

TEST(ComposeTest, IOV_5_MoreFollowsExactlyWhereBytesRemain) {
  EachMarkedPair([](uint32_t first, uint32_t second, const std::vector<GoldenDatagram>& datagrams) {
    uint32_t sent = 0;
    for (const GoldenDatagram& datagram : datagrams) {
      sent += datagram.payload_bytes;
      EXPECT_EQ(datagram.mf, sent < first + second) << sent;
    }
    EXPECT_EQ(sent, first + second);
  });
}

TEST(ComposeTest, IOV_6_AMarkIsNeverLostAndStays) {
  EachMarkedPair(
      [](uint32_t first, uint32_t /*second*/, const std::vector<GoldenDatagram>& datagrams) {
        uint32_t sent = 0;
        for (const GoldenDatagram& datagram : datagrams) {
          sent += datagram.payload_bytes;
          EXPECT_EQ(datagram.last, sent >= first) << sent;  // also right behind the limit
        }
        EXPECT_TRUE(datagrams.back().last);
      });
}

TEST(ComposeTest, IOV_7_AChainWithoutBytesIsOneEmptyDatagram) {
  const std::array<Buffer, 3> kinds = {Buffer{.address = 100, .bytes = 0},
                                       {.kind = BufferKind::kSync},
                                       {.kind = BufferKind::kSync, .last = true}};
  EXPECT_EQ(ToString(Datagrams({}, false, {4, kPlainRunsMax})), "(0,0,0,0) ");
  for (const Buffer& first : kinds) {
    for (const Buffer& second : kinds) {
      const bool marked = first.last || second.last;
      EXPECT_EQ(ToString(Datagrams({first, second}, false, {4, kPlainRunsMax})),
                marked ? "(0,1,0,0) " : "(0,0,0,0) ");
    }
  }
}

TEST(ComposeTest, NeighboursInOneSegmentAreOneReference) {  // SHM-11
  const auto shared = [](uint32_t segment_id, uint32_t chunk, uint32_t bytes) {
    return Buffer{.bytes = bytes,
                  .segment_id = segment_id,
                  .segment_offset = chunk * kChunkBytes,
                  .kind = BufferKind::kShared,
                  .usable = true};
  };
  // A chunk that is not full ends the run, and so does the end of a segment.
  const std::vector<Buffer> chain = {shared(0, 0, kChunkBytes), shared(0, 1, 100),
                                     shared(0, 2, kChunkBytes), shared(0, 639, kChunkBytes),
                                     shared(1, 0, kChunkBytes)};
  std::array<ByteRun, kSharedRunsMax> runs;
  const Composed composed = ComposeShared(chain, {}, SharedLimits(16384, false), runs);
  ASSERT_EQ(composed.run_count, 4u);
  EXPECT_EQ(runs[0], (ByteRun{PlaceInSegment(0, 0), kChunkBytes + 100}));
  EXPECT_EQ(runs[1], (ByteRun{PlaceInSegment(0, 2 * kChunkBytes), kChunkBytes}));
  EXPECT_EQ(runs[2], (ByteRun{PlaceInSegment(0, 639 * kChunkBytes), kChunkBytes}));
  EXPECT_EQ(runs[3], (ByteRun{PlaceInSegment(1, 0), kChunkBytes}));
}

TEST(ComposeTest, SharedModeTakesAsManyReferencesAsFit) {  // section 3, run limits
  EXPECT_EQ(SharedLimits(16384, false).runs, 79u);
  EXPECT_EQ(SharedLimits(948, false).runs, 79u);
  EXPECT_EQ(SharedLimits(947, false).runs, 78u);
  EXPECT_EQ(SharedLimits(48, false).runs, 4u);
  EXPECT_EQ(SharedLimits(48, true).runs, 3u);
}

TEST(ChainTest, SharedOnlyIfEveryByteCanBeNamed) {  // SHM-3
  const Buffer shared = {
      .bytes = 10, .segment_offset = kChunkBytes, .kind = BufferKind::kShared, .usable = true};
  const Buffer plain = {.address = 1, .bytes = 1};
  const Buffer empty = {.address = 1};
  const Buffer sync = {.kind = BufferKind::kSync, .last = true};
  EXPECT_EQ(SurveyOf(std::vector{shared}).mode, Mode::kShared);
  EXPECT_EQ(SurveyOf(std::vector{sync, shared, empty, shared}).mode, Mode::kShared);
  EXPECT_EQ(SurveyOf(std::vector{shared, plain}).mode, Mode::kPlain);
  EXPECT_EQ(SurveyOf(std::vector<Buffer>{}).mode, Mode::kPlain);
  EXPECT_EQ(SurveyOf(std::vector{sync, empty}).mode, Mode::kPlain);
  Buffer crooked = shared;
  crooked.segment_offset += 1;
  EXPECT_EQ(SurveyOf(std::vector{shared, crooked}).mode, Mode::kPlain);
  Buffer unusable = shared;
  unusable.usable = false;
  EXPECT_EQ(SurveyOf(std::vector{shared, unusable}).mode, Mode::kPlain);
}

TEST(ChainTest, WhatAChainMayHold) {
  EXPECT_TRUE(ValidChain(std::vector<Buffer>{}));
  EXPECT_TRUE(ValidChain(std::vector<Buffer>{{.kind = BufferKind::kSync, .last = true}}));
  EXPECT_FALSE(ValidChain(std::vector<Buffer>{{.bytes = 1, .kind = BufferKind::kSync}}));
  EXPECT_FALSE(ValidChain(std::vector<Buffer>{{.bytes = 1, .last = true}}));
  EXPECT_FALSE(ValidChain(std::vector<Buffer>{{.address = ~uint64_t{0}, .bytes = 1}}));
  EXPECT_FALSE(ValidChain(std::vector<Buffer>{{.bytes = 0x80000000}}));
}

}  // namespace
}  // namespace portproof
