// Verdicts for people and for programs.
//   shapes    the reports of one run, in the order the traces were named
//   returns   text or JSON, byte for byte the same for the same reports
//   holds     nothing
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_REPORT_H_
#define PORTPROOF_ORACLE_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "oracle/judge.h"

namespace portproof {

struct ReportOptions {
  bool strict = false;                   // warnings and damaged lines count as errors
  uint64_t max_violations = UINT64_MAX;  // printed per trace; all are counted
  bool color = false;
  bool quiet = false;  // text: nothing of traces that conform
};

// Errors, and with strict warnings and damaged lines.
bool Violates(const TraceReport& report, bool strict);

std::string TextReport(const std::vector<TraceReport>& reports, const ReportOptions& options);
std::string JsonReport(const std::vector<TraceReport>& reports, const ReportOptions& options);

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_REPORT_H_
