// Plays cases on testees, each verdict its own, whatever the testee does.
//   shapes    RunnerOptions: what the command line said. An Outcome per case, in order
//   returns   Run: the outcomes, or why nothing could be run
//   holds     at most `jobs` testees at a time; all are ended when Run returns
//   rules     RCV-5 (a sanity message after each case), FDS-5 (a census)
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_RUNNER_H_
#define PORTPROOF_ORACLE_SUITE_RUNNER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "oracle/suite/case.h"
#include "oracle/suite/session.h"

namespace portproof::suite {

struct RunnerOptions {
  Program program;
  std::string profile;  // empty: each case's home
  int jobs = 4;
  int timeout_ms = 5000;
  int shrinks = 3;          // failing conversations that are shrunk
  std::string keep_traces;  // a directory, or empty
};

struct Outcome {
  std::string name;
  std::vector<Rule> rules;
  Verdict verdict = Verdict::kSuiteError;
  std::optional<Rule> broken;  // the rule of the expectation that failed
  std::string expected;
  std::string seen;
  std::vector<std::string> datagrams;  // as `dump` shows them, the last ones
  std::string conversation;            // random ones: as a story
  bool shrunk = false;                 // the conversation, or there was no time for it
  std::string profile;
  std::string errors;  // the end of the testee's standard error
  std::string reason;  // of a known failure
  int64_t ms = 0;
};

// One testee and what it was started with; replaced when it cannot go on.
class Bench {
 public:
  // `shrinks`: how many failing conversations may still be shrunk, of all benches.
  Bench(const RunnerOptions& options, const Hello& hello, std::atomic<int>& shrinks)
      : options_(options), hello_(hello), shrinks_(shrinks) {}
  ~Bench();
  Outcome Play(const Case& played);

 private:
  void Perform(const Case& played, Outcome& outcome);
  void Shrink(const Case& played, Outcome& outcome);
  void Ready(const Case& played, const StartParameters& start);
  void Start(const StartParameters& start);
  void WarmUp(Stage& stage);
  void Finish(const Case& played, Stage& stage);
  void CrossCheck(const StartParameters& start) const;
  StageConfig ConfigFor(const Case& played, const StartParameters& start) const;
  void Explain(Outcome& outcome, const StartParameters& start, bool no_rule);

  const RunnerOptions& options_;
  const Hello& hello_;
  std::atomic<int>& shrinks_;
  std::unique_ptr<Session> session_;
  StartParameters started_;
  uint32_t max_size_ = 0;
  std::set<uint8_t> handled_;
  std::map<FileId, OpenFile> baseline_;
};

// Launches the testee once, for its hello. Empty: `outcome` or `unrunnable` says why.
std::optional<Hello> AskHello(const RunnerOptions& options, Outcome& outcome,
                              std::string& unrunnable);
std::vector<Outcome> RunCases(const RunnerOptions& options, const Hello& hello,
                              const CaseList& cases);
// A liar of our own must fail where it lies; what is wrong if it does not.
std::string CheckHonesty();

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_RUNNER_H_
