// Which defect this run of the liar has.
//   shapes    a switch by its name, as the table lies.txt has it
//   returns   Lie("name"): whether that one is on
//   holds     the name
//   rules     the table says which each breaks
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_TESTEES_LIES_H_
#define PORTPROOF_ORACLE_SUITE_TESTEES_LIES_H_

#include <string>
#include <string_view>

namespace portproof::testee {

inline std::string& ChosenLie() {
  static std::string chosen;
  return chosen;
}
inline bool Lie(std::string_view name) { return ChosenLie() == name; }

}  // namespace portproof::testee

#endif  // PORTPROOF_ORACLE_SUITE_TESTEES_LIES_H_
