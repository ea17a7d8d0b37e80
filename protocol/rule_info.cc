#include "protocol/rule_info.h"

#include "protocol/rule.h"

namespace portproof {

std::optional<Rule> FindRule(std::string_view id) {
  for (size_t i = 0; i < kRuleCount; ++i) {
    const auto rule = static_cast<Rule>(i);
    if (Id(rule) == id) return rule;
  }
  return std::nullopt;
}

std::string_view Name(Level level) {
  switch (level) {
    case Level::kMust:
      return "MUST";
    case Level::kShould:
      return "SHOULD";
  }
  return "";
}

std::string_view Name(Bound bound) {
  switch (bound) {
    case Bound::kSender:
      return "sender";
    case Bound::kReceiver:
      return "receiver";
    case Bound::kBoth:
      return "both";
  }
  return "";
}

}  // namespace portproof
