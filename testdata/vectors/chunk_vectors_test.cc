// chunk.json against the reference codec and the range checks.
#include <gtest/gtest.h>

#include "protocol/chunk.h"
#include "protocol/rule.h"
#include "testdata/vectors/vector_reader.h"

namespace portproof {
namespace {

void CheckReferences(VectorObject& vector, const std::vector<Reference>& references) {
  const auto geometry = GeometryOfSize(static_cast<uint64_t>(vector.Number("segment_bytes")));
  ASSERT_TRUE(geometry) << vector.place();
  const nlohmann::json& expected = vector.Raw("references");
  ASSERT_EQ(references.size(), expected.size()) << vector.place();
  bool all_in_range = true;
  for (size_t i = 0; i < references.size(); ++i) {
    const Reference one = {expected[i][0].get<uint32_t>(), expected[i][1].get<uint32_t>(),
                           expected[i][2].get<uint32_t>()};
    EXPECT_EQ(references[i], one) << vector.place();
    EXPECT_EQ(InRange(one, *geometry), expected[i][3].get<bool>()) << vector.place();
    all_in_range = all_in_range && InRange(one, *geometry);
  }
  if (!all_in_range) return;
  std::vector<uint32_t> scratch;
  const auto overlap = FindOverlap(references, *geometry, scratch);
  ASSERT_EQ(overlap.has_value(), vector.Has("overlap")) << vector.place();
  if (!overlap) return;
  const nlohmann::json& pair = vector.Raw("overlap");
  EXPECT_EQ(*overlap, (Overlap{pair[0].get<size_t>(), pair[1].get<size_t>()})) << vector.place();
}

TEST(ChunkVectors, DecodeAndCheckAsTheySay) {
  ForEachVector("chunk.json", [](VectorObject& vector) {
    EXPECT_TRUE(FindRule(vector.Text("rule"))) << vector.place();
    const ByteOrder order = vector.Text("order") == "big" ? ByteOrder::kBig : ByteOrder::kLittle;
    const bool tracking = vector.Number("tracking") != 0;
    const std::vector<uint8_t> payload = vector.Bytes("payload");
    std::vector<Reference> references;
    const bool list = DecodeReferences(payload, tracking, order, references);
    ASSERT_EQ(list, vector.Number("list") != 0) << vector.place();
    if (!list) return;
    CheckReferences(vector, references);
    std::optional<Tracking> words;
    if (tracking) words = DecodeTracking(std::span(payload).first<kTrackingBytes>(), order);
    std::vector<uint8_t> again;
    EncodeReferences(references, words, order, again);
    EXPECT_EQ(again, payload) << vector.place();
  });
}

}  // namespace
}  // namespace portproof
