#include "oracle/judge.h"

#include <deque>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "oracle/guess.h"
#include "oracle/jsonl_reader.h"
#include "oracle/line_source.h"
#include "oracle/strace_reader.h"
#include "oracle/strace_text.h"

namespace portproof {
namespace {

constexpr uint64_t kGuessDatagrams = 2000;
constexpr size_t kGuessBytes = size_t{8} << 20;

bool LooksLikeJson(std::string_view line) {
  const size_t brace = line.find_first_not_of(" \t");
  if (brace == std::string_view::npos || line[brace] != '{') return false;
  const size_t key = line.find_first_not_of(" \t", brace + 1);
  return key != std::string_view::npos && (line[key] == '"' || line[key] == '}');
}

// Is this a file of strace -ff: named after a thread, and no line names one?
bool IsThreadFile(const std::string& file) {
  if (TidOfFileName(file) == kNoPid) return false;
  auto source = LineSource::Open(file, false);
  if (!source.ok()) return false;
  std::string_view line;
  if (!(*source)->Peek(line) || LooksLikeJson(line)) return false;
  const StraceLine split = SplitLine(line);
  return split.kind != LineKind::kBad && split.tid == kNoPid;
}

}  // namespace

std::vector<TraceInput> GroupInputs(const std::vector<std::string>& files) {
  std::vector<TraceInput> inputs;
  for (const std::string& file : files) {
    const bool thread = IsThreadFile(file);
    const std::string name = thread ? StemOfFileName(file) : file;
    TraceInput* same = nullptr;
    for (TraceInput& input : inputs) {
      if (thread && input.name == name && input.files.front() != name) same = &input;
    }
    if (same != nullptr) {
      same->files.push_back(file);
    } else {
      inputs.push_back({name, {file}});
    }
  }
  for (TraceInput& input : inputs) {
    if (input.files.size() == 1) input.name = input.files.front();
  }
  return inputs;
}

absl::StatusOr<ReadResult> ReadTrace(const TraceInput& input, const ReadOptions& options,
                                     const std::function<absl::Status(const TraceInfo&)>& on_info,
                                     EventSink& sink) {
  ReadResult result;
  result.log.progress = options.progress;
  std::vector<StraceFile> files;
  for (const std::string& file : input.files) {
    auto source = LineSource::Open(file, options.follow);
    if (!source.ok()) return source.status();
    result.rereadable = result.rereadable && (*source)->regular();
    files.push_back({file, *std::move(source), kNoPid});
  }
  std::string_view first;
  LineSource& lines = *files.front().lines;
  if (!lines.Peek(first)) {
    const std::string& trouble = lines.trouble();
    return absl::InvalidArgumentError(absl::StrCat(
        input.name, ": line 1: ", trouble.empty() ? "is empty" : trouble, ", expected a trace"));
  }
  TraceFormat format = options.format;
  if (format == TraceFormat::kAuto)
    format = LooksLikeJson(first) ? TraceFormat::kJsonLines : TraceFormat::kStrace;
  absl::Status status;
  if (format == TraceFormat::kJsonLines) {
    status = ReadJsonLines(lines, input.name, on_info, sink, result.log);
  } else {
    if (files.size() > 1 || IsThreadFile(files.front().name)) {
      for (StraceFile& file : files) file.tid = TidOfFileName(file.name);
    }
    status = on_info(TraceInfo());
    if (status.ok()) status = ReadStrace(std::move(files), sink, result.log);
  }
  result.log.progress = nullptr;
  if (!status.ok()) return status;
  return result;
}

std::string_view Name(ProfileSource source) {
  switch (source) {
    case ProfileSource::kGiven:
      return "given";
    case ProfileSource::kTrace:
      return "trace";
    case ProfileSource::kGuessed:
      return "guessed";
  }
  return "";
}

namespace {

std::vector<std::string> Names(const std::vector<const Profile*>& profiles) {
  std::vector<std::string> names;
  names.reserve(profiles.size());
  for (const Profile* profile : profiles) names.emplace_back(profile->newest);
  return names;
}

absl::StatusOr<ProfileName> Resolve(const std::string& name) {
  const std::optional<ProfileName> resolved = ResolveProfile(name);
  if (resolved) return *resolved;
  return absl::InvalidArgumentError(
      absl::StrCat("unknown profile ", name, "; known: ", KnownProfiles()));
}

// Holds the first events until there is enough to guess from, then feeds the checker.
class GuessingSink : public EventSink {
 public:
  GuessingSink(const JudgeOptions& options, TraceReport& report)
      : options_(options), report_(report) {}

  // `forced`: judge with this profile whatever the traffic says.
  absl::Status Begin(const TraceInfo& info, const Profile* forced) {
    byte_order_ = info.byte_order;
    evidence_ = std::make_unique<ProfileEvidence>(info.byte_order);
    const bool given = options_.profile != "auto";
    if (forced != nullptr) {
      Start(forced);
    } else if (given || !info.profile.empty()) {
      const auto resolved = Resolve(given ? options_.profile : info.profile);
      if (!resolved.ok()) return resolved.status();
      report_.source = given ? ProfileSource::kGiven : ProfileSource::kTrace;
      report_.profile = resolved->name;
      if (resolved->newer_than_known) {
        report_.notes.push_back(absl::StrCat(resolved->name,
                                             " is newer than every release known; judged as ",
                                             std::string(resolved->profile->newest)));
      }
      settled_ = true;
      Start(resolved->profile);
    }
    return absl::OkStatus();
  }

  void OnEvent(const Event& event) override {
    if (!settled_) evidence_->Add(event);
    if (checker_ != nullptr) {
      checker_->OnEvent(event);
      return;
    }
    Hold(event);
    if (evidence_->datagrams() >= kGuessDatagrams || held_bytes_ >= kGuessBytes) StartGuessed();
  }

  void End() {
    if (checker_ == nullptr) StartGuessed();
    if (settled_) return;
    const ProfileGuess guess = evidence_->Guess();
    report_.profile = std::string(guess.profile->newest);
    report_.guess_why = guess.why;
    report_.guess_weak = guess.weak;
    report_.guess_also = Names(guess.also);
    better_ = guess.profile == profile_ ? nullptr : guess.profile;
  }

  // What all of the traffic speaks for, if not what it was judged by.
  const Profile* better() const { return better_; }
  const Profile* profile() const { return profile_; }
  CheckResult Finish() { return checker_->Finish(); }

 private:
  struct Held {
    Event event;
    std::vector<uint8_t> data;
    std::string port;
    std::string errno_name;
  };

  void Hold(const Event& event) {
    Held& held = held_.emplace_back();
    held.event = event;
    held.data.assign(event.data.begin(), event.data.end());
    held.port.assign(event.port);
    held.errno_name.assign(event.errno_name);
    held_bytes_ += sizeof(Held) + held.data.size();
  }

  void StartGuessed() { Start(evidence_->Guess().profile); }

  void Start(const Profile* profile) {
    profile_ = profile;
    checker_ = std::make_unique<Checker>(CheckOptions{profile, byte_order_, options_.off});
    for (Held& held : held_) {
      held.event.data = held.data;
      held.event.port = held.port;
      held.event.errno_name = held.errno_name;
      checker_->OnEvent(held.event);
    }
    held_.clear();
  }

  const JudgeOptions& options_;
  TraceReport& report_;
  ByteOrder byte_order_ = MachineByteOrder();
  std::unique_ptr<ProfileEvidence> evidence_;
  std::unique_ptr<Checker> checker_;
  const Profile* profile_ = nullptr;
  const Profile* better_ = nullptr;
  bool settled_ = false;
  std::deque<Held> held_;
  size_t held_bytes_ = 0;
};

}  // namespace

absl::StatusOr<TraceReport> Judge(const TraceInput& input, const JudgeOptions& options) {
  TraceReport report;
  report.file = input.name;
  report.files = input.files;
  const Profile* forced = nullptr;
  while (true) {
    GuessingSink sink(options, report);
    auto read = ReadTrace(
        input, options.read, [&](const TraceInfo& info) { return sink.Begin(info, forced); }, sink);
    if (!read.ok()) return read.status();
    sink.End();
    if (forced == nullptr && sink.better() != nullptr && read->rereadable && !options.read.follow) {
      forced = sink.better();
      continue;
    }
    if (sink.better() != nullptr && forced == nullptr) {
      report.notes.push_back(absl::StrCat("judged as ", std::string(sink.profile()->newest),
                                          ", guessed from the first ", kGuessDatagrams,
                                          " datagrams; the rest speaks for ", report.profile,
                                          ": judge again with --profile"));
      report.profile = std::string(sink.profile()->newest);
    }
    report.result = sink.Finish();
    report.log = std::move(read->log);
    report.result.counts.damaged_lines = report.log.damaged_count;
    return report;
  }
}

absl::StatusOr<TraceReport> SettleProfile(const TraceInput& input, const JudgeOptions& options,
                                          TraceInfo& info) {
  class Collector : public EventSink {
   public:
    void OnEvent(const Event& event) override { evidence->Add(event); }
    std::unique_ptr<ProfileEvidence> evidence;
  };
  Collector collector;
  TraceReport report;
  report.file = input.name;
  const auto read = ReadTrace(
      input, options.read,
      [&](const TraceInfo& said) {
        info = said;
        collector.evidence = std::make_unique<ProfileEvidence>(said.byte_order);
        return absl::OkStatus();
      },
      collector);
  if (!read.ok()) return read.status();
  const bool given = options.profile != "auto";
  if (given || !info.profile.empty()) {
    const auto resolved = Resolve(given ? options.profile : info.profile);
    if (!resolved.ok()) return resolved.status();
    report.profile = resolved->name;
    report.source = given ? ProfileSource::kGiven : ProfileSource::kTrace;
  } else {
    const ProfileGuess guess = collector.evidence->Guess();
    report.profile = std::string(guess.profile->newest);
    report.guess_why = guess.why;
    report.guess_weak = guess.weak;
    report.guess_also = Names(guess.also);
  }
  info.profile = report.profile;
  report.log = read->log;
  return report;
}

}  // namespace portproof
