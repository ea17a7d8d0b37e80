// What a run of the suite came to, for people, programs and build servers.
//   shapes    outcomes in the order of the cases
//   returns   text, JSON (TESTEE's shape) or JUnit's XML
//   holds     nothing
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_SUITE_REPORT_H_
#define PORTPROOF_ORACLE_SUITE_SUITE_REPORT_H_

#include <string>
#include <vector>

#include "oracle/suite/runner.h"

namespace portproof::suite {

struct SuiteReport {
  Json hello = Json::object();
  std::vector<Outcome> outcomes;
  std::string rerun;   // the command, up to the case: "portproof test --seed=1"
  std::string testee;  // and behind it: "-- ./testee"
  bool quiet = false;
};

bool Passes(const SuiteReport& report);
std::string SuiteText(const SuiteReport& report);
std::string SuiteJson(const SuiteReport& report);
std::string SuiteJunit(const SuiteReport& report);

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_SUITE_REPORT_H_
