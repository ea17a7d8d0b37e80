#include "testdata/vectors/compose_vectors.h"

#include <array>
#include <cstddef>

#include "protocol/rule.h"
#include "testdata/vectors/vector_reader.h"

namespace portproof {
namespace {

using nlohmann::json;

constexpr std::array<uint32_t, 2> kLimits = {16384, 16368};

uint32_t Size(const json& value, uint32_t limit) {
  if (value.is_number_unsigned()) return value.get<uint32_t>();
  const std::string text = value.get<std::string>();
  EXPECT_TRUE(text == "L" || text == "L+1" || text == "L-1") << text;
  return text == "L" ? limit : text == "L+1" ? limit + 1 : limit - 1;
}

void AppendMemory(VectorObject& link, uint32_t limit, uint64_t& address,
                  std::vector<Buffer>& chain) {
  const uint32_t bytes = Size(link.Raw("bytes"), limit);
  const int64_t count = link.Number("count");
  const std::string placed = link.Text("placed");
  EXPECT_TRUE(placed == "separate" || placed == "adjacent") << link.place();
  for (int64_t i = 0; i < count; ++i) {
    if (placed == "separate") address += 1;
    chain.push_back({.address = address, .id = chain.size(), .bytes = bytes});
    address += bytes;
  }
}

GoldenCase ReadCase(VectorObject& vector, uint32_t limit) {
  GoldenCase golden;
  golden.chain_is = vector.Text("name");
  golden.payload_bytes_max = limit;
  golden.last_flag = vector.Number("LAST") != 0;
  uint64_t address = 1 << 20;
  for (const json& element : vector.Raw("chain")) {
    VectorObject link(element, vector.place());
    if (!link.Has("sync")) {
      AppendMemory(link, limit, address, golden.chain);
      continue;
    }
    const std::string mark = link.Text("sync");
    EXPECT_TRUE(mark == "" || mark == "last") << link.place();
    golden.chain.push_back(
        {.id = golden.chain.size(), .kind = BufferKind::kSync, .last = mark == "last"});
  }
  for (const json& datagram : vector.Raw("datagrams")) {
    EXPECT_EQ(datagram.size(), 4u) << vector.place();
    golden.datagrams.push_back({Size(datagram.at(0), limit), datagram.at(1).get<int>() == 1,
                                datagram.at(2).get<int>() == 1, datagram.at(3).get<int>() == 1});
  }
  return golden;
}

}  // namespace

ComposeVectors LoadComposeVectors() {
  ComposeVectors vectors;
  ForEachVector("compose.json", [&vectors](VectorObject& vector) {
    EXPECT_TRUE(FindRule(vector.Text("rule"))) << vector.place();
    for (size_t i = 0; i < kLimits.size(); ++i) {
      if (vector.Has("chain")) {
        vectors.golden.push_back(ReadCase(vector, kLimits[i]));
      } else {
        vectors.counts.push_back({kLimits[i], static_cast<uint32_t>(vector.Number("payload")),
                                  vector.Raw("counts").at(i).get<uint32_t>()});
      }
    }
  });
  return vectors;
}

}  // namespace portproof
