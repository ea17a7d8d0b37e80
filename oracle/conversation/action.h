// A conversation: what writers, senders, the kernel, and receivers do, one action after the
// other. Everything that plays conversations plays these: the properties, the fuzzers, the
// vectors, the live suite, the tests of the shell.
//
//   shapes    a Conversation is a Setup and a list of actions. Those from Write to Close are
//             of the senders of one port; those from Arrive to Tamper are of a process with
//             receive ports, to which anybody may have sent anything. A player of one side
//             passes over the actions of the other. Sizes are given in units of L, so that
//             one conversation meets the same edges at every limit. Each field has a range,
//             below; Normalize puts it there
//   returns   Encode and Decode: bytes and back. Decode is total: every byte string is
//             a conversation; Decode(Encode(c)) == c for a normal c. Missing bytes are 0
//   holds     values
//   rules     none of its own
//   source    none
#ifndef PORTPROOF_ORACLE_CONVERSATION_ACTION_H_
#define PORTPROOF_ORACLE_CONVERSATION_ACTION_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace portproof::conversation {

inline constexpr uint8_t kSendersMax = 4;
inline constexpr uint8_t kStreamsMax = 4;   // numbers 0 ... 3
inline constexpr uint8_t kWritersMax = 4;   // of one sender
inline constexpr uint8_t kTypesMax = 4;     // the player says which
inline constexpr uint8_t kPortsMax = 4;     // that receive
inline constexpr uint8_t kIdsMax = 5;       // of a sender's segments; no segment has the last
inline constexpr size_t kChainMax = 24;     // buffers of a message
inline constexpr size_t kActionsMax = 200;  // of a conversation
inline constexpr size_t kSetupBytes = 8;    // encoded

// The port, as tiny as one likes: edges are then a few bytes away.
struct Setup {
  uint8_t senders = 1;        // 1 ... kSendersMax
  uint8_t payload_extra = 0;  // L = 48 + payload_extra, 0 ... 63
  uint8_t share = 0;          // SHARE = 1 + 8 * share bytes
  uint8_t capacity = 0;       // the socket holds 1 + capacity datagrams, 0 ... 15
  uint8_t messages = 0;       // SND-12: 1 + messages, 0 ... 15
  uint8_t limits = 0;         // SND-12: (1 + limits) * L bytes, 0 ... 31
  uint8_t fds = 0;            // SND-12: 1 + fds, 0 ... 7
  bool stream_keyed = false;  // a profile to 1.8: the stream alone keys an assembly, one fd

  uint32_t payload_bytes() const { return 48u + payload_extra; }
  uint32_t share_bytes() const { return 1 + 8u * share; }
  uint32_t capacity_datagrams() const { return 1u + capacity; }
  uint32_t messages_max() const { return 1u + messages; }
  uint32_t bytes_max() const { return (1u + limits) * payload_bytes(); }
  uint32_t fds_max() const { return 1u + fds; }

  // What the same bytes say to a player of receive ports.
  uint32_t profile_row() const { return payload_extra; }  // modulo the number of rows
  uint32_t ports() const { return 1u + capacity % kPortsMax; }
  uint32_t open_max() const { return 1u + 2u * messages; }  // FRG-8
  uint32_t open_per_sender() const { return fds; }
  uint32_t assembly_bytes() const { return 1u + 4u * share; }
  uint32_t kept_bytes() const { return bytes_max(); }
  bool takes_fragments() const { return !stream_keyed; }

  friend bool operator==(const Setup&, const Setup&) = default;
};

enum class Shape : uint8_t { kPlain, kShared, kSync, kEmpty };

struct BufferSpec {
  Shape shape = Shape::kPlain;
  bool adjacent = false;  // begins where the memory buffer before it ended; shared:
                          // on the chunk behind it
  bool marked = false;    // sync: the conversation ends. shared: off its chunk, so not
                          // nameable
  uint8_t limits = 0;     // 0 ... 3: so many L ...
  int16_t offset = 1;     // ... plus this: -128 ... 127; without limits 1 ... 255

  uint32_t Bytes(uint32_t payload_bytes) const {
    if (shape == Shape::kSync || shape == Shape::kEmpty) return 0;
    const int64_t bytes = int64_t{limits} * payload_bytes + offset;
    return bytes < 0 ? 0 : static_cast<uint32_t>(bytes);
  }
  friend bool operator==(const BufferSpec&, const BufferSpec&) = default;
};

struct Write {
  uint8_t sender = 0;
  uint8_t writer = 0;
  uint8_t stream = 0;
  uint8_t type = 0;
  uint8_t fds = 0;  // 0 ... 2
  bool last = false;
  bool close_fds = false;
  bool batch = false;
  std::vector<BufferSpec> chain = {};
  friend bool operator==(const Write&, const Write&) = default;
};

// The writer flushes what it batched.
struct Flush {
  uint8_t sender = 0;
  friend bool operator==(const Flush&, const Flush&) = default;
};

// The sender's loop turns: an armed and ready write event fires, a retry comes due.
struct Turn {
  uint8_t sender = 0;
  friend bool operator==(const Turn&, const Turn&) = default;
};

// The receiver reads so many datagrams, if there are; that makes room.
struct Receive {
  uint8_t count = 1;  // 1 ... 16
  friend bool operator==(const Receive&, const Receive&) = default;
};

enum class Answer : uint8_t {
  kPartial,        // takes what was said, nothing else
  kWouldBlock,     // EAGAIN although there is room
  kBusy,           // ENOBUFS
  kMessageError,   // EMSGSIZE and the like
  kPortError,      // EPIPE and the like
  kNoDescriptors,  // the next descriptor cannot be duplicated
};
inline constexpr uint8_t kAnswersMax = 6;

// The kernel takes `taken` more datagrams of the sender's next calls, then answers so, once.
struct Script {
  uint8_t sender = 0;
  uint8_t taken = 0;  // 0 ... 15
  Answer answer = Answer::kPartial;
  friend bool operator==(const Script&, const Script&) = default;
};

// The receive end goes away; what is in the socket is lost.
struct HangUp {
  friend bool operator==(const HangUp&, const HangUp&) = default;
};

// The sender's process dies; what is in the socket arrives.
struct Die {
  uint8_t sender = 0;
  friend bool operator==(const Die&, const Die&) = default;
};

// The sender closes its end of the port.
struct Close {
  uint8_t sender = 0;
  friend bool operator==(const Close&, const Close&) = default;
};

// What is unusual about a datagram.
enum class Trouble : uint8_t {
  kNone,
  kFlagOfTwo,         // its flags are sent as 2 (HDR-3)
  kTwoRights,         // its descriptors in two control messages
  kTruncated,         // MSG_TRUNC
  kControlTruncated,  // MSG_CTRUNC
  kShort,             // only `bytes` modulo 16 of it came
  kNoBytes,           // none did
  kHungUp,            // none did, and the peer is gone: the end of file
};
inline constexpr uint8_t kTroublesMax = 8;

// A datagram comes to a receive port.
struct Arrive {
  uint8_t sender = 0;
  uint8_t port = 0;
  uint8_t stream = 0;
  uint8_t type = 0;  // 0 ... 7: 0 to 4 ordinary ones; 5 remove_pid; 6 mmap; 7 none of the profile
  uint8_t fds = 0;   // 0 ... 3
  uint8_t credentials = 0;  // 0, 1 the sender's; 2 none; 3 the next sender's
  Trouble trouble = Trouble::kNone;
  bool nf = false;
  bool mf = false;
  bool last = false;
  bool other_reply = false;
  bool mmap = false;       // its payload is references, or is no list of them where bytes is 255
  bool tracked = false;    // byte 15 is 1
  bool fresh = false;      // the sender took the chunks that it names, as it should
  uint8_t bytes = 0;       // of payload. mmap: the last byte of the tracking's slot
  uint8_t references = 1;  // 1 ... 4, by turns of these two segments
  uint8_t ids[2] = {0, 0};
  uint8_t chunk = 0;  // the first; 60 and above are edges
  friend bool operator==(const Arrive&, const Arrive&) = default;
};

enum class File : uint8_t {
  kGood,
  kWrongSize,
  kUnsealed,
  kGuarded,
  kForeign,
  kUnmappable,
  kNone,
  kTwo
};
inline constexpr uint8_t kFilesMax = 8;

// A segment's announcement comes to a receive port.
struct Announce {
  uint8_t sender = 0;
  uint8_t port = 0;
  uint8_t id = 0;
  File file = File::kGood;
  friend bool operator==(const Announce&, const Announce&) = default;
};

// One held datagram goes on, if there is one that can.
struct GoOn {
  friend bool operator==(const GoOn&, const GoOn&) = default;
};

// The application gives up the chunks of one reference that it was given.
struct Release {
  uint8_t which = 0;
  friend bool operator==(const Release&, const Release&) = default;
};

// A receive port hears that a sender is dead.
struct Forget {
  uint8_t sender = 0;
  uint8_t port = 0;
  friend bool operator==(const Forget&, const Forget&) = default;
};

// A receive port is closed, and another opened in its place.
struct Reopen {
  uint8_t port = 0;
  friend bool operator==(const Reopen&, const Reopen&) = default;
};

// A sender turns the bit of a chunk, whoever has it, or makes a page of its segment go.
struct Tamper {
  uint8_t sender = 0;
  uint8_t id = 0;
  uint8_t chunk = 0;  // 0 ... 63
  bool spoils = false;
  friend bool operator==(const Tamper&, const Tamper&) = default;
};

using Action = std::variant<Write, Flush, Turn, Receive, Script, HangUp, Die, Close, Arrive,
                            Announce, GoOn, Release, Forget, Reopen, Tamper>;
// From here on they are of receive ports.
inline constexpr size_t kFirstOfReceivers = 8;

struct Conversation {
  Setup setup;
  std::vector<Action> actions;
  friend bool operator==(const Conversation&, const Conversation&) = default;
};

void Normalize(Conversation& conversation);

std::vector<uint8_t> Encode(const Conversation& conversation);
Conversation Decode(std::span<const uint8_t> bytes);

// A story: one line for the setup, one for each action.
std::string ToString(const Setup& setup);
std::string ToString(const Action& action);
std::string ToString(const Conversation& conversation);

// The encoding in hexadecimal digits; FromHex skips what is none.
std::string ToHex(std::span<const uint8_t> bytes);
std::vector<uint8_t> FromHex(std::string_view text);

}  // namespace portproof::conversation

#endif  // PORTPROOF_ORACLE_CONVERSATION_ACTION_H_
