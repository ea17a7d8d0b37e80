// One trace from file to verdict: which reader, which profile, then the checker.
//   shapes    a TraceInput: one file, or the files of one strace -ff recording
//   returns   Judge: the report, or why the input cannot be read (naming file, line and
//             what was expected). ReadTrace: the events alone, to any sink
//   holds     the first datagrams until the profile is guessed, at most kGuessBytes; a file
//             is read again if the rest of it speaks for another profile
//   rules     none of its own
//   source    none
#ifndef PORTPROOF_ORACLE_JUDGE_H_
#define PORTPROOF_ORACLE_JUDGE_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "oracle/checker.h"
#include "oracle/read_log.h"
#include "oracle/trace.h"
#include "protocol/profile.h"

namespace portproof {

enum class TraceFormat : uint8_t { kAuto, kStrace, kJsonLines };

struct TraceInput {
  std::string name;                // as reported: the file, or the stem of several
  std::vector<std::string> files;  // "-" is standard input
};

// Groups the files of -ff recordings; the order of the others stays.
std::vector<TraceInput> GroupInputs(const std::vector<std::string>& files);

struct ReadOptions {
  TraceFormat format = TraceFormat::kAuto;
  bool follow = false;
  std::function<void(uint64_t, uint64_t)> progress;
};

struct ReadResult {
  ReadLog log;
  bool rereadable = true;
};

// `on_info` is told what the trace says of itself before the first event.
absl::StatusOr<ReadResult> ReadTrace(const TraceInput& input, const ReadOptions& options,
                                     const std::function<absl::Status(const TraceInfo&)>& on_info,
                                     EventSink& sink);

enum class ProfileSource : uint8_t { kGiven, kTrace, kGuessed };
std::string_view Name(ProfileSource source);

struct JudgeOptions {
  ReadOptions read;
  std::string profile = "auto";
  std::array<bool, kRuleCount> off = {};
};

struct TraceReport {
  std::string file;
  std::vector<std::string> files;  // it consists of; several of strace -ff
  std::string profile;
  ProfileSource source = ProfileSource::kGuessed;
  std::string guess_why;
  std::vector<std::string> guess_also;  // newest releases of other rows that fit as well
  bool guess_weak = false;
  std::vector<std::string> notes;
  CheckResult result;
  ReadLog log;
};

absl::StatusOr<TraceReport> Judge(const TraceInput& input, const JudgeOptions& options);

// The profile of a trace, settled before anything is done with its events (two readings).
absl::StatusOr<TraceReport> SettleProfile(const TraceInput& input, const JudgeOptions& options,
                                          TraceInfo& info);

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_JUDGE_H_
