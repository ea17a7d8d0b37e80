// Every rule that `check` judges has a story that breaks it and a neighbour that does not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "oracle/checker.h"
#include "oracle/testing.h"

namespace portproof {
namespace {

using testing::ElementsAreArray;
using testing::IsEmpty;

const nlohmann::json& Stories() {
  static const auto stories =
      nlohmann::json::parse(ReadFile(TestData("traces/stories.json")))["stories"];
  return stories;
}

TEST(Stories, BreakTheirRuleAndNoOther) {
  for (const auto& story : Stories()) {
    SCOPED_TRACE(story["story"].get<std::string>());
    const TraceReport report = JudgeFile(TestData("traces/" + story["breaks"].get<std::string>()));
    EXPECT_THAT(Broken(report),
                ElementsAreArray(story["expected"].get<std::vector<std::string>>()));
    EXPECT_EQ(report.log.damaged_count, 0u);
  }
}

TEST(Stories, HaveAConformingNeighbour) {
  for (const auto& story : Stories()) {
    SCOPED_TRACE(story["neighbour"].get<std::string>());
    const TraceReport report =
        JudgeFile(TestData("traces/" + story["conforms"].get<std::string>()));
    EXPECT_THAT(Broken(report), IsEmpty()) << report.result.findings.front().detail;
    EXPECT_EQ(report.log.damaged_count, 0u);
  }
}

TEST(Stories, PassWithTheirRuleSwitchedOff) {
  for (const auto& story : Stories()) {
    JudgeOptions options;
    for (const auto& id : story["expected"])
      options.off[static_cast<size_t>(*FindRule(id.get<std::string>()))] = true;
    const TraceReport report =
        JudgeFile(TestData("traces/" + story["breaks"].get<std::string>()), options);
    EXPECT_THAT(Broken(report), IsEmpty()) << story["rule"];
  }
}

TEST(Stories, AreThereForEveryRuleJudged) {
  std::set<std::string> told;
  std::set<std::string> files = {"stories.json"};
  for (const auto& story : Stories()) {
    EXPECT_TRUE(told.insert(story["rule"]).second) << story["rule"];
    EXPECT_THAT(story["expected"].get<std::vector<std::string>>(),
                testing::Contains(story["rule"].get<std::string>()));
    files.insert(story["breaks"]);
    files.insert(story["conforms"]);
  }
  std::set<std::string> judged;
  for (const Rule rule : Checker::Judged()) judged.emplace(Id(rule));
  EXPECT_EQ(told, judged);
  for (const auto& entry : std::filesystem::directory_iterator(TestData("traces"))) {
    EXPECT_TRUE(files.contains(entry.path().filename())) << entry.path() << " belongs to no story";
  }
}

}  // namespace
}  // namespace portproof
