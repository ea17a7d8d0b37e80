#include "oracle/rule_book.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "oracle/checker.h"
#include "oracle/rule_entries.h"
#include "oracle/rule_index.h"

namespace portproof {
namespace {

bool JudgedByCheck(Rule rule) {
  static const std::vector<Rule> judged = Checker::Judged();
  return std::find(judged.begin(), judged.end(), rule) != judged.end();
}

std::string Text(std::string_view view) { return std::string(view); }

std::string RulesJson() {
  nlohmann::ordered_json rules = nlohmann::ordered_json::array();
  for (size_t i = 0; i < kRuleCount; ++i) {
    const RuleInfo& info = Info(static_cast<Rule>(i));
    rules.push_back({{"id", info.id},
                     {"level", Name(info.level)},
                     {"who", Name(info.bound)},
                     {"sentence", info.sentence},
                     {"text", info.text},
                     {"checked_by", CheckedBy(info.rule)}});
  }
  return nlohmann::ordered_json{{"portproof", 1}, {"rules", rules}}.dump(1) + "\n";
}

}  // namespace

const RuleEntry& Entry(Rule rule) { return kRuleEntries[static_cast<size_t>(rule)]; }

std::string CheckedBy(Rule rule) { return JudgedByCheck(rule) ? "check, tests" : "tests"; }

std::string RulesText(std::string_view format) {
  if (format == "json") return RulesJson();
  std::string text;
  if (format == "markdown")
    text = "| id | level | who | rule | checked by |\n|---|---|---|---|---|\n";
  for (size_t i = 0; i < kRuleCount; ++i) {
    const RuleInfo& info = Info(static_cast<Rule>(i));
    if (format == "markdown") {
      absl::StrAppend(&text, "| ", Text(info.id), " | ", Text(Name(info.level)), " | ",
                      Text(Name(info.bound)), " | ", Text(info.sentence), " | ",
                      CheckedBy(info.rule), " |\n");
    } else {
      std::string row =
          absl::StrCat(Text(info.id), std::string(8 - info.id.size(), ' '), Text(Name(info.level)));
      row.resize(15, ' ');
      row += Text(Name(info.bound));
      row.resize(25, ' ');
      absl::StrAppend(&text, row, Text(info.sentence), "  [", CheckedBy(info.rule), "]\n");
    }
  }
  return text;
}

std::string ExplainText(Rule rule) {
  const RuleInfo& info = Info(rule);
  const RuleEntry& entry = Entry(rule);
  return absl::StrCat(Text(info.id), "  ", Text(Name(info.level)), ", binds ",
                      info.bound == Bound::kBoth ? "sender and receiver"
                                                 : absl::StrCat("the ", Text(Name(info.bound))),
                      "\n  ", Text(info.text), "\n\nWhy\n  ", Text(entry.why), "\n\nConforming\n  ",
                      Text(entry.conforming), "\n\nBreaking\n  ", Text(entry.breaking),
                      "\n\nChecked by\n  ", CheckedBy(rule), "\n");
}

std::string IndexText(std::optional<Rule> rule) {
  if (rule) return Text(IndexOf(*rule));
  std::string text;
  for (size_t i = 0; i < kRuleCount; ++i) {
    absl::StrAppend(&text, i == 0 ? "" : "\n", Text(IndexOf(static_cast<Rule>(i))));
  }
  return text;
}

}  // namespace portproof
