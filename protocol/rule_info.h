// What is known of a rule: its id, level, who is bound, and its text.
//   shapes    `text` is the whole row of protocol/README.md in UTF-8, without the marks of
//             Markdown; `sentence` is its first sentence, for lists and reports
//   returns   FindRule: the rule of an id ("FRG-1"), or nullopt; ids are case sensitive
//   holds     nothing; the table is constant
//   rules     all
//   source    no original. rule.h has the rules and rule.cc the table, both generated
//             from protocol/README.md; include rule.h
#ifndef PORTPROOF_PROTOCOL_RULE_INFO_H_
#define PORTPROOF_PROTOCOL_RULE_INFO_H_

#include <cstdint>
#include <optional>
#include <string_view>

namespace portproof {

enum class Rule : uint8_t;

// Broken: kMust is an error, kShould a warning.
enum class Level : uint8_t { kMust, kShould };

enum class Bound : uint8_t { kSender, kReceiver, kBoth };

struct RuleInfo {
  Rule rule;
  std::string_view id;
  Level level;
  Bound bound;
  std::string_view sentence;
  std::string_view text;
};

const RuleInfo& Info(Rule rule);
inline std::string_view Id(Rule rule) { return Info(rule).id; }
std::optional<Rule> FindRule(std::string_view id);

std::string_view Name(Level level);  // "MUST", "SHOULD"
std::string_view Name(Bound bound);  // "sender", "receiver", "both"

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_RULE_INFO_H_
