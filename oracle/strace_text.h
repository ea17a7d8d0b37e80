// The grammar of one line of strace output: what stands where, not what it means.
//   shapes    [PID] [TIME] [NUMBER] [ADDRESS] NAME(ARGS) = RESULT, its `<unfinished ...>`
//             and `<... NAME resumed>` halves, `+++` and `---` lines
//   returns   SplitLine: the parts, as views into the line; kind kBad if it is none.
//             The Parse functions move the cursor behind what they read and
//             return false, cursor anywhere, where the text is something else
//   holds     views into the line
//   rules     none: this is the recorder's language
//   source    strace 4.x to 6.x, options -f -ff -i -k -n -o -r -s -t -tt -ttt -T -x -xx
//             -y -yy -Y
#ifndef PORTPROOF_ORACLE_STRACE_TEXT_H_
#define PORTPROOF_ORACLE_STRACE_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "oracle/byte_buffer.h"
#include "oracle/cursor.h"
#include "oracle/trace.h"

namespace portproof {

enum class LineKind : uint8_t {
  kCall,        // whole, or at least begun and not split
  kUnfinished,  // args end where the line was split
  kResumed,     // args begin where the line was split
  kExited,      // +++ exited with N +++
  kKilled,      // +++ killed by SIGNAL +++
  kNoise,       // signals, stops, strace's own words
  kBad,
};

// What a line's time counts from.
enum class TimeBase : uint8_t {
  kNone,      // no time is printed
  kEpoch,     // -ttt
  kMidnight,  // -t, -tt
  kLastLine,  // -r
};

struct StraceLine {
  LineKind kind = LineKind::kBad;
  int32_t tid = kNoPid;
  int64_t time_us = kNoTime;
  TimeBase time_base = TimeBase::kNone;
  bool whole_seconds = false;  // the time has no decimals
  bool abandoned = false;      // the thread died inside the call, or strace let go of it
  size_t column = 0;           // width of the pid column, spaces included; 0 there is none
  std::string_view name;
  std::string_view args;  // behind the '(' or the "resumed>"
};

StraceLine SplitLine(std::string_view line);

bool ParseUnsigned(Cursor& cursor, uint64_t& value);
bool ParseSigned(Cursor& cursor, int64_t& value);

// 9<UNIX:[38469->38468,@"name"]>
struct FdText {
  enum class Kind : uint8_t { kPlain, kUnix, kUnixStream, kUnixDgram, kOther };
  int64_t fd = -1;
  Kind kind = Kind::kPlain;  // kPlain: no description was printed
  uint64_t inode = 0;
  uint64_t peer = 0;             // 0: not printed
  std::string_view description;  // what stands between < and >, for other files
};
bool ParseFd(Cursor& cursor, FdText& fd);

// Appends the bytes of a string, quotes included, in any of strace's notations; cut
// becomes true where `...` says that the string was longer.
bool ParseString(Cursor& cursor, ByteBuffer& bytes, bool& cut);

// Over one value: a word, a string, or anything in balanced brackets.
bool SkipValue(Cursor& cursor);

// `) = RESULT`, from the closing parenthesis on.
struct ResultText {
  bool unknown = false;  // "?"
  int64_t value = 0;
  std::string_view errno_name;  // for -1
};
bool ParseResult(Cursor& cursor, ResultText& result);
// The same, of a call whose arguments do not matter: the last " = " of the text.
bool ParseLastResult(std::string_view args, ResultText& result);

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_STRACE_TEXT_H_
