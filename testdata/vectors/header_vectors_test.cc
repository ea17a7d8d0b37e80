// header.json against the codec: each vector's bytes, read and written.
#include <gtest/gtest.h>

#include <algorithm>

#include "protocol/header.h"
#include "protocol/rule.h"
#include "testdata/vectors/vector_reader.h"

namespace portproof {
namespace {

Header ReadHeader(const nlohmann::json& json, const std::string& place) {
  VectorObject fields(json, place);
  Header header;
  header.stream = static_cast<uint32_t>(fields.Number("stream"));
  header.pid = static_cast<int32_t>(fields.Number("pid"));
  header.reply_port = static_cast<uint16_t>(fields.Number("reply_port"));
  header.type = static_cast<uint8_t>(fields.Number("type"));
  header.last = fields.Number("last") != 0;
  header.mmap = fields.Number("mmap") != 0;
  header.nf = fields.Number("nf") != 0;
  header.mf = fields.Number("mf") != 0;
  header.byte15 = static_cast<uint8_t>(fields.Number("byte15"));
  return header;
}

TEST(HeaderVectors, DecodeAndEncodeAsTheySay) {
  ForEachVector("header.json", [](VectorObject& vector) {
    EXPECT_TRUE(FindRule(vector.Text("rule"))) << vector.place();
    const ByteOrder order = vector.Text("order") == "big" ? ByteOrder::kBig : ByteOrder::kLittle;
    const std::vector<uint8_t> bytes = vector.Bytes("bytes");
    const auto decoded = DecodeHeader(bytes, order);
    const nlohmann::json& expected = vector.Raw("header");
    ASSERT_EQ(decoded.has_value(), !expected.is_null()) << vector.place();
    if (!decoded) return;
    EXPECT_EQ(decoded->header, ReadHeader(expected, vector.place()))
        << vector.place() << ": " << ToString(decoded->header);
    EXPECT_EQ(decoded->flags_clean, vector.Number("clean") != 0) << vector.place();
    EXPECT_EQ(static_cast<int64_t>(bytes.size() - kHeaderBytes), vector.Number("rest"));
    const auto encoded = EncodeHeader(decoded->header, order);
    EXPECT_EQ(std::equal(encoded.begin(), encoded.end(), bytes.begin()), decoded->flags_clean)
        << vector.place();
  });
}

}  // namespace
}  // namespace portproof
