// Reads recordings made by strace, as ORACLE's readers must: nothing but the
// program's unmodified behaviour, whatever the recorder's options were.
//   shapes    one file of all threads (-f), or the files of one recording, a thread
//             each (-ff, joined by time); see README.md here for the recorder's options
//   returns   Read: events to the sink, then OK, or why nothing could be read.
//             A line that cannot be read is logged, told to the sink (kDamage), and
//             costs nothing but itself
//   holds     see strace_events.h
//   rules     the recorder's facts: order by entry, a receive by its return
//   source    strace 4.x to 6.x
#ifndef PORTPROOF_ORACLE_STRACE_READER_H_
#define PORTPROOF_ORACLE_STRACE_READER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "oracle/read_log.h"
#include "oracle/strace_file.h"
#include "oracle/trace.h"

namespace portproof {

absl::Status ReadStrace(std::vector<StraceFile> files, EventSink& sink, ReadLog& log);

// The thread a -ff file is named after ("unit.strace.4711"), or kNoPid.
int32_t TidOfFileName(const std::string& name);
// "unit.strace" of "unit.strace.4711.zst".
std::string StemOfFileName(const std::string& name);

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_STRACE_READER_H_
