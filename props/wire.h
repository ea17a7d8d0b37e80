// What a test receiver is fed and what it is seen to do, in plain types of its own:
// the naive model and the one that runs the core share these words and no code.
//   shapes    Wire: one datagram as recvmsg gives it; descriptors are numbers that
//             count up, each used once; Outcome: what one event led to
//   returns   -
//   holds     the bytes
//   rules     none of its own
//   source    none
#ifndef PORTPROOF_PROPS_WIRE_H_
#define PORTPROOF_PROPS_WIRE_H_

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace portproof {

struct Wire {
  std::string bytes;  // header and payload, little endian
  std::vector<int> fds;
  uint32_t rights_messages = 0;
  bool truncated = false;
  bool control_truncated = false;
  int32_t credentials_pid = 0;
};

struct Message {
  uint32_t stream = 0;
  int32_t pid = 0;
  uint16_t reply_port = 0;
  uint8_t type = 0;
  bool last = false;
  std::string payload;
  std::string kinds;  // of each payload byte: 'p' plain, 's' shared
  std::vector<int> fds;

  friend bool operator==(const Message&, const Message&) = default;
};

// Cleared and reused: a fuzzer sees too many of them to allocate for each.
struct Outcome {
  bool delivered = false;
  Message message;                          // where delivered
  std::string_view refused;                 // the rule, or empty
  std::vector<std::string_view> discarded;  // rules, one for each assembly
  std::vector<int> closed;                  // descriptors, in any order

  void Clear() {
    delivered = false;
    refused = {};
    discarded.clear();
    closed.clear();
  }
};

// Everything but the order in which descriptors were closed.
bool SameOutcome(const Outcome& a, const Outcome& b);
std::ostream& operator<<(std::ostream& out, const Message& message);
std::ostream& operator<<(std::ostream& out, const Outcome& outcome);

// What the two receivers are told about the port.
struct Port {
  bool key_has_sender = true;
  bool takes_fragments = true;
  bool has_tracking = false;  // byte 15 is a flag; slot 1 of every segment is cancelled
  uint32_t max_size = 64;
  uint32_t fds_max = 2;
  uint32_t type_count = 34;
  uint32_t open_per_sender = 64;
  uint32_t open = 1024;
  uint32_t assembly_bytes = 32 << 20;
  uint64_t bytes = 64 << 20;
};

}  // namespace portproof

#endif  // PORTPROOF_PROPS_WIRE_H_
