// What a testee wrote, for a terminal or a report.
//   shapes    bytes of any kind
//   returns   valid UTF-8 without control characters: what is neither becomes "\x1b".
//             Newlines and tabs stay where `lines` says that there are lines
//   holds     nothing
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_PRINTABLE_H_
#define PORTPROOF_ORACLE_SUITE_PRINTABLE_H_

#include <string>
#include <string_view>

namespace portproof::suite {

std::string Printable(std::string_view text, bool lines = false);

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_PRINTABLE_H_
