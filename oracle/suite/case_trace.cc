#include "oracle/suite/case_trace.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "oracle/dump.h"
#include "oracle/jsonl_writer.h"
#include "protocol/bytes.h"

namespace portproof::suite {
namespace {

constexpr size_t kLinesShown = 12;

std::string_view PortName(char port) { return port == 'a' ? "a" : "b"; }

void Open(char port, EventSink& sink) {
  Event event;
  event.kind = EventKind::kOpen;
  event.port = PortName(port);
  sink.OnEvent(event);
}

}  // namespace

void ReplayRecord(const std::vector<Recorded>& record, char port, EventSink& sink) {
  if (port != 'b') Open('a', sink);
  if (port != 'a') Open('b', sink);
  const int64_t begin = record.empty() ? 0 : record.front().time_us;
  for (const Recorded& recorded : record) {
    if (port != 0 && recorded.port != port) continue;
    Event event;
    event.port = PortName(recorded.port);
    event.time_us = recorded.time_us - begin;
    event.data = recorded.bytes;
    event.size = recorded.size;
    event.fds = recorded.fds;
    event.rights = recorded.rights;
    switch (recorded.kind) {
      case Recorded::Kind::kSend:
        event.kind = EventKind::kSend;
        event.pid = event.tid = recorded.pid;
        break;
      case Recorded::Kind::kRecv:
        event.kind = EventKind::kRecv;
        event.pid = event.tid = recorded.pid;
        event.cred_pid = recorded.cred_pid;
        break;
      case Recorded::Kind::kReset:
        event.kind = EventKind::kClose;
        sink.OnEvent(event);
        Open(recorded.port, sink);
        continue;
      case Recorded::Kind::kClose:
        event.kind = EventKind::kClose;
        break;
    }
    sink.OnEvent(event);
  }
}

std::vector<std::string> DumpRecord(const std::vector<Recorded>& record, const Profile& profile) {
  std::vector<std::string> lines;
  Dumper dumper(profile, MachineByteOrder(), [&](std::string_view line) {
    if (!line.empty() && line.back() == '\n') line.remove_suffix(1);
    lines.emplace_back(line);
  });
  ReplayRecord(record, 0, dumper);
  if (lines.size() > kLinesShown)
    lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(kLinesShown));
  return lines;
}

std::string WriteRecord(const std::vector<Recorded>& record, const std::string& profile,
                        const std::string& directory, const std::string& name) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  std::string file = name;
  std::replace(file.begin(), file.end(), '/', '.');
  const std::string path = absl::StrCat(directory, "/", file, ".jsonl");
  std::ofstream out(path, std::ios::binary);
  TraceInfo info;
  info.profile = profile;
  JsonLinesWriter writer([&](std::string_view line) { out << line; }, info);
  ReplayRecord(record, 0, writer);
  out.close();
  return out ? "" : absl::StrCat("cannot write ", path);
}

}  // namespace portproof::suite
