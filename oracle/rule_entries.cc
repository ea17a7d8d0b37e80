#include "oracle/rule_entries.h"
namespace portproof {
const std::array<RuleEntry, kRuleCount> kRuleEntries = {};
}
