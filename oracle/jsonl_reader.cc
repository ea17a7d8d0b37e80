#include "oracle/jsonl_reader.h"

#include "absl/strings/str_cat.h"
#include "oracle/json_event.h"

namespace portproof {
namespace {

constexpr uint64_t kProgressLines = 1 << 14;

}  // namespace

absl::Status ReadJsonLines(LineSource& lines, const std::string& name,
                           const std::function<absl::Status(const TraceInfo&)>& on_info,
                           EventSink& sink, ReadLog& log) {
  JsonEventParser parser;
  TraceInfo info;
  std::string_view line;
  if (!lines.Next(line))
    return absl::InvalidArgumentError(absl::StrCat(name, ": line 1: is empty, expected a trace"));
  absl::Status first = parser.ParseInfo(line, info);
  if (first.ok()) first = on_info(info);
  if (!first.ok())
    return absl::InvalidArgumentError(absl::StrCat(name, ": line 1: ", first.message()));
  while (lines.Next(line)) {
    const uint64_t number = lines.line_number();
    if ((number & (kProgressLines - 1)) == 0 && log.progress)
      log.progress(lines.bytes_read(), lines.file_bytes());
    if (line.empty() || line == "\r") continue;
    Event event;
    const bool good = !lines.overlong() && parser.Parse(line, event);
    event.line = number;
    if (!good) {
      log.Damaged("", number,
                  lines.overlong()
                      ? absl::StrCat("longer than ", LineSource::kLineBytesMax, " bytes")
                      : parser.wrong());
      event = Event();
      event.kind = EventKind::kDamage;
      event.line = number;
      event.port = parser.port();
    }
    sink.OnEvent(event);
  }
  log.lines = lines.line_number();
  if (!lines.trouble().empty()) log.Damaged("", lines.line_number() + 1, lines.trouble());
  return absl::OkStatus();
}

}  // namespace portproof
