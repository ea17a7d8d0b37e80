// Recorded traffic as events, whatever it was recorded with.
//   shapes    Event: one line of a trace that says something about ports. Times
//             are microseconds; sizes are bytes; absent numbers are nullopt-like
//             (kNoPid, kNoTime, iov 0).
//   returns   an EventSink is handed each event once, in order: sends stand where
//             they were entered, receives where they returned
//   holds     views into the reader's buffers: valid during OnEvent only
//   rules     the facts behind FRG-5 (times, deaths), SOC-3 (both sides), HDR-6, HDR-7
//   source    strace text, JSON Lines (see strace_reader.h, jsonl_reader.h)
#ifndef PORTPROOF_ORACLE_TRACE_H_
#define PORTPROOF_ORACLE_TRACE_H_

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "protocol/bytes.h"

namespace portproof {

inline constexpr int32_t kNoPid = -1;
inline constexpr int64_t kNoTime = std::numeric_limits<int64_t>::min();

enum class EventKind : uint8_t {
  kOpen,    // the port's beginning
  kSend,    // one datagram left, or may have (killed)
  kRecv,    // one datagram arrived
  kFail,    // a send that sent nothing
  kEof,     // the receiver saw the end
  kExit,    // a process died
  kClose,   // the port ended
  kDamage,  // a line that could not be read; what it held is unknown
};

struct Event {
  EventKind kind = EventKind::kSend;
  bool dgram = false;  // kOpen: SOCK_DGRAM
  // The thread died inside the call, or the trace ended there: a kSend may have left; a kRecv
  // has no bytes, and may have taken a datagram.
  bool killed = false;
  bool truncated = false;       // kRecv: MSG_TRUNC
  bool ctrl_truncated = false;  // kRecv: MSG_CTRUNC
  std::string_view port = {};   // empty: no port, or (kDamage) not known which
  int64_t time_us = kNoTime;
  int32_t pid = kNoPid;                // process, as the recorder names it
  int32_t tid = kNoPid;                // thread
  std::span<const uint8_t> data = {};  // the bytes known; fewer than size if the recorder cut them
  uint64_t zero_bytes = 0;             // known zero bytes that follow data
  uint64_t size = 0;                   // bytes of the datagram
  uint32_t fds = 0;                    // descriptors passed
  uint32_t rights = 0;                 // SCM_RIGHTS control messages
  uint32_t iov = 0;                    // iovecs of a send, header included; 0 unknown
  uint64_t segment_bytes = 0;          // size of the announced shared memory file; 0 unknown
  int32_t cred_pid = kNoPid;           // by the kernel
  uint32_t max_size = 0;               // kOpen; 0 unknown
  uint32_t max_share = 0;              // kOpen; 0 unknown
  std::string_view errno_name = {};    // kFail: "EAGAIN"
  uint64_t pending = 0;                // kRecv: events between the call's entry and this one
  uint64_t line = 0;                   // of the input, from 1; 0 none
  uint32_t file = 0;                   // of the input's files, from 0
};

// Every byte of the datagram is known.
inline bool IsWhole(const Event& event) {
  return event.data.size() + event.zero_bytes == event.size;
}

class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void OnEvent(const Event& event) = 0;
};

// What a reader says of the whole trace.
struct TraceInfo {
  std::string profile;  // named by the trace; empty if it names none
  ByteOrder byte_order = MachineByteOrder();
};

// A line that could not be read: named, counted, never silently dropped.
struct DamagedLine {
  std::string file;  // empty: the trace's only file
  uint64_t line = 0;
  std::string what;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_TRACE_H_
