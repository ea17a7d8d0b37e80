// The byte codec of action.h. An action is a byte for kind and sender, then the bytes of
// its fields; a value out of range wraps around into it, which is what makes it total.
#include <algorithm>
#include <cstdlib>
#include <type_traits>

#include "oracle/conversation/action.h"

namespace portproof::conversation {
namespace {

constexpr uint8_t kKinds = std::variant_size_v<Action>;

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool done() const { return position_ >= bytes_.size(); }
  uint8_t Next() { return done() ? 0 : bytes_[position_++]; }

 private:
  std::span<const uint8_t> bytes_;
  size_t position_ = 0;
};

// byte 0: shape 2 bits, adjacent, marked, limits 2 bits; byte 1: offset
BufferSpec DecodeBuffer(Reader& in) {
  const uint8_t head = in.Next();
  const uint8_t offset = in.Next();
  BufferSpec spec;
  spec.shape = static_cast<Shape>(head & 3);
  spec.adjacent = (head & 4) != 0;
  spec.marked = (head & 8) != 0;
  spec.limits = head >> 4 & 3;
  spec.offset = spec.limits == 0 ? int16_t{offset} : int16_t{static_cast<int8_t>(offset)};
  return spec;
}

void EncodeBuffer(const BufferSpec& spec, std::vector<uint8_t>& out) {
  out.push_back(static_cast<uint8_t>(static_cast<uint8_t>(spec.shape) | spec.adjacent << 2 |
                                     spec.marked << 3 | spec.limits << 4));
  out.push_back(static_cast<uint8_t>(spec.offset));
}

// Bytes: writer 2 bits, stream 2, type 2, fds 2; flags; chain length; the chain.
Write DecodeWrite(uint8_t sender, Reader& in) {
  const uint8_t who = in.Next();
  const uint8_t flags = in.Next();
  Write write;
  write.sender = sender;
  write.writer = who & 3;
  write.stream = who >> 2 & 3;
  write.type = who >> 4 & 3;
  write.fds = who >> 6 & 3;
  write.last = (flags & 1) != 0;
  write.close_fds = (flags & 2) != 0;
  write.batch = (flags & 4) != 0;
  write.chain.resize(in.Next() % (kChainMax + 1));
  for (BufferSpec& spec : write.chain) spec = DecodeBuffer(in);
  return write;
}

void EncodeFields(const Write& write, std::vector<uint8_t>& out) {
  out.push_back(
      static_cast<uint8_t>(write.writer | write.stream << 2 | write.type << 4 | write.fds << 6));
  out.push_back(static_cast<uint8_t>(write.last | write.close_fds << 1 | write.batch << 2));
  out.push_back(static_cast<uint8_t>(write.chain.size()));
  for (const BufferSpec& spec : write.chain) EncodeBuffer(spec, out);
}

Script DecodeScript(uint8_t sender, Reader& in) {
  const uint8_t byte = in.Next();
  return {sender, static_cast<uint8_t>(byte & 15), static_cast<Answer>((byte >> 4) % kAnswersMax)};
}

void EncodeFields(const Script& script, std::vector<uint8_t>& out) {
  out.push_back(static_cast<uint8_t>(script.taken | static_cast<uint8_t>(script.answer) << 4));
}

void EncodeFields(const Receive& receive, std::vector<uint8_t>& out) {
  out.push_back(static_cast<uint8_t>(receive.count - 1));
}

void EncodeFields(const Flush&, std::vector<uint8_t>&) {}
void EncodeFields(const Turn&, std::vector<uint8_t>&) {}
void EncodeFields(const HangUp&, std::vector<uint8_t>&) {}
void EncodeFields(const Die&, std::vector<uint8_t>&) {}
void EncodeFields(const Close&, std::vector<uint8_t>&) {}

template <typename T>
uint8_t SenderOf(const T& action) {
  if constexpr (requires { action.sender; }) return action.sender;
  return 0;
}

Action DecodeAction(Reader& in) {
  const uint8_t head = in.Next();
  const uint8_t sender = head / kKinds % kSendersMax;
  switch (head % kKinds) {
    case 0:
      return DecodeWrite(sender, in);
    case 1:
      return Flush{sender};
    case 2:
      return Turn{sender};
    case 3:
      return Receive{static_cast<uint8_t>(1 + in.Next() % 16)};
    case 4:
      return DecodeScript(sender, in);
    case 5:
      return HangUp{};
    case 6:
      return Die{sender};
    case 7:
      return Close{sender};
  }
  std::abort();  // the kinds are eight
}
static_assert(kKinds == 8);

void NormalizeAction(Write& write) {
  write.sender %= kSendersMax;
  write.writer %= kWritersMax;
  write.stream %= kStreamsMax;
  write.type %= kTypesMax;
  write.fds %= 4;
  if (write.chain.size() > kChainMax) write.chain.resize(kChainMax);
  for (BufferSpec& spec : write.chain) {
    spec.limits %= 4;
    if (spec.limits == 0) {
      spec.offset = std::clamp<int16_t>(spec.offset, 0, 255);
    } else {
      spec.offset = std::clamp<int16_t>(spec.offset, -128, 127);
    }
  }
}
void NormalizeAction(Script& script) {
  script.sender %= kSendersMax;
  script.taken %= 16;
}
void NormalizeAction(Receive& receive) {
  receive.count = static_cast<uint8_t>(std::clamp<int>(receive.count, 1, 16));
}
void NormalizeAction(HangUp&) {}
template <typename T>
void NormalizeAction(T& action) {
  action.sender %= kSendersMax;
}

}  // namespace

void Normalize(Conversation& conversation) {
  Setup& setup = conversation.setup;
  setup.senders = static_cast<uint8_t>(std::clamp<int>(setup.senders, 1, kSendersMax));
  setup.payload_extra %= 64;
  setup.capacity %= 16;
  setup.messages %= 16;
  setup.limits %= 32;
  setup.fds %= 8;
  if (conversation.actions.size() > kActionsMax) conversation.actions.resize(kActionsMax);
  for (Action& action : conversation.actions) {
    std::visit([](auto& value) { NormalizeAction(value); }, action);
  }
}

std::vector<uint8_t> Encode(const Conversation& conversation) {
  const Setup& setup = conversation.setup;
  std::vector<uint8_t> out = {static_cast<uint8_t>(setup.senders - 1),
                              setup.payload_extra,
                              setup.share,
                              setup.capacity,
                              setup.messages,
                              setup.limits,
                              setup.fds,
                              setup.stream_keyed};
  for (const Action& action : conversation.actions) {
    std::visit(
        [&out, &action](const auto& value) {
          out.push_back(static_cast<uint8_t>(action.index() + SenderOf(value) * kKinds));
          EncodeFields(value, out);
        },
        action);
  }
  return out;
}

Conversation Decode(std::span<const uint8_t> bytes) {
  Reader in(bytes);
  Conversation conversation;
  Setup& setup = conversation.setup;
  setup.senders = static_cast<uint8_t>(1 + in.Next() % kSendersMax);
  setup.payload_extra = in.Next() % 64;
  setup.share = in.Next();
  setup.capacity = in.Next() % 16;
  setup.messages = in.Next() % 16;
  setup.limits = in.Next() % 32;
  setup.fds = in.Next() % 8;
  setup.stream_keyed = in.Next() % 2 != 0;
  while (!in.done() && conversation.actions.size() < kActionsMax) {
    conversation.actions.push_back(DecodeAction(in));
  }
  return conversation;
}

std::string ToHex(std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::vector<uint8_t> FromHex(std::string_view text) {
  std::vector<uint8_t> bytes;
  int high = -1;
  for (const char c : text) {
    int digit = -1;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
    if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
    if (digit < 0) continue;
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<uint8_t>(high << 4 | digit));
      high = -1;
    }
  }
  return bytes;
}

}  // namespace portproof::conversation
