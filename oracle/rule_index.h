// Where a rule is carried out, judged, tested and shown.
//   shapes    a block of text for each rule: its id and first sentence, then a line for each
//             that names it; protocol/rule_index.py says who counts
//   returns   the block, as of this build
//   holds     nothing; the text is constant
//   rules     all
//   source    no original; rule_index.cc is generated
#ifndef PORTPROOF_ORACLE_RULE_INDEX_H_
#define PORTPROOF_ORACLE_RULE_INDEX_H_

#include <string_view>

#include "protocol/rule.h"

namespace portproof {

std::string_view IndexOf(Rule rule);

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_RULE_INDEX_H_
