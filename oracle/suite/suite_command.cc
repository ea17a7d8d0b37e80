#include "oracle/suite/suite_command.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "oracle/suite/observer.h"
#include "oracle/suite/process.h"
#include "oracle/suite/random_cases.h"
#include "oracle/suite/suite_report.h"

namespace portproof::suite {
namespace {

constexpr int kGood = 0;
constexpr int kBad = 1;
constexpr int kUsage = 2;
constexpr int kOurFault = 3;

int Complain(const std::string& what, int status) {
  std::cerr << "portproof: " << what << "\n";
  return status;
}

// CASE  # reason
bool ReadKnown(const std::string& file, std::map<std::string, std::string>& known,
               std::string& error) {
  std::ifstream in(file);
  if (!in) return error = absl::StrCat(file, ": cannot be read"), false;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    const size_t mark = line.find('#');
    std::string name = line.substr(0, mark);
    while (!name.empty() && std::isspace(static_cast<unsigned char>(name.back())) != 0)
      name.pop_back();
    if (name.empty()) continue;
    if (name.find('/') == std::string::npos || name.find(' ') != std::string::npos)
      return error = absl::StrCat(file, ":", number, ": expected CASE  # reason"), false;
    known[name] = "known";
    const size_t reason = mark == std::string::npos ? mark : line.find_first_not_of("# ", mark);
    if (reason != std::string::npos) known[name] = line.substr(reason);
  }
  if (in.bad()) return error = absl::StrCat(file, ": cannot be read"), false;
  return true;
}

bool Selected(const SuiteOptions& options, const std::string& name) {
  const auto matches = [&](const std::string& glob) { return GlobMatches(glob, name); };
  if (!options.only.empty() && std::none_of(options.only.begin(), options.only.end(), matches))
    return false;
  return std::none_of(options.skip.begin(), options.skip.end(), matches);
}

CaseList Select(const SuiteOptions& options) {
  CaseList all = FixedCases();
  AddRandomCases(all, options.seed, options.random);
  CaseList selected;
  for (Case& one : all) {
    const std::string profile = options.profile.empty() ? one.home : options.profile;
    if (!Selected(options, one.name)) continue;
    if (!options.profile.empty() && one.applies != nullptr &&
        !one.applies(*ResolveProfile(profile)->profile))
      continue;
    selected.push_back(std::move(one));
  }
  return selected;
}

std::string ListText(const CaseList& cases) {
  std::string text;
  for (const Case& one : cases) {
    std::vector<std::string> rules;
    for (const Rule rule : one.rules) rules.emplace_back(Id(rule));
    absl::StrAppend(&text, one.name, "  ", absl::StrJoin(rules, " "), "\n");
  }
  text += "\nRules without a case:\n";
  for (const Unobservable& none : UnobservableRules())
    absl::StrAppend(&text, "  ", std::string(Id(none.rule)), "  ", none.why, "\n");
  return text;
}

void ApplyKnown(const std::map<std::string, std::string>& known, std::vector<Outcome>& outcomes) {
  for (Outcome& outcome : outcomes) {
    const auto found = known.find(outcome.name);
    if (found == known.end()) continue;
    outcome.reason = found->second;
    if (outcome.verdict == Verdict::kPass) {
      outcome.verdict = Verdict::kXpass;
      outcome.expected = "a failure, as the file of known failures says";
      outcome.seen = "it passes: take the line out";
    } else if (!IsGood(outcome.verdict) && outcome.verdict != Verdict::kSuiteError) {
      outcome.verdict = Verdict::kXfail;
    }
  }
}

std::string Quoted(const std::string& text) {
  const std::string plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+@";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

SuiteReport ReportOf(const SuiteOptions& options) {
  SuiteReport report;
  report.quiet = options.quiet;
  report.rerun = absl::StrCat("portproof test --seed=", options.seed, " --random=", options.random);
  if (!options.profile.empty()) absl::StrAppend(&report.rerun, " --profile=", options.profile);
  report.testee = "--";
  for (const std::string& argument : options.testee)
    absl::StrAppend(&report.testee, " ", Quoted(argument));
  return report;
}

int OpenHere() {
  int count = 0;
  for (const auto& [file, open] : OpenFiles(getpid())) count += open.count;
  return count;
}

std::string Render(const SuiteOptions& options, const SuiteReport& report) {
  if (options.format == "json") return SuiteJson(report);
  if (options.format == "junit") return SuiteJunit(report);
  return SuiteText(report);
}

// Everything between the first testee and the last.
int RunOn(const SuiteOptions& options, const CaseList& cases,
          const std::map<std::string, std::string>& known, SuiteReport& report) {
  RunnerOptions runner;
  runner.program.argv = options.testee;
  runner.profile = options.profile;
  runner.jobs = options.jobs;
  runner.timeout_ms = options.timeout_ms;
  runner.shrinks = options.shrinks;
  runner.keep_traces = options.keep_traces;
  Outcome greeting;
  std::string unrunnable;
  const auto hello = AskHello(runner, greeting, unrunnable);
  if (!unrunnable.empty()) return Complain(unrunnable, kUsage);
  if (!hello) {
    report.outcomes.push_back(greeting);
    return kBad;
  }
  report.hello = hello->said;
  report.outcomes = RunCases(runner, *hello, cases);
  ApplyKnown(known, report.outcomes);
  return Passes(report) ? kGood : kBad;
}

}  // namespace

int TestCommand(const SuiteOptions& options,
                const std::function<int(const std::string& report, int status)>& write) {
  if (!options.profile.empty() && !ResolveProfile(options.profile))
    return Complain(
        absl::StrCat("unknown profile ", options.profile, "; there are: ", KnownProfiles()),
        kUsage);
  const CaseList cases = Select(options);
  if (cases.empty()) return Complain("no case selected; --list shows them", kUsage);
  if (options.list) return write(ListText(cases), kGood);
  if (options.testee.empty())
    return Complain("no testee; expected: portproof test [options] -- TESTEE [ARG...]", kUsage);
  std::map<std::string, std::string> known;
  std::string error;
  if (!options.known_failures.empty() && !ReadKnown(options.known_failures, known, error))
    return Complain(error, kUsage);
  std::set<std::string> names;
  for (const Case& one : FixedCases()) names.insert(one.name);
  for (const Case& one : cases) names.insert(one.name);
  for (const auto& [name, reason] : known) {
    if (!names.contains(name))
      return Complain(absl::StrCat(options.known_failures, ": no such case: ", name), kUsage);
  }
  if (!options.keep_traces.empty()) {
    std::error_code failed;
    std::filesystem::create_directories(options.keep_traces, failed);
    if (access(options.keep_traces.c_str(), W_OK | X_OK) != 0 ||
        !std::filesystem::is_directory(options.keep_traces, failed))
      return Complain(absl::StrCat(options.keep_traces, ": cannot write traces there"), kUsage);
  }
  std::signal(SIGPIPE, SIG_IGN);
  AdoptOrphans();
  const int open_before = OpenHere();
  if (const std::string dishonest = CheckHonesty(); !dishonest.empty())
    return Complain(absl::StrCat("SUITE-ERROR: ", dishonest), kOurFault);
  SuiteReport report = ReportOf(options);
  int status = RunOn(options, cases, known, report);
  ReapStrays();
  if (OpenHere() != open_before)
    return Complain(absl::StrCat("SUITE-ERROR: ", OpenHere() - open_before,
                                 " descriptors of our own left open"),
                    kOurFault);
  if (status == kUsage) return status;
  return write(Render(options, report), status);
}

}  // namespace portproof::suite
