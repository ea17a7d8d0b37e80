// The texts of `portproof explain`, in the order of the rules; internal to rule_book.
#ifndef PORTPROOF_ORACLE_RULE_ENTRIES_H_
#define PORTPROOF_ORACLE_RULE_ENTRIES_H_

#include <array>

#include "oracle/rule_book.h"

namespace portproof {

extern const std::array<RuleEntry, kRuleCount> kRuleEntries;

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_RULE_ENTRIES_H_
