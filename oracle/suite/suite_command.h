// `portproof test`: the options, the run, the report, the exit status.
//   shapes    SuiteOptions: as the command line has them
//   returns   0 all good, 1 a case is not, 2 nothing to run or nobody to run it on,
//             3 the suite itself is at fault (a leak of its own, a liar not caught)
//   holds     nothing when it returns: its descriptors and children are counted
//   rules     all that UnobservableRules does not list
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_SUITE_COMMAND_H_
#define PORTPROOF_ORACLE_SUITE_SUITE_COMMAND_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace portproof::suite {

struct SuiteOptions {
  std::vector<std::string> testee;
  std::string profile;
  std::vector<std::string> only;  // globs
  std::vector<std::string> skip;
  bool list = false;
  std::string known_failures;
  uint64_t seed = 1;
  int random = 100;
  int shrinks = 3;  // failing conversations that are shrunk
  int jobs = 8;
  int timeout_ms = 5000;
  std::string keep_traces;
  std::string format = "text";
  bool quiet = false;
};

// `write` puts the report where --output says; its status is returned on success.
int TestCommand(const SuiteOptions& options,
                const std::function<int(const std::string& report, int status)>& write);

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_SUITE_COMMAND_H_
