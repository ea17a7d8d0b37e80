#include "oracle/dump.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "protocol/header.h"

namespace portproof {
namespace {

constexpr size_t kOpenMax = 1 << 16;
constexpr size_t kReferencesShown = 8;

std::string TimeText(int64_t time_us) {
  if (time_us == kNoTime) return "           -";
  char text[32];
  snprintf(text, sizeof text, "%12.6f", static_cast<double>(time_us) / 1e6);
  return text;
}

std::string WhoText(const Event& event) {
  if (event.pid == kNoPid && event.tid == kNoPid) return "pid -";
  if (event.pid == kNoPid) return absl::StrCat("tid ", event.tid);
  if (event.tid == kNoPid || event.tid == event.pid) return absl::StrCat("pid ", event.pid);
  return absl::StrCat("pid ", event.pid, "/", event.tid);
}

}  // namespace

std::string Dumper::References(const Event& event, bool tracking) {
  if (event.data.size() < event.size) return "  references cut by the recorder";
  if (!DecodeReferences(event.data.subspan(kHeaderBytes), tracking, order_, references_))
    return "  no references";
  std::string text;
  for (size_t i = 0; i < references_.size() && i < kReferencesShown; ++i) {
    absl::StrAppend(&text, "  [", ToString(references_[i]), "]");
  }
  if (references_.size() > kReferencesShown)
    absl::StrAppend(&text, "  and ", references_.size() - kReferencesShown, " more");
  return text;
}

std::string Dumper::FragmentPlace(const Event& event) {
  const Header header = DecodeHeader(event.data, order_)->header;
  const bool send = event.kind == EventKind::kSend;
  const std::string key =
      absl::StrCat(std::string(event.port), send ? ">" : "<", header.pid, ":", header.stream);
  const uint64_t payload = event.size - kHeaderBytes;
  if (!header.nf) {
    if (open_.size() >= kOpenMax) open_.clear();
    open_[key] = Place{1, payload};
    return absl::StrCat("  fragment 1, bytes 0-", payload);
  }
  const auto found = open_.find(key);
  if (found == open_.end()) return "  fragment of a message whose beginning was not seen";
  Place& place = found->second;
  ++place.fragments;
  place.bytes += payload;
  std::string text = absl::StrCat("  fragment ", place.fragments, header.mf ? "" : ", the last",
                                  ", bytes ", place.bytes - payload, "-", place.bytes);
  if (!header.mf) open_.erase(found);
  return text;
}

std::string Dumper::Describe(const Event& event) {
  const auto decoded = DecodeHeader(event.data, order_);
  if (!decoded || event.size < kHeaderBytes) return absl::StrCat(event.size, " bytes, no header");
  const Header& header = decoded->header;
  std::string text = absl::StrCat("stream ", header.stream, "  pid ", header.pid, "  ",
                                  TypeName(profile_, header.type));
  if (header.reply_port != 0) absl::StrAppend(&text, "  reply ", header.reply_port);
  if (header.last) text += " last";
  if (header.mmap) text += " mmap";
  if (header.nf) text += " nf";
  if (header.mf) text += " mf";
  absl::StrAppend(&text, "  ", event.size - kHeaderBytes, " bytes");
  if (event.fds > 0) absl::StrAppend(&text, "  ", event.fds, event.fds == 1 ? " fd" : " fds");
  const bool leftovers = TypeOf(profile_, header.type) == Type::kReadQueue;
  if (header.mmap && !leftovers)
    text += References(event, profile_.byte15 == Byte15::kTracking && header.byte15 != 0);
  if ((header.nf || header.mf) && !leftovers) text += FragmentPlace(event);
  return text;
}

void Dumper::OnEvent(const Event& event) {
  const std::string prefix =
      absl::StrCat(TimeText(event.time_us), "  port ", std::string(event.port), "  ");
  switch (event.kind) {
    case EventKind::kOpen:
      print_(absl::StrCat(prefix, "opened\n"));
      return;
    case EventKind::kSend:
      print_(absl::StrCat(prefix, "-> ", WhoText(event), "  ", Describe(event),
                          event.killed ? "  (killed inside)" : "", "\n"));
      return;
    case EventKind::kRecv:
      print_(absl::StrCat(prefix, "<- ", WhoText(event), "  ", Describe(event),
                          event.cred_pid != kNoPid ? absl::StrCat("  from ", event.cred_pid) : "",
                          event.truncated ? "  MSG_TRUNC" : "",
                          event.ctrl_truncated ? "  MSG_CTRUNC" : "", "\n"));
      return;
    case EventKind::kFail:
      print_(
          absl::StrCat(prefix, "-> ", WhoText(event), "  ", std::string(event.errno_name), "\n"));
      return;
    case EventKind::kEof:
      print_(absl::StrCat(prefix, "<- ", WhoText(event), "  end of file\n"));
      return;
    case EventKind::kClose:
      print_(absl::StrCat(prefix, "closed\n"));
      return;
    case EventKind::kExit:
      print_(absl::StrCat(TimeText(event.time_us), "  ", WhoText(event), "  died\n"));
      return;
    case EventKind::kDamage:
      print_(absl::StrCat("           -  damaged line ", event.line, "\n"));
      return;
  }
}

}  // namespace portproof
