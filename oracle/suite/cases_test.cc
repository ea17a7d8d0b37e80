// The list of cases: each rule has one or a reason to have none, each name is one.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "oracle/suite/case.h"
#include "oracle/suite/random_cases.h"
#include "protocol/rule.h"

namespace portproof::suite {
namespace {

TEST(Cases, EachRuleHasACaseOrAReasonToHaveNone) {
  std::set<Rule> covered;
  for (const Case& one : FixedCases()) covered.insert(one.rules.begin(), one.rules.end());
  std::set<Rule> excused;
  for (const Unobservable& none : UnobservableRules()) excused.insert(none.rule);
  for (size_t i = 0; i < kRuleCount; ++i) {
    const auto rule = static_cast<Rule>(i);
    EXPECT_NE(covered.contains(rule), excused.contains(rule)) << Id(rule);
  }
}

TEST(Cases, NamesAreUniqueAndBeginWithTheirRule) {
  std::set<std::string> names;
  for (const Case& one : FixedCases()) {
    EXPECT_TRUE(names.insert(one.name).second) << one.name;
    const std::string first = one.name.substr(0, one.name.find('/'));
    if (first == "TESTEE") continue;
    ASSERT_FALSE(one.rules.empty()) << one.name;
    EXPECT_EQ(first, Id(one.rules.front()));
  }
}

TEST(Cases, EachThatSendsIsWrittenBothWaysOrSaysWhyNot) {
  std::set<std::string> names;
  for (const Case& one : FixedCases()) names.insert(one.name);
  std::set<std::string> batched;
  for (const OnlyBatched& only : OnlyBatchedCases()) {
    EXPECT_TRUE(names.contains(only.name)) << only.name;
    batched.insert(only.name);
  }
  for (const Case& one : FixedCases()) {
    if (one.role != "sender" || !one.starts || one.direct) continue;
    EXPECT_NE(names.contains(one.name + kDirectly), batched.contains(one.name)) << one.name;
  }
}

TEST(Cases, EachAppliesToItsHome) {
  for (const Case& one : FixedCases()) {
    const auto home = ResolveProfile(one.home);
    ASSERT_TRUE(home.has_value()) << one.name;
    EXPECT_TRUE(one.applies == nullptr || one.applies(*home->profile)) << one.name;
  }
}

TEST(RandomCases, ASeedGivesTheSameConversations) {
  CaseList first;
  CaseList second;
  CaseList other;
  AddRandomCases(first, 5, 40);
  AddRandomCases(second, 5, 40);
  AddRandomCases(other, 6, 40);
  ASSERT_EQ(first.size(), 40u);
  bool differs = false;
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].conversation, second[i].conversation);
    differs = differs || first[i].conversation != other[i].conversation;
  }
  EXPECT_TRUE(differs);
}

}  // namespace
}  // namespace portproof::suite
