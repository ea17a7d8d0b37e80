// Reads a file of vectors in a test, and fails the test if an attribute of one
// was read by nobody: a vector must not say what is not checked.
//   shapes    {"format": "...", "vectors": [{"name": ..., "rule": ..., ...}, ...]}
//   returns   ForEachVector calls `check` with each vector
//   holds     the parsed file, while it runs
//   rules     none of its own
//   source    none
#ifndef PORTPROOF_TESTDATA_VECTORS_VECTOR_READER_H_
#define PORTPROOF_TESTDATA_VECTORS_VECTOR_READER_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "testdata/vectors/vectors.h"

namespace portproof {

// A JSON object that knows which of its attributes were asked for.
class VectorObject {
 public:
  VectorObject(const nlohmann::json& json, std::string place)
      : json_(json), place_(std::move(place)) {}
  VectorObject(const VectorObject&) = delete;
  VectorObject& operator=(const VectorObject&) = delete;
  ~VectorObject() {
    for (const auto& [key, value] : json_.items()) {
      EXPECT_TRUE(read_.contains(key)) << place_ << ": attribute " << key << " is read by no test";
    }
  }

  const std::string& place() const { return place_; }
  bool Has(const std::string& key) const { return json_.contains(key); }
  const nlohmann::json& Raw(const std::string& key) {
    read_.insert(key);
    return json_.at(key);
  }
  std::string Text(const std::string& key) { return Raw(key).get<std::string>(); }
  // A number or a flag; `otherwise` where the vector leaves it out.
  int64_t Number(const std::string& key, int64_t otherwise = 0) {
    if (!Has(key)) return otherwise;
    const nlohmann::json& value = Raw(key);
    return value.is_boolean() ? static_cast<int64_t>(value.get<bool>()) : value.get<int64_t>();
  }
  std::vector<uint8_t> Bytes(const std::string& key) {
    const std::string hex = Text(key);
    std::vector<uint8_t> bytes;
    for (size_t i = 0; i + 1 < hex.size(); i += 2) {
      bytes.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    EXPECT_EQ(hex.size() % 2, 0U) << place_;
    return bytes;
  }

 private:
  const nlohmann::json& json_;
  std::string place_;
  std::set<std::string> read_;
};

template <typename Check>
void ForEachVector(std::string_view file_name, Check check) {
  int count = 0;
  for (const VectorFile& file : VectorFiles()) {
    if (file.name != file_name) continue;
    const nlohmann::json json = nlohmann::json::parse(file.text);
    VectorObject whole(json, std::string(file_name));
    EXPECT_FALSE(whole.Text("format").empty());
    std::set<std::string> names;
    for (const nlohmann::json& one : whole.Raw("vectors")) {
      VectorObject vector(one, std::string(file_name) + ": " + one.at("name").get<std::string>());
      EXPECT_TRUE(names.insert(vector.Text("name")).second) << vector.place() << ": used twice";
      check(vector);
      ++count;
    }
  }
  EXPECT_GT(count, 0) << "no vectors in " << file_name;
}

}  // namespace portproof

#endif  // PORTPROOF_TESTDATA_VECTORS_VECTOR_READER_H_
