// What a case came to, and how a case ends early.
//   shapes    Verdict: one of the ten. CaseEnd: thrown at the first expectation that is
//             not met; it names one rule, or none where the testee broke its own contract
//   returns   -
//   holds     texts
//   rules     whichever the expectation names
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_VERDICT_H_
#define PORTPROOF_ORACLE_SUITE_VERDICT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/rule.h"

namespace portproof::suite {

enum class Verdict : uint8_t {
  kPass,
  kFail,
  kNotReached,  // another rule than the case's was found broken first
  kXfail,
  kXpass,
  kUnsupported,
  kCrash,
  kTimeout,
  kLeak,
  kSuiteError,
};
inline constexpr int kVerdictCount = 10;

std::string_view Name(Verdict verdict);  // "SUITE-ERROR"
// Leaves exit status 0.
constexpr bool IsGood(Verdict verdict) {
  return verdict == Verdict::kPass || verdict == Verdict::kXfail ||
         verdict == Verdict::kUnsupported;
}

struct CaseEnd {
  Verdict verdict = Verdict::kFail;
  std::optional<Rule> rule = {};
  std::string expected;
  std::string seen;
  bool names_no_rule = false;  // nor is the case's own charged: it did not begin
};

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_VERDICT_H_
