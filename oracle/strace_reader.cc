#include "oracle/strace_reader.h"

#include <charconv>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "oracle/strace_events.h"
#include "oracle/strace_joiner.h"
#include "oracle/strace_text.h"

namespace portproof {
namespace {

constexpr uint64_t kProgressLines = 1 << 14;

// strace pads the pid to a column; a first line with a narrower one lost its beginning,
// and what is left of the pid names another process.
bool BeginsInside(LineSource& lines) {
  constexpr size_t kColumn = 6;
  std::string_view first;
  std::string_view second;
  if (!lines.PeekTwo(first, second)) return false;
  const StraceLine split = SplitLine(first);
  const StraceLine next = SplitLine(second);
  const bool no_time = split.time_us == kNoTime && next.time_us != kNoTime;
  return split.kind != LineKind::kNoise && (split.column < kColumn || no_time) &&
         next.column >= kColumn;
}

absl::Status Verdict(const std::vector<StraceFile>& files, const StraceEvents& events) {
  const std::string& name = files.front().name;
  if (events.lines_understood() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": line 1: expected a trace (strace text, JSON Lines), found neither"));
  }
  if (events.raw_calls() > 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": arguments are printed as numbers: record without strace -X and without -e raw"));
  }
  if (events.messages_read() == 0 && events.unread_messages() > 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": messages are printed as addresses: record without strace -e verbose"));
  }
  if (events.calls_seen() > 0 && events.sockets_named() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        name,
        ": no descriptor is described: record with strace -yy, which names both ends of a socket"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadStrace(std::vector<StraceFile> files, EventSink& sink, ReadLog& log) {
  if (files.size() > 1) {
    StraceJoiner joiner(files, sink, log);
    const absl::Status joined = joiner.Run();
    for (const StraceFile& file : files) {
      if (!file.lines->trouble().empty()) {
        log.Damaged(file.name, file.lines->line_number() + 1, file.lines->trouble());
      }
    }
    return joined.ok() ? Verdict(files, joiner.events()) : joined;
  }
  LineSource& lines = *files.front().lines;
  const std::string no_name;
  StraceEvents events(sink, log, false);
  std::string_view line;
  if (BeginsInside(lines)) {
    lines.Next(line);
    events.Lost(no_name, "line cut short at its beginning");
  }
  while (lines.Next(line)) {
    const uint64_t number = lines.line_number();
    if ((number & (kProgressLines - 1)) == 0 && log.progress)
      log.progress(lines.bytes_read(), lines.file_bytes());
    events.OnLine(line, no_name, number, files.front().tid,
                  lines.overlong() || !lines.ended_with_newline());
  }
  log.lines = lines.line_number();
  if (!lines.trouble().empty()) log.Damaged(no_name, lines.line_number() + 1, lines.trouble());
  events.Finish();
  return Verdict(files, events);
}

int32_t TidOfFileName(const std::string& name) {
  std::string_view stem = name;
  if (stem.ends_with(".zst")) stem.remove_suffix(4);
  const size_t dot = stem.rfind('.');
  if (dot == std::string_view::npos || dot + 1 == stem.size()) return kNoPid;
  int32_t tid = 0;
  const auto [end, error] = std::from_chars(stem.data() + dot + 1, stem.data() + stem.size(), tid);
  if (error != std::errc() || end != stem.data() + stem.size()) return kNoPid;
  return tid;
}

std::string StemOfFileName(const std::string& name) {
  if (TidOfFileName(name) == kNoPid) return name;
  std::string_view stem = name;
  if (stem.ends_with(".zst")) stem.remove_suffix(4);
  return std::string(stem.substr(0, stem.rfind('.')));
}

}  // namespace portproof
