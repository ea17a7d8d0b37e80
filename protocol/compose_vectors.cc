#include "protocol/compose_vectors.h"

#include <cstddef>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace portproof {
namespace {

using nlohmann::json;

// Takes keys out of an object; Done() complains of those nobody took.
class Object {
 public:
  explicit Object(const json& object) : object_(object) {}
  json Take(const std::string& key) {
    const json value = object_.at(key);
    object_.erase(key);
    return value;
  }
  bool Has(const std::string& key) const { return object_.contains(key); }
  void Done() const {
    if (!object_.empty()) throw std::runtime_error("keys nobody reads: " + object_.dump());
  }

 private:
  json object_;
};

uint32_t Size(const json& value, uint32_t limit) {
  if (value.is_number_unsigned()) return value.get<uint32_t>();
  const std::string text = value.get<std::string>();
  if (text == "L") return limit;
  if (text == "L+1") return limit + 1;
  if (text == "L-1") return limit - 1;
  throw std::runtime_error("no size: " + text);
}

void AppendMemory(Object& link, uint32_t limit, uint64_t& address, std::vector<Buffer>& chain) {
  const uint32_t bytes = Size(link.Take("bytes"), limit);
  const uint32_t count = link.Take("count").get<uint32_t>();
  const std::string placed = link.Take("placed").get<std::string>();
  if (placed != "separate" && placed != "adjacent") throw std::runtime_error("placed " + placed);
  for (uint32_t i = 0; i < count; ++i) {
    if (placed == "separate") address += 1;
    chain.push_back({.address = address, .id = chain.size(), .bytes = bytes});
    address += bytes;
  }
}

GoldenCase ReadCase(const json& row, uint32_t limit) {
  Object object(row);
  GoldenCase golden;
  golden.chain_is = object.Take("chain_is").get<std::string>();
  golden.payload_bytes_max = limit;
  golden.last_flag = object.Take("LAST").get<bool>();
  uint64_t address = 1 << 20;
  for (const json& element : object.Take("chain")) {
    Object link(element);
    if (link.Has("sync")) {
      const std::string mark = link.Take("sync").get<std::string>();
      if (mark != "" && mark != "last") throw std::runtime_error("sync " + mark);
      golden.chain.push_back(
          {.id = golden.chain.size(), .kind = BufferKind::kSync, .last = mark == "last"});
    } else {
      AppendMemory(link, limit, address, golden.chain);
    }
    link.Done();
  }
  for (const json& datagram : object.Take("datagrams")) {
    if (datagram.size() != 4) throw std::runtime_error("a datagram has four numbers");
    golden.datagrams.push_back({Size(datagram.at(0), limit), datagram.at(1).get<int>() == 1,
                                datagram.at(2).get<int>() == 1, datagram.at(3).get<int>() == 1});
  }
  object.Done();
  return golden;
}

}  // namespace

ComposeVectors LoadComposeVectors(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  Object root(json::parse(file));
  ComposeVectors vectors;
  const json limits = root.Take("limits");
  const json golden = root.Take("golden");
  const json counts = root.Take("counts");
  root.Done();
  for (const json& limit : limits) {
    const uint32_t payload_bytes_max = limit.get<uint32_t>();
    for (const json& row : golden) vectors.golden.push_back(ReadCase(row, payload_bytes_max));
  }
  for (const json& row : counts) {
    Object object(row);
    const uint32_t payload_bytes = object.Take("payload").get<uint32_t>();
    for (const json& limit : limits) {
      const uint32_t payload_bytes_max = limit.get<uint32_t>();
      vectors.counts.push_back({payload_bytes_max, payload_bytes,
                                object.Take(std::to_string(payload_bytes_max)).get<uint32_t>()});
    }
    object.Done();
  }
  return vectors;
}

}  // namespace portproof
