#include "fuzz/readings.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "oracle/jsonl_reader.h"
#include "oracle/jsonl_writer.h"
#include "oracle/line_source.h"
#include "oracle/strace_reader.h"

namespace portproof {
namespace {

absl::Status Read(std::string_view text, TextKind kind,
                  const std::function<void(const TraceInfo&)>& on_info, EventSink& sink,
                  ReadLog& log) {
  auto lines = LineSource::OfText(text);
  if (kind == TextKind::kJsonLines) {
    return ReadJsonLines(
        *lines, "input",
        [&](const TraceInfo& info) {
          on_info(info);
          return absl::OkStatus();
        },
        sink, log);
  }
  on_info(TraceInfo());
  std::vector<StraceFile> files;
  files.push_back({"input", std::move(lines), kNoPid});
  return ReadStrace(std::move(files), sink, log);
}

// The checker can be made once the trace has said its byte order.
class LateChecker : public EventSink {
 public:
  explicit LateChecker(const Profile& profile) : profile_(profile) {}
  void Begin(const TraceInfo& info) {
    checker_ = std::make_unique<Checker>(CheckOptions{&profile_, info.byte_order, {}});
  }
  void OnEvent(const Event& event) override {
    if (event.data.size() + event.zero_bytes > event.size) std::abort();
    checker_->OnEvent(event);
  }
  CheckResult Finish() { return checker_ == nullptr ? CheckResult() : checker_->Finish(); }

 private:
  const Profile& profile_;
  std::unique_ptr<Checker> checker_;
};

}  // namespace

Reading ReadAndJudge(std::string_view text, TextKind kind, const Profile& profile) {
  Reading reading;
  LateChecker checker(profile);
  reading.read =
      Read(
          text, kind, [&](const TraceInfo& info) { checker.Begin(info); }, checker, reading.log)
          .ok();
  reading.result = checker.Finish();
  return reading;
}

std::string AsJsonLines(std::string_view text, TextKind kind) {
  std::string written;
  class Late : public EventSink {
   public:
    void OnEvent(const Event& event) override { writer->OnEvent(event); }
    std::unique_ptr<JsonLinesWriter> writer;
  } late;
  ReadLog log;
  (void)Read(
      text, kind,
      [&](const TraceInfo& info) {
        late.writer = std::make_unique<JsonLinesWriter>(
            [&](std::string_view line) { written.append(line); }, info);
      },
      late, log);
  return written;
}

void CheckLaws(const Reading& reading, std::string_view text) {
  const Counts& counts = reading.result.counts;
  const auto lines = static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  if (counts.undelivered > counts.datagrams ||
      counts.unfinished_streams > counts.fragmented_streams)
    std::abort();
  if (counts.mmap_read_queue > counts.mmap_datagrams ||
      counts.two_fd_datagrams > counts.fd_datagrams)
    std::abort();
  if (counts.datagrams > lines || counts.received > lines || reading.log.damaged_count > lines + 1)
    std::abort();
  uint64_t kept = 0;
  for (const Violation& found : reading.result.findings) {
    if (found.line > lines || found.detail.empty()) std::abort();
    kept += found.severity == Severity::kError ? 1 : 0;
  }
  if (kept != std::min<uint64_t>(reading.result.errors, Findings::kKept)) std::abort();
}

void CheckSame(const Reading& a, const Reading& b, bool with_lines) {
  Counts one = a.result.counts;
  Counts two = b.result.counts;
  if (!with_lines) one.damaged_lines = two.damaged_lines = 0;
  if (one != two || a.result.findings.size() != b.result.findings.size()) std::abort();
  for (size_t i = 0; i < a.result.findings.size(); ++i) {
    const Violation& x = a.result.findings[i];
    const Violation& y = b.result.findings[i];
    if (x.rule != y.rule || x.datagram != y.datagram || x.port != y.port) std::abort();
    if (with_lines && (x.line != y.line || x.detail != y.detail)) std::abort();
  }
}

}  // namespace portproof
