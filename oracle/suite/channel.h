// The JSON Lines pipe to a testee: a line out, a line back, within its budget of time.
//   shapes    lines without their newline, at most kLineBytesMax; a Watcher is served
//             while we wait (the ports are drained and filled meanwhile)
//   returns   the answer's line, or what came instead of it
//   holds     what was read beyond the line, the last bytes of standard error
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_CHANNEL_H_
#define PORTPROOF_ORACLE_SUITE_CHANNEL_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "oracle/suite/patience.h"

namespace portproof::suite {

inline constexpr size_t kLineBytesMax = size_t{16} << 20;
inline constexpr size_t kErrorBytesKept = 4096;

// What else is served while an answer is awaited.
class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual int ReadFd() const = 0;   // -1: none
  virtual int WriteFd() const = 0;  // -1: nothing to write
  virtual void Readable() = 0;
  virtual void Writable() = 0;
};

enum class Heard : uint8_t { kLine, kTimeout, kClosed, kTooLong, kUnasked };

class Channel {
 public:
  // `testee`: whose time is counted.
  Channel(pid_t testee, int in, int out, int err)
      : testee_(testee), in_(in), out_(out), err_(err) {}

  // An empty `line` only waits (for the hello).
  Heard Ask(std::string_view line, int budget_ms, Watcher* watcher, std::string& answer);
  const std::string& errors() const { return errors_; }
  void ReadErrors();

 private:
  bool TakeLine(std::string& answer);
  bool Read();  // false: it closed

  pid_t testee_;
  int in_;
  int out_;
  int err_;
  std::string buffer_;
  size_t scanned_ = 0;
  std::string errors_;
};

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_CHANNEL_H_
