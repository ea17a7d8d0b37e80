// Reading a trace from memory, for the fuzzers of the readers.
#ifndef PORTPROOF_FUZZ_READINGS_H_
#define PORTPROOF_FUZZ_READINGS_H_

#include <string>
#include <string_view>

#include "oracle/checker.h"
#include "oracle/read_log.h"

namespace portproof {

struct Reading {
  bool read = false;  // else the input is no trace at all
  ReadLog log;
  CheckResult result;
};

enum class TextKind { kStrace, kJsonLines };

// Judged as `profile`, whatever the trace says.
Reading ReadAndJudge(std::string_view text, TextKind kind, const Profile& profile);
// The same trace as JSON Lines.
std::string AsJsonLines(std::string_view text, TextKind kind);

// Aborts unless the laws hold that every result obeys, and both results are equal.
void CheckLaws(const Reading& reading, std::string_view text);
void CheckSame(const Reading& a, const Reading& b, bool with_lines);

}  // namespace portproof

#endif  // PORTPROOF_FUZZ_READINGS_H_
