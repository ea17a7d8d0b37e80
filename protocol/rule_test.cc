// The table of rules: each once, found by its id.
#include "protocol/rule.h"

#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <string>

namespace portproof {
namespace {

TEST(Rule, HasARowEachWithAnIdOfItsOwn) {
  std::set<std::string_view> ids;
  for (size_t i = 0; i < kRuleCount; ++i) {
    const RuleInfo& info = Info(static_cast<Rule>(i));
    EXPECT_EQ(static_cast<size_t>(info.rule), i);
    EXPECT_TRUE(ids.insert(info.id).second) << info.id;
    EXPECT_TRUE(std::regex_match(std::string(info.id), std::regex("[A-Z]{3}-[1-9][0-9]?")));
    EXPECT_TRUE(info.sentence.ends_with('.')) << info.id;
    EXPECT_TRUE(info.text.starts_with(info.sentence)) << info.id;
    EXPECT_EQ(FindRule(info.id), info.rule);
  }
  EXPECT_EQ(ids.size(), kRuleCount);
}

TEST(Rule, IsNumberedWithoutGapsInEachFamily) {
  std::string family;
  int number = 0;
  for (size_t i = 0; i < kRuleCount; ++i) {
    const std::string id(Id(static_cast<Rule>(i)));
    number = id.substr(0, 3) == family ? number + 1 : 1;
    family = id.substr(0, 3);
    EXPECT_EQ(id, family + "-" + std::to_string(number));
  }
}

TEST(Rule, IsNotFoundByAnIdThatIsNone) {
  for (const char* id : {"", "FRG", "FRG-", "FRG-0", "FRG-11", "frg-1", "FRG-1 ", "FRG-01"}) {
    EXPECT_FALSE(FindRule(id)) << id;
  }
}

TEST(Rule, SaysWhoIsBoundAndHowMuch) {
  EXPECT_EQ(Info(Rule::kFrg6).level, Level::kShould);
  EXPECT_EQ(Info(Rule::kFrg5).bound, Bound::kSender);
  EXPECT_EQ(Info(Rule::kFrg8).bound, Bound::kReceiver);
  EXPECT_EQ(Name(Level::kMust), "MUST");
  EXPECT_EQ(Name(Level::kShould), "SHOULD");
  EXPECT_EQ(Name(Bound::kSender), "sender");
  EXPECT_EQ(Name(Bound::kReceiver), "receiver");
  EXPECT_EQ(Name(Bound::kBoth), "both");
}

TEST(Rule, HasTheWholeTextOfTheSpecification) {
  EXPECT_EQ(Info(Rule::kFds4).sentence, "No SCM_RIGHTS in this datagram means no fd.");
  EXPECT_EQ(Info(Rule::kFds4).text,
            "No SCM_RIGHTS in this datagram means no fd. Nothing is taken from a previous "
            "datagram's control data.");
  EXPECT_NE(Info(Rule::kShm7).text.find("⌈n/16384⌉"), std::string_view::npos);
  EXPECT_EQ(Info(Rule::kSnd6).text.find('*'), std::string_view::npos);
}

TEST(Rule, IsASHOULDOnlyWhereTheSpecificationSaysSo) {
  const std::set<std::string_view> should = {"HDR-7", "FRG-6", "FRG-7", "SHM-11"};
  for (size_t i = 0; i < kRuleCount; ++i) {
    const RuleInfo& info = Info(static_cast<Rule>(i));
    EXPECT_EQ(info.level == Level::kShould, should.contains(info.id)) << info.id;
  }
}

}  // namespace
}  // namespace portproof
