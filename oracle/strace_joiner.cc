#include "oracle/strace_joiner.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "oracle/strace_text.h"

namespace portproof {

absl::Status StraceJoiner::Run() {
  while (true) {
    size_t next = files_.size();
    int64_t earliest = 0;
    for (size_t i = 0; i < files_.size(); ++i) {
      std::string_view line;
      if (!files_[i].lines->Peek(line)) {
        Release(i);
        continue;
      }
      const StraceLine split = SplitLine(line);
      if (split.kind != LineKind::kBad && split.time_us == kNoTime) {
        return absl::InvalidArgumentError(
            absl::StrCat(files_[i].name, ": line ", files_[i].lines->line_number() + 1,
                         ": expected a time: files of strace -ff are joined by the times of -ttt"));
      }
      const int64_t time = split.kind == LineKind::kBad ? INT64_MIN : split.time_us;
      if (next == files_.size() || time < earliest) {
        next = i;
        earliest = time;
      }
    }
    if (next == files_.size()) break;
    std::string_view line;
    files_[next].lines->Next(line);
    Release(next);
    current_ = next;
    events_.OnLine(line, files_[next].name, files_[next].lines->line_number(), files_[next].tid,
                   !files_[next].lines->ended_with_newline());
  }
  events_.Finish();
  return absl::OkStatus();
}

void StraceJoiner::OnEvent(const Event& event) {
  if (event.kind != EventKind::kRecv) {
    sink_.OnEvent(event);
    return;
  }
  Held& held = held_[current_];
  held.event = event;
  held.data.assign(event.data.begin(), event.data.end());
  held.port.assign(event.port);
  held.event.data = held.data;
  held.event.port = held.port;
  held.full = true;
}

void StraceJoiner::Release(size_t index) {
  if (std::exchange(held_[index].full, false)) sink_.OnEvent(held_[index].event);
}

}  // namespace portproof
