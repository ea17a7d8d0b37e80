// Reads JSON Lines, the canonical form of a trace: one object a line. The format is
// written down in README.md here.
//   shapes    the first line names the format (1), the profile and the byte order;
//             every other line is an Event. Times are seconds, data is hex
//   returns   ReadJsonLines: events to the sink, then OK, or why the file is no trace
//             (its first line). A later line that is no event is damaged, not fatal
//   holds     one line's decoded bytes
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_JSONL_READER_H_
#define PORTPROOF_ORACLE_JSONL_READER_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "oracle/line_source.h"
#include "oracle/read_log.h"
#include "oracle/trace.h"

namespace portproof {

// `on_info` is called once, before the first event.
absl::Status ReadJsonLines(LineSource& lines, const std::string& name,
                           const std::function<absl::Status(const TraceInfo&)>& on_info,
                           EventSink& sink, ReadLog& log);

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_JSONL_READER_H_
