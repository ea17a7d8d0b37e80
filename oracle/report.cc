#include "oracle/report.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace portproof {
namespace {

constexpr size_t kDamagedPrinted = 20;

std::string Plural(uint64_t count, std::string_view noun) {
  return absl::StrCat(count, " ", std::string(noun), count == 1 ? "" : "s");
}

std::string_view Name(Severity severity) {
  switch (severity) {
    case Severity::kError:
      return "error";
    case Severity::kWarning:
      return "warning";
    case Severity::kNote:
      return "note";
  }
  return "";
}

std::string Colored(Severity severity, bool color) {
  std::string name(Name(severity));
  if (!color) return name;
  const char* code = severity == Severity::kError     ? "\x1b[31;1m"
                     : severity == Severity::kWarning ? "\x1b[33;1m"
                                                      : "\x1b[36m";
  return absl::StrCat(code, name, "\x1b[0m");
}

std::string ProfileText(const TraceReport& report) {
  std::string text =
      absl::StrCat("profile ", report.profile, " (", std::string(Name(report.source)));
  if (report.source == ProfileSource::kGuessed) {
    absl::StrAppend(&text, report.guess_weak ? ", weak: " : ": ", report.guess_why);
    if (!report.guess_also.empty()) {
      absl::StrAppend(&text, "; ", absl::StrJoin(report.guess_also, ", "),
                      report.guess_also.size() == 1 ? " fits too" : " fit too");
    }
  }
  return text + ")";
}

// The file a finding is in, where the trace has several (strace -ff).
std::string_view FileOf(const TraceReport& report, uint32_t file) {
  return report.files.size() > 1 && file < report.files.size() ? report.files[file]
                                                               : std::string_view();
}

std::string ViolationText(const TraceReport& report, const Violation& found, bool color) {
  std::string text =
      absl::StrCat("  ", Colored(found.severity, color), " ", std::string(Id(found.rule)));
  if (!found.port.empty()) absl::StrAppend(&text, "  port ", found.port);
  if (found.has_stream) absl::StrAppend(&text, "  stream ", found.stream);
  if (found.pid != kNoPid) absl::StrAppend(&text, "  from pid ", found.pid);
  if (found.datagram != 0) absl::StrAppend(&text, "  datagram ", found.datagram);
  if (found.line != 0) absl::StrAppend(&text, "  line ", found.line);
  const std::string file(FileOf(report, found.file));
  if (found.line != 0 && !file.empty()) absl::StrAppend(&text, " of ", file);
  return absl::StrCat(text, "\n        ", found.detail, "\n");
}

std::string Summary(const TraceReport& report) {
  const Counts& counts = report.result.counts;
  std::string text = absl::StrCat(
      Plural(counts.datagrams, "datagram"), ", ", Plural(counts.messages, "message"), ", ",
      Plural(counts.ports, "port"), ", ", counts.processes,
      counts.processes == 1 ? " process" : " processes", ": ",
      Plural(report.result.errors, "error"), ", ", Plural(report.result.warnings, "warning"));
  if (report.result.notes > 0) absl::StrAppend(&text, ", ", Plural(report.result.notes, "note"));
  if (counts.damaged_lines > 0)
    absl::StrAppend(&text, ", ", Plural(counts.damaged_lines, "damaged line"));
  return text;
}

std::string DamagedText(const TraceReport& report, bool color) {
  std::string text;
  size_t printed = 0;
  for (const DamagedLine& line : report.log.damaged) {
    if (printed++ == kDamagedPrinted) break;
    absl::StrAppend(&text, "  ", color ? "\x1b[33mdamaged\x1b[0m" : "damaged",
                    line.file.empty() ? "" : "  ", line.file, "  line ", line.line, ": ", line.what,
                    "\n");
  }
  if (report.log.damaged_count > kDamagedPrinted) {
    absl::StrAppend(&text, "  and ", report.log.damaged_count - kDamagedPrinted,
                    " more damaged lines\n");
  }
  return text;
}

std::string TraceText(const TraceReport& report, const ReportOptions& options) {
  const CheckResult& result = report.result;
  const bool plain =
      result.findings.empty() && report.log.damaged_count == 0 && report.notes.empty();
  if (plain) {
    if (options.quiet) return "";
    return absl::StrCat(report.file, "  ", ProfileText(report), "  ", Summary(report), "\n");
  }
  if (options.quiet && !Violates(report, options.strict)) return "";
  std::string text = absl::StrCat(report.file, "  ", ProfileText(report), "\n");
  uint64_t printed = 0;
  for (const Violation& found : result.findings) {
    if (found.severity != Severity::kNote && printed++ >= options.max_violations) continue;
    text += ViolationText(report, found, options.color);
  }
  const uint64_t shown = std::min(printed, options.max_violations);
  const uint64_t all = result.errors + result.warnings;
  if (all > shown) absl::StrAppend(&text, "  and ", all - shown, " more violations\n");
  for (const std::string& note : report.notes) absl::StrAppend(&text, "  note: ", note, "\n");
  text += DamagedText(report, options.color);
  return absl::StrCat(text, Summary(report), "\n");
}

using Json = nlohmann::ordered_json;

Json CountsJson(const Counts& counts) {
  return Json{{"datagrams", counts.datagrams},
              {"received", counts.received},
              {"undelivered", counts.undelivered},
              {"messages", counts.messages},
              {"ports", counts.ports},
              {"processes", counts.processes},
              {"fragmented_streams", counts.fragmented_streams},
              {"unfinished_streams", counts.unfinished_streams},
              {"mmap_datagrams", counts.mmap_datagrams},
              {"mmap_read_queue", counts.mmap_read_queue},
              {"fd_datagrams", counts.fd_datagrams},
              {"two_fd_datagrams", counts.two_fd_datagrams},
              {"damaged_lines", counts.damaged_lines},
              {"bytes", counts.bytes}};
}

Json ViolationJson(const TraceReport& report, const Violation& found) {
  Json json{{"rule", Id(found.rule)}, {"level", Name(found.severity)}};
  if (!found.port.empty()) json["port"] = found.port;
  if (found.has_stream) json["stream"] = found.stream;
  if (found.pid != kNoPid) json["pid"] = found.pid;
  if (found.datagram != 0) json["datagram"] = found.datagram;
  if (found.time_us != kNoTime) json["time"] = static_cast<double>(found.time_us) / 1e6;
  if (found.line != 0) json["line"] = found.line;
  const std::string_view file = FileOf(report, found.file);
  if (found.line != 0 && !file.empty()) json["file"] = file;
  json["detail"] = found.detail;
  return json;
}

Json TraceJson(const TraceReport& report, const ReportOptions& options) {
  Json json{{"file", report.file},
            {"profile", report.profile},
            {"profile_source", Name(report.source)},
            {"verdict", Violates(report, options.strict) ? "violates" : "conforms"},
            {"counts", CountsJson(report.result.counts)},
            {"violations", Json::array()}};
  if (report.guess_weak) json["profile_weak"] = true;
  if (!report.guess_also.empty()) json["profile_also"] = report.guess_also;
  for (const Violation& found : report.result.findings) {
    const bool note = found.severity == Severity::kNote;
    Json& list = json[note ? "excused" : "violations"];
    if (note || list.size() < options.max_violations) list.push_back(ViolationJson(report, found));
  }
  if (report.result.errors + report.result.warnings > json["violations"].size()) {
    json["violations_found"] = report.result.errors + report.result.warnings;
  }
  for (const std::string& note : report.notes) json["notes"].push_back(note);
  for (const DamagedLine& line : report.log.damaged) {
    Json damaged{{"line", line.line}, {"detail", line.what}};
    if (!line.file.empty()) damaged["file"] = line.file;
    json["damaged"].push_back(damaged);
  }
  return json;
}

}  // namespace

bool Violates(const TraceReport& report, bool strict) {
  if (report.result.errors > 0) return true;
  return strict && (report.result.warnings > 0 || report.log.damaged_count > 0);
}

std::string TextReport(const std::vector<TraceReport>& reports, const ReportOptions& options) {
  std::string text;
  for (const TraceReport& report : reports) text += TraceText(report, options);
  return text;
}

std::string JsonReport(const std::vector<TraceReport>& reports, const ReportOptions& options) {
  bool violates = false;
  Json json{{"portproof", 1}, {"verdict", ""}, {"traces", Json::array()}};
  for (const TraceReport& report : reports) {
    violates = violates || Violates(report, options.strict);
    json["traces"].push_back(TraceJson(report, options));
  }
  json["verdict"] = violates ? "violates" : "conforms";
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace portproof
