// A conversation: what writers, senders, the kernel, and the receiver of one port do,
// one action after the other. Everything that plays conversations plays these: the
// properties, the fuzzer, the vectors, the live suite, the tests of the shell.
//
//   shapes    a Conversation is a Setup and a list of actions. Sizes are given in units
//             of L, so that one conversation meets the same edges at every limit.
//             Each field has a range, below; Normalize puts it there
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

using Action = std::variant<Write, Flush, Turn, Receive, Script, HangUp, Die, Close>;

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
