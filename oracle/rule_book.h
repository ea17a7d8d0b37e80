// What a person asks of a rule: why it exists, what keeps it, what breaks it, who checks.
//   shapes    one entry per rule
//   returns   the list as text, JSON or Markdown; one rule explained; who names it
//   holds     nothing; the table is constant
//   rules     all
//   source    none
#ifndef PORTPROOF_ORACLE_RULE_BOOK_H_
#define PORTPROOF_ORACLE_RULE_BOOK_H_

#include <optional>
#include <string>
#include <string_view>

#include "protocol/rule.h"

namespace portproof {

struct RuleEntry {
  Rule rule;
  std::string_view why;
  std::string_view conforming;
  std::string_view breaking;
};

const RuleEntry& Entry(Rule rule);

// "check", if a recording can show it, and "tests" of the reference implementation.
std::string CheckedBy(Rule rule);

std::string RulesText(std::string_view format);  // text, json, markdown
std::string ExplainText(Rule rule);
std::string IndexText(std::optional<Rule> rule);  // nullopt: of all

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_RULE_BOOK_H_
