#include "oracle/strace_joiner.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "oracle/strace_text.h"

namespace portproof {

// Whole seconds, and times since the last line of the same thread, order no two files.
absl::Status StraceJoiner::Orderable(size_t index, const StraceLine& line) const {
  if (line.kind == LineKind::kBad || line.kind == LineKind::kNoise) return absl::OkStatus();
  std::string_view found;
  if (line.time_base == TimeBase::kNone) {
    found = "found none";
  } else if (line.time_base == TimeBase::kLastLine) {
    found = "found the relative time of strace -r";
  } else if (line.whole_seconds) {
    found = "found whole seconds, as strace -t prints them";
  } else {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(files_[index].name, ": line ", files_[index].lines->line_number() + 1,
                   ": expected a time: files of strace -ff are joined by the times of -ttt; ",
                   std::string(found)));
}

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
      absl::Status status = Orderable(i, split);
      if (!status.ok()) return status;
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
    lines_.OnLine(line, files_[next].name, files_[next].lines->line_number(), files_[next].tid,
                  !files_[next].lines->ended_with_newline());
  }
  lines_.Finish();
  return absl::OkStatus();
}

void StraceJoiner::HandOn(Event event) {
  ++events_;
  sink_.OnEvent(event);
}

void StraceJoiner::OnEvent(const Event& event) {
  Event with_file = event;
  with_file.file = static_cast<uint32_t>(current_);
  if (event.kind != EventKind::kRecv) return HandOn(with_file);
  Held& held = held_[current_];
  held.event = with_file;
  held.data.assign(event.data.begin(), event.data.end());
  held.port.assign(event.port);
  held.event.data = held.data;
  held.event.port = held.port;
  held.events_before = events_;
  held.full = true;
}

void StraceJoiner::Release(size_t index) {
  Held& held = held_[index];
  if (!std::exchange(held.full, false)) return;
  held.event.pending = events_ - held.events_before;
  HandOn(held.event);
}

}  // namespace portproof
