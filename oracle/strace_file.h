// One file of a recording.
//   shapes    its lines, and the thread it is of
//   returns   -
//   holds     the source of its lines
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_STRACE_FILE_H_
#define PORTPROOF_ORACLE_STRACE_FILE_H_

#include <memory>
#include <string>

#include "oracle/line_source.h"
#include "oracle/trace.h"

namespace portproof {

struct StraceFile {
  std::string name;
  std::unique_ptr<LineSource> lines;
  int32_t tid = kNoPid;  // of a -ff file; kNoPid where each line names its thread
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_STRACE_FILE_H_
