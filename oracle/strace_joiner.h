// Joins the files of one recording, a thread each (strace -ff): the line with the earliest
// time is next. A receive's return is not recorded there, only that it came before the
// thread's next line.
//   shapes    files of strace -ff, with the times of -ttt
//   returns   Run: events to the sink, each with its file, then OK; or which line has a time
//             that orders nothing, and the option that gives a better one
//   holds     the last receive of each thread, until that thread's next line
//   rules     none: this is the recorder's language
//   source    strace 4.x to 6.x
#ifndef PORTPROOF_ORACLE_STRACE_JOINER_H_
#define PORTPROOF_ORACLE_STRACE_JOINER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "oracle/read_log.h"
#include "oracle/strace_events.h"
#include "oracle/strace_file.h"
#include "oracle/trace.h"

namespace portproof {

class StraceJoiner : public EventSink {
 public:
  StraceJoiner(std::vector<StraceFile>& files, EventSink& sink, ReadLog& log)
      : files_(files), sink_(sink), lines_(*this, log, true), held_(files.size()) {}

  absl::Status Run();
  const StraceEvents& events() const { return lines_; }

  void OnEvent(const Event& event) override;

 private:
  struct Held {
    bool full = false;
    uint64_t events_before = 0;  // when the call was entered
    Event event;
    std::vector<uint8_t> data;
    std::string port;
  };

  absl::Status Orderable(size_t index, const StraceLine& line) const;
  void HandOn(Event event);
  void Release(size_t index);

  std::vector<StraceFile>& files_;
  EventSink& sink_;
  StraceEvents lines_;
  std::vector<Held> held_;
  size_t current_ = 0;
  uint64_t events_ = 0;  // handed on so far
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_STRACE_JOINER_H_
