// Joins the files of one recording, a thread each (strace -ff): the line with the earliest
// time is next. A receive's return is not recorded there, only that it came before the
// thread's next line.
//   shapes    files of strace -ff, with the times of -ttt
//   returns   Run: events to the sink, then OK; or which line has no time
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
      : files_(files), sink_(sink), events_(*this, log, true), held_(files.size()) {}

  absl::Status Run();
  const StraceEvents& events() const { return events_; }

  void OnEvent(const Event& event) override;

 private:
  struct Held {
    bool full = false;
    Event event;
    std::vector<uint8_t> data;
    std::string port;
  };

  void Release(size_t index);

  std::vector<StraceFile>& files_;
  EventSink& sink_;
  StraceEvents events_;
  std::vector<Held> held_;
  size_t current_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_STRACE_JOINER_H_
