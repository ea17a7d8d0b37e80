// The byte codec of action.h. An action is a byte for kind and sender, then the bytes of
// its fields; a value out of range wraps around into it, which is what makes it total.
#include <algorithm>
#include <cstdlib>
#include <type_traits>

#include "oracle/conversation/action.h"

namespace portproof::conversation {
namespace {

// The first byte: below kReceivers a sender's action, from there on one of receivers.
constexpr uint8_t kKinds = kFirstOfReceivers;
constexpr uint8_t kReceivers = 128;
constexpr uint8_t kReceiverKinds = std::variant_size_v<Action> - kFirstOfReceivers;

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

// Bytes: nf, mf, last, mmap, tracked, fresh, port 2 bits; stream 2, type 3, fds 2, other_reply;
// credentials 2, trouble 3, references 2; bytes; ids 3 bits each; chunk.
Arrive DecodeArrive(uint8_t sender, Reader& in) {
  const uint8_t flags = in.Next();
  const uint8_t what = in.Next();
  const uint8_t how = in.Next();
  Arrive arrive{.sender = sender,
                .port = static_cast<uint8_t>(flags >> 6),
                .stream = static_cast<uint8_t>(what & 3),
                .type = static_cast<uint8_t>(what >> 2 & 7),
                .fds = static_cast<uint8_t>(what >> 5 & 3),
                .credentials = static_cast<uint8_t>(how & 3),
                .trouble = static_cast<Trouble>(how >> 2 & 7),
                .nf = (flags & 1) != 0,
                .mf = (flags & 2) != 0,
                .last = (flags & 4) != 0,
                .other_reply = what >> 7 != 0,
                .mmap = (flags & 8) != 0,
                .tracked = (flags & 16) != 0,
                .fresh = (flags & 32) != 0,
                .bytes = in.Next(),
                .references = static_cast<uint8_t>(1 + (how >> 5 & 3))};
  const uint8_t ids = in.Next();
  arrive.ids[0] = (ids & 7) % kIdsMax;
  arrive.ids[1] = (ids >> 3 & 7) % kIdsMax;
  arrive.chunk = in.Next();
  return arrive;
}

void EncodeFields(const Arrive& arrive, std::vector<uint8_t>& out) {
  out.push_back(static_cast<uint8_t>(arrive.nf | arrive.mf << 1 | arrive.last << 2 |
                                     arrive.mmap << 3 | arrive.tracked << 4 | arrive.fresh << 5 |
                                     arrive.port << 6));
  out.push_back(static_cast<uint8_t>(arrive.stream | arrive.type << 2 | arrive.fds << 5 |
                                     arrive.other_reply << 7));
  out.push_back(static_cast<uint8_t>(arrive.credentials |
                                     static_cast<uint8_t>(arrive.trouble) << 2 |
                                     (arrive.references - 1) << 5));
  out.push_back(arrive.bytes);
  out.push_back(static_cast<uint8_t>(arrive.ids[0] | arrive.ids[1] << 3));
  out.push_back(arrive.chunk);
}

// One byte: port 2 bits, id 3, file 3.
Announce DecodeAnnounce(uint8_t sender, Reader& in) {
  const uint8_t byte = in.Next();
  return {sender, static_cast<uint8_t>(byte & 3), static_cast<uint8_t>((byte >> 2 & 7) % kIdsMax),
          static_cast<File>(byte >> 5)};
}

void EncodeFields(const Announce& announce, std::vector<uint8_t>& out) {
  out.push_back(static_cast<uint8_t>(announce.port | announce.id << 2 |
                                     static_cast<uint8_t>(announce.file) << 5));
}

// Bytes: chunk 6 bits, spoils; id.
Tamper DecodeTamper(uint8_t sender, Reader& in) {
  const uint8_t byte = in.Next();
  return {sender, static_cast<uint8_t>(in.Next() % kIdsMax), static_cast<uint8_t>(byte & 63),
          (byte & 64) != 0};
}

void EncodeFields(const Tamper& tamper, std::vector<uint8_t>& out) {
  out.push_back(static_cast<uint8_t>(tamper.chunk | tamper.spoils << 6));
  out.push_back(tamper.id);
}

void EncodeFields(const GoOn&, std::vector<uint8_t>&) {}
void EncodeFields(const Release& release, std::vector<uint8_t>& out) {
  out.push_back(release.which);
}
void EncodeFields(const Forget& forget, std::vector<uint8_t>& out) { out.push_back(forget.port); }
void EncodeFields(const Reopen& reopen, std::vector<uint8_t>& out) { out.push_back(reopen.port); }

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

uint8_t HeadOf(size_t kind, uint8_t sender) {
  if (kind < kFirstOfReceivers) return static_cast<uint8_t>(kind + sender * size_t{kKinds});
  return static_cast<uint8_t>(kReceivers + kind - kFirstOfReceivers +
                              sender * size_t{kReceiverKinds});
}

Action DecodeReceivers(uint8_t head, Reader& in) {
  const uint8_t sender = head / kReceiverKinds % kSendersMax;
  const auto port = [&in] { return static_cast<uint8_t>(in.Next() % kPortsMax); };
  switch (head % kReceiverKinds) {
    case 0:
      return DecodeArrive(sender, in);
    case 1:
      return DecodeAnnounce(sender, in);
    case 2:
      return GoOn{};
    case 3:
      return Release{in.Next()};
    case 4:
      return Forget{sender, port()};
    case 5:
      return Reopen{port()};
    case 6:
      return DecodeTamper(sender, in);
  }
  std::abort();  // the kinds are seven
}
static_assert(kReceiverKinds == 7);

Action DecodeAction(Reader& in) {
  const uint8_t head = in.Next();
  if (head >= kReceivers) return DecodeReceivers(head - kReceivers, in);
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
void NormalizeAction(Arrive& arrive) {
  arrive.sender %= kSendersMax;
  arrive.port %= kPortsMax;
  arrive.stream %= kStreamsMax;
  arrive.type %= 8;
  arrive.fds %= 4;
  arrive.credentials %= 4;
  arrive.trouble = static_cast<Trouble>(static_cast<uint8_t>(arrive.trouble) % kTroublesMax);
  arrive.references = static_cast<uint8_t>(std::clamp<int>(arrive.references, 1, 4));
  for (uint8_t& id : arrive.ids) id %= kIdsMax;
}
void NormalizeAction(Announce& announce) {
  announce.sender %= kSendersMax;
  announce.port %= kPortsMax;
  announce.id %= kIdsMax;
  announce.file = static_cast<File>(static_cast<uint8_t>(announce.file) % kFilesMax);
}
void NormalizeAction(GoOn&) {}
void NormalizeAction(Release&) {}
void NormalizeAction(Forget& forget) {
  forget.sender %= kSendersMax;
  forget.port %= kPortsMax;
}
void NormalizeAction(Reopen& reopen) { reopen.port %= kPortsMax; }
void NormalizeAction(Tamper& tamper) {
  tamper.sender %= kSendersMax;
  tamper.id %= kIdsMax;
  tamper.chunk %= 64;
}
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
          out.push_back(HeadOf(action.index(), SenderOf(value)));
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
