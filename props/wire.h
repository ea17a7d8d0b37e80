// What a test receiver is fed and what it is seen to do, in plain types of its own:
// the naive process and the one that runs the machine share these words and no code.
//   shapes    Wire: one datagram as recvmsg gives it; descriptors are numbers that
//             count up, each used once; Outcome: what one event led to. A chunk is named by
//             its segment's sender, id, and how many that pair had before
//   returns   -
//   holds     the bytes
//   rules     none of its own
//   source    none
#ifndef PORTPROOF_PROPS_WIRE_H_
#define PORTPROOF_PROPS_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace portproof {

// The file behind the descriptor of an announcement.
struct SegmentFile {
  uint32_t id = 0;
  int32_t source = 0;
  bool right_size = false;  // false: it is no segment at all
  bool sealed = false;
  bool guarded = false;
  bool maps = false;
};

struct Wire {
  std::string bytes;  // header and payload, little endian
  std::vector<int> fds;
  uint32_t rights_messages = 0;
  bool truncated = false;
  bool control_truncated = false;
  bool hung_up = false;  // the socket, when it gave no bytes
  int32_t credentials_pid = 0;
  SegmentFile file = {};  // behind its descriptor, where it has one
};

struct Message {
  uint32_t stream = 0;
  int32_t pid = 0;
  uint16_t reply_port = 0;
  uint8_t type = 0;
  bool last = false;
  std::string payload = {};  // of shared memory the references
  std::string kinds = {};    // of each payload byte: 'p' plain, 's' shared
  std::vector<int> fds = {};

  friend bool operator==(const Message&, const Message&) = default;
};

using ChunkName = std::tuple<int32_t, uint32_t, int, uint32_t>;

// Cleared and reused: a fuzzer sees too many of them to allocate for each.
struct Outcome {
  bool delivered = false;
  Message message;                                 // where delivered
  std::string_view refused;                        // the rule, or empty
  std::vector<std::string_view> reported;          // rules, the datagram being accepted
  std::vector<std::string_view> discarded;         // rules, one for each assembly
  std::vector<int> closed;                         // descriptors, in any order
  std::vector<std::pair<int32_t, uint32_t>> asks;  // sender, segment
  std::vector<ChunkName> freed;                    // in any order
  size_t unmapped = 0;
  bool kept = false;       // it waits for an announcement
  bool cancelled = false;  // its sender took it back, or took back the message that it is of
  bool ended = false;      // the end of file

  void Clear();
};

// Everything but the order of descriptors and chunks.
bool SameOutcome(const Outcome& a, const Outcome& b);
std::ostream& operator<<(std::ostream& out, const Message& message);
std::ostream& operator<<(std::ostream& out, const Outcome& outcome);

// What the two are told about each port, and about segments.
struct Port {
  bool key_has_sender = true;
  bool takes_fragments = true;
  bool has_tracking = false;  // byte 15 is a flag; words of odd slots hold something else
  bool holds = false;         // from 1.19 on messages wait for announcements
  uint32_t tracking_slots = 103;
  uint8_t mmap_type = 0;
  uint8_t remove_pid_type = 0;
  int read_queue_type = -1;
  std::vector<int> pid_free_types = {};  // whose header may name another process (HDR-7)
  uint32_t max_size = 64;
  uint32_t fds_max = 2;
  uint32_t type_count = 34;
  uint32_t open_per_sender = 64;
  uint32_t open = 1024;
  uint32_t assembly_bytes = 32 << 20;
  uint64_t bytes = 64 << 20;
};

// Segments of 64 chunks of 16 bytes; ids are below.
inline constexpr uint32_t kWireChunks = 64;
inline constexpr uint32_t kWireChunkBytes = 16;
inline constexpr uint32_t kWireIds = 4;

}  // namespace portproof

#endif  // PORTPROOF_PROPS_WIRE_H_
