#include "oracle/suite/runner.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <map>
#include <thread>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "oracle/checker.h"
#include "oracle/conversation/generate.h"
#include "oracle/suite/canary.h"
#include "oracle/suite/case_trace.h"
#include "oracle/suite/random_cases.h"

namespace portproof::suite {
namespace {

constexpr int kQuitMs = 200;
constexpr size_t kGroup = 16;  // cases that share a testee, at most
constexpr int kShrinkPlays = 300;
constexpr auto kShrinkTime = std::chrono::seconds(2);

// The testee's own name of a profile, where it calls it by another release of its row.
std::string AsItSays(const Hello& hello, const std::string& profile) {
  if (hello.profiles.contains(profile)) return profile;
  const Profile* const row = ResolveProfile(profile)->profile;
  for (const std::string& said : hello.profiles) {
    const auto resolved = ResolveProfile(said);
    if (resolved && resolved->profile == row) return said;
  }
  return profile;
}

std::string Lacks(const Case& played, const Hello& hello, const std::string& profile) {
  if (!hello.profiles.empty() && !hello.profiles.contains(profile)) return "profile " + profile;
  if (!played.role.empty() && !hello.roles.contains(played.role)) return "role " + played.role;
  for (const std::string& feature : played.needs) {
    if (!hello.features.contains(feature)) return "feature " + feature;
  }
  return "";
}

// The case's own rules were not judged. A conversation is about them all.
bool IsAnothers(const Case& played, const CaseEnd& end) {
  if (end.verdict != Verdict::kFail || !end.rule || played.rules.empty() || played.conversation)
    return false;
  return std::find(played.rules.begin(), played.rules.end(), *end.rule) == played.rules.end();
}

// The MAX in force: not above the one asked for.
bool IsMax(const Json& said, const StartParameters& start) {
  constexpr uint32_t kLeast = 64;  // SND-11
  return said.is_number_unsigned() && said.get<uint64_t>() >= kLeast &&
         said.get<uint64_t>() <= start.max_size;
}

// Cases that may share a testee, those that start alike. What is in a group depends on the
// cases alone, so that no verdict depends on which worker is faster.
std::vector<std::vector<size_t>> GroupsOf(const CaseList& cases) {
  std::map<std::tuple<bool, std::string, uint32_t, uint32_t>, size_t> open;
  std::vector<std::vector<size_t>> groups;
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& one = cases[i];
    const auto [at, added] =
        open.try_emplace({one.fresh, one.home, one.max_size, one.max_share}, groups.size());
    if (!added && groups[at->second].size() == (one.fresh ? 1 : kGroup)) at->second = groups.size();
    if (at->second == groups.size()) groups.emplace_back();
    groups[at->second].push_back(i);
  }
  return groups;
}

}  // namespace

Bench::~Bench() {
  if (session_ != nullptr) session_->Quit(true, kQuitMs);
}

void Bench::Start(const StartParameters& start) {
  session_.reset();
  session_ = Session::Launch(options_.program, options_.timeout_ms);
  started_ = start;
}

StageConfig Bench::ConfigFor(const Case& played, const StartParameters& start) const {
  StageConfig config;
  config.profile = ResolveProfile(start.profile)->profile;
  config.start = start;
  config.max_size = max_size_;
  config.handled = handled_;
  config.timeout_ms = options_.timeout_ms;
  config.direct = played.direct;
  config.free_files = played.free_files;
  if (!played.rules.empty()) config.own_rule = played.rules.front();
  return config;
}

void Bench::WarmUp(Stage& stage) {
  if (hello_.roles.contains("receiver"))
    stage.Post(Datagram(1).Bytes(10).Fds(stage.Has("fds") ? 1 : 0));
  if (hello_.roles.contains("sender")) {
    Message message;
    message.type = stage.plain_type();
    message.stream = 1;
    message.chain = {{.bytes = 10, .seed = 1}};
    message.fds = stage.Has("fds") ? 1 : 0;
    message.close_fd = true;
    stage.TryWrite(message);
  }
  stage.RunOnce();
  stage.Reset();
}

void Bench::Ready(const Case& played, const StartParameters& start) {
  const bool same = session_ != nullptr && started_ == start && !played.fresh;
  if (same) return;
  Start(start);
  max_size_ = start.max_size;
  handled_.clear();
  if (!played.starts) return;
  const Json answer = session_->Ask({{"cmd", "start"},
                                     {"profile", start.profile},
                                     {"pid", session_->hello().pid},
                                     {"peer_pid", getpid()},
                                     {"port_id", 1},
                                     {"max_size", start.max_size},
                                     {"max_share", start.max_share}});
  if (answer.value("unsupported", Json()) == true)
    throw CaseEnd{Verdict::kFail, std::nullopt, "a start in a profile of its hello", answer.dump()};
  if (answer.value("ok", Json()) != true || !IsMax(answer.value("max_size", Json()), start) ||
      !answer.value("types", Json()).is_array())
    throw CaseEnd{
        Verdict::kFail, std::nullopt,
        "{\"ok\":true,\"max_size\":...,\"types\":[...]}, not above the max_size asked for",
        answer.dump()};
  max_size_ = answer["max_size"].get<uint32_t>();
  const Profile& profile = *ResolveProfile(start.profile)->profile;
  for (size_t number = 0; number < profile.types.size(); ++number) {
    const std::string name(Name(profile.types[number]));
    if (std::find(answer["types"].begin(), answer["types"].end(), Json(name)) !=
        answer["types"].end())
      handled_.insert(static_cast<uint8_t>(number));
  }
  Stage stage(*session_, ConfigFor(played, start));
  WarmUp(stage);
  stage.TakeBaseline();
  baseline_ = stage.baseline();
}

void Bench::Finish(const Case& played, Stage& stage) {
  if (played.ends_port) return;
  const bool receiver = hello_.roles.contains("receiver");
  if (receiver && played.role == "receiver") stage.Sanity();
  stage.Census(Rule::kFds5);
  stage.Reset();
  stage.Census(played.role == "sender" ? Rule::kSnd9 : Rule::kFds5);
}

// Events without their times: how long something took is the machine's doing as well.
class Untimed : public EventSink {
 public:
  explicit Untimed(EventSink& sink) : sink_(sink) {}
  void OnEvent(const Event& event) override {
    Event untimed = event;
    untimed.time_us = kNoTime;
    sink_.OnEvent(untimed);
  }

 private:
  EventSink& sink_;
};

// What the recorder of the traffic says of the testee's datagrams, where we said nothing.
void Bench::CrossCheck(const StartParameters& start) const {
  CheckOptions options;
  options.profile = ResolveProfile(start.profile)->profile;
  Checker checker(options);
  Untimed untimed(checker);
  ReplayRecord(session_->link().record(), 'b', untimed);
  const CheckResult result = checker.Finish();
  for (const Violation& found : result.findings) {
    if (found.severity != Severity::kError) continue;
    throw CaseEnd{Verdict::kFail, found.rule, "a trace that `portproof check` finds nothing in",
                  found.detail};
  }
}

void Bench::Perform(const Case& played, Outcome& outcome) {
  StartParameters start;
  start.profile = AsItSays(hello_, outcome.profile);
  start.max_size = played.max_size;
  start.max_share = played.max_share;
  const std::string lacking = Lacks(played, hello_, start.profile);
  if (!lacking.empty()) {
    outcome.verdict = Verdict::kUnsupported;
    outcome.expected = lacking;
    return;
  }
  bool no_rule = false;
  bool played_out = false;
  try {
    Ready(played, start);
    session_->link().record().clear();
    Stage stage(*session_, ConfigFor(played, start));
    stage.set_baseline(baseline_);
    played.play(stage);
    played_out = true;
    Finish(played, stage);
    if (!played.ends_port) CrossCheck(start);
    outcome.verdict = Verdict::kPass;
  } catch (const CaseEnd& end) {
    outcome.verdict = end.verdict;
    outcome.broken = end.rule;
    outcome.expected = end.expected;
    outcome.seen = end.seen;
    no_rule = end.names_no_rule;
    if (!played_out && IsAnothers(played, end)) outcome.verdict = Verdict::kNotReached;
  } catch (const Json::type_error& error) {
    outcome.verdict = Verdict::kFail;
    outcome.expected = "answers whose keys have the types they should have";
    outcome.seen = error.what();
  } catch (const std::exception& error) {
    outcome.verdict = Verdict::kSuiteError;
    outcome.seen = error.what();
  }
  Explain(outcome, start, no_rule);
  if (outcome.verdict != Verdict::kPass && outcome.verdict != Verdict::kUnsupported)
    session_.reset();
  if (played.fresh && session_ != nullptr) {
    session_->Quit(true, kQuitMs);
    session_.reset();
  }
}

void Bench::Explain(Outcome& outcome, const StartParameters& start, bool no_rule) {
  const bool failed = outcome.verdict != Verdict::kPass && outcome.verdict != Verdict::kUnsupported;
  const bool piped = session_ != nullptr && outcome.verdict == Verdict::kCrash &&
                     session_->process().signal() == SIGPIPE;
  if (piped) outcome.broken = Rule::kSnd10;
  // A crash, silence, or nonsense is charged to what the case was about.
  if (failed && !no_rule && !outcome.broken && !outcome.rules.empty() &&
      outcome.verdict != Verdict::kSuiteError) {
    outcome.broken = outcome.rules.front();
  }
  if (session_ == nullptr) return;
  const Profile& profile = *ResolveProfile(start.profile)->profile;
  if (failed) {
    outcome.datagrams = DumpRecord(session_->link().record(), profile);
    outcome.errors = session_->Errors();
  }
  if (!options_.keep_traces.empty() && outcome.verdict != Verdict::kUnsupported) {
    const std::string error =
        WriteRecord(session_->link().record(), outcome.profile, options_.keep_traces, outcome.name);
    if (!error.empty()) {
      outcome.verdict = Verdict::kSuiteError;
      outcome.seen = error;
    }
  }
}

// The smallest conversation found that breaks the same rule, and what it looks like.
void Bench::Shrink(const Case& played, Outcome& outcome) {
  outcome.conversation = conversation::ToString(*played.conversation);
  if (shrinks_.fetch_sub(1) <= 0) return;
  const auto until = Clock::now() + kShrinkTime;
  int plays = 0;
  Outcome smallest = outcome;
  const conversation::Conversation small =
      conversation::Minimize(*played.conversation, [&](const conversation::Conversation& smaller) {
        if (++plays > kShrinkPlays || Clock::now() > until) return false;
        Outcome again;
        again.name = outcome.name;
        again.rules = outcome.rules;
        again.profile = outcome.profile;
        Perform(CaseOf(played.name, smaller, played.sends), again);
        if (again.verdict != outcome.verdict || again.broken != outcome.broken) return false;
        smallest = again;
        return true;
      });
  outcome = smallest;
  outcome.conversation = conversation::ToString(small);
  outcome.shrunk = true;
}

Outcome Bench::Play(const Case& played) {
  Outcome outcome;
  outcome.name = played.name;
  outcome.rules = played.rules;
  outcome.profile = options_.profile.empty() ? played.home : options_.profile;
  const auto begun = Clock::now();
  Perform(played, outcome);
  if (played.conversation && outcome.verdict == Verdict::kFail) Shrink(played, outcome);
  outcome.ms = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();
  return outcome;
}

std::optional<Hello> AskHello(const RunnerOptions& options, Outcome& outcome,
                              std::string& unrunnable) {
  outcome.name = "TESTEE/hello";
  try {
    const auto session = Session::Launch(options.program, options.timeout_ms, &unrunnable);
    const Hello hello = session->hello();
    session->Quit(true, kQuitMs);
    return hello;
  } catch (const CaseEnd& end) {
    outcome.verdict = end.verdict;
    outcome.expected = end.expected;
    outcome.seen = end.seen;
  }
  return std::nullopt;
}

std::vector<Outcome> RunCases(const RunnerOptions& options, const Hello& hello,
                              const CaseList& cases) {
  std::vector<Outcome> outcomes(cases.size());
  const std::vector<std::vector<size_t>> groups = GroupsOf(cases);
  std::atomic<size_t> next = 0;
  std::atomic<int> shrinks = options.shrinks;
  const auto work = [&] {
    for (size_t group = next.fetch_add(1); group < groups.size(); group = next.fetch_add(1)) {
      Bench bench(options, hello, shrinks);
      for (const size_t i : groups[group]) outcomes[i] = bench.Play(cases[i]);
    }
  };
  std::vector<std::thread> workers;
  for (int i = 0; i < std::max(1, options.jobs); ++i) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
  return outcomes;
}

std::string CheckHonesty() {
  RunnerOptions options;
  options.program.body = RunCanary;
  Outcome failed;
  std::string unrunnable;
  const auto hello = AskHello(options, failed, unrunnable);
  if (!hello) return absl::StrCat("the built-in liar did not start: ", failed.seen);
  Case lies;
  lies.name = "RCV-3/one-message-is-one-delivery";
  lies.rules = {Rule::kRcv3};
  lies.play = [](Stage& stage) {
    stage.Post(Datagram(1).Bytes(10));
    stage.Settle();
  };
  std::atomic<int> shrinks = 0;
  Bench bench(options, *hello, shrinks);
  const Outcome outcome = bench.Play(lies);
  if (outcome.verdict == Verdict::kFail && outcome.broken == Rule::kRcv3) return "";
  return absl::StrCat("the built-in liar was not caught: ", std::string(Name(outcome.verdict)), " ",
                      outcome.seen);
}

}  // namespace portproof::suite
