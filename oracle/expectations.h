// Known violations: `RULE [PORT [STREAM]]  # reason`, one a line.
//   shapes    text of a file; findings of all traces of a run
//   returns   Parse: the expectations, or the line that is none. Apply: removes what was
//             expected from the reports; what no longer occurs becomes an error of the run
//   holds     one entry per line
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_EXPECTATIONS_H_
#define PORTPROOF_ORACLE_EXPECTATIONS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "oracle/judge.h"

namespace portproof {

struct Expectation {
  Rule rule = Rule::kHdr1;
  std::string port;  // empty: any
  std::optional<uint32_t> stream;
  std::string reason;
  uint64_t line = 0;
  bool met = false;
};

absl::StatusOr<std::vector<Expectation>> ParseExpectations(const std::string& file);

// The expectations that nothing met, one message each.
std::vector<std::string> ApplyExpectations(std::vector<Expectation>& expectations,
                                           std::vector<TraceReport>& reports);

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_EXPECTATIONS_H_
