#include "oracle/suite/random_cases.h"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "oracle/conversation/generate.h"

namespace portproof::suite {
namespace {

using conversation::Answer;
using conversation::BufferSpec;
using conversation::Conversation;
using conversation::Dice;
using conversation::kSendersMax;
using conversation::kStreamsMax;
using conversation::Shape;

constexpr int kOfOneSetup = 8;
constexpr int kRuns = 6;  // every so many has small buffers
constexpr size_t kActions = 24;
constexpr uint16_t kReply = 0x0102;
constexpr int kBufferLeast = 2304;  // of a socket, before the kernel doubles it
constexpr int kBufferUnit = 300;
constexpr int kUsualBuffer = 106496;

uint8_t TypeFor(Stage& stage, uint8_t number) {
  const auto other = stage.other_type();
  return number % 2 == 1 && other ? *other : stage.plain_type();
}

std::vector<Piece> ChainOf(const conversation::Write& write, uint32_t limit, bool shared) {
  std::vector<Piece> chain;
  bool shm_before = false;
  for (const BufferSpec& spec : write.chain) {
    Piece piece;
    piece.sync = spec.shape == Shape::kSync;
    piece.last = piece.sync && spec.marked;
    piece.bytes = spec.Bytes(limit);
    piece.adjacent = !piece.sync && spec.adjacent;
    piece.seed = chain.size() + 1;
    piece.shm = shared && spec.shape == Shape::kShared && !spec.marked;
    // What lies in a segment and what does not are never adjacent.
    piece.adjacent = piece.adjacent && piece.shm == shm_before;
    if (!piece.sync) shm_before = piece.shm;
    chain.push_back(piece);
  }
  return chain;
}

void PlaySending(Stage& stage, const Conversation& conversation) {
  stage.link().SetTesteeSendBuffer(kBufferLeast + kBufferUnit * conversation.setup.capacity);
  const bool shared = stage.Has("shm-send");
  int64_t id = 0;
  for (const conversation::Action& action : conversation.actions) {
    if (const auto* const write = std::get_if<conversation::Write>(&action)) {
      Message message;
      message.id = ++id;
      message.type = TypeFor(stage, write->type);
      // Announcements are on stream 0, and would wait for a long message there (SND-6).
      message.stream = write->stream + (shared ? 1u : 0u);
      message.last = write->last;
      message.reply_port = static_cast<uint16_t>(kReply * write->stream);
      message.chain = ChainOf(*write, stage.limit(), shared);
      message.fds = stage.Has("fds") ? std::min<uint32_t>(write->fds, stage.profile().fds_max) : 0;
      message.close_fd = write->close_fds;
      message.batch = write->batch;
      stage.Write(message);
    } else if (std::holds_alternative<conversation::Receive>(action)) {
      stage.Settle(false);
    } else {
      stage.RunWithoutReading();
    }
  }
  stage.Settle();
  stage.peer_memory().ReleaseAll();
  stage.Expect(stage.peer_memory().busy_chunks() == 0, Rule::kShm6,
               "all chunks free when nothing is in flight",
               absl::StrCat(stage.peer_memory().busy_chunks(), " busy"));
  stage.link().SetTesteeSendBuffer(kUsualBuffer);
}

// Four senders of the runner's, each with what it still has to send.
class Senders {
 public:
  Senders(Stage& stage) : stage_(stage) {}

  void Write(const conversation::Write& write) {
    uint64_t left = 0;
    for (const BufferSpec& spec : write.chain) left += spec.Bytes(stage_.limit());
    bool first = true;
    do {
      const auto part = static_cast<size_t>(std::min<uint64_t>(left, stage_.limit()));
      left -= part;
      Datagram datagram = Blank(write.sender, write.stream);
      datagram.Type(TypeFor(stage_, write.type)).Bytes(part, ++seed_);
      datagram.Reply(static_cast<uint16_t>(kReply * write.stream)).Byte15(write.writer);
      if (write.last && left == 0) datagram.Last();
      if (write.last && left == 0 && write.batch) datagram.Patch(11, 2);
      if (!first) datagram.Nf();
      if (left > 0) datagram.Mf();
      if (first && stage_.Has("fds"))
        datagram.Fds(std::min<size_t>(write.fds, stage_.profile().fds_max));
      queues_[write.sender].push_back(datagram);
      first = false;
    } while (left > 0);
  }

  void Send(uint8_t sender) {
    if (queues_[sender].empty()) return;
    stage_.Post(queues_[sender].front());
    queues_[sender].pop_front();
  }

  void SendAll() {
    for (uint8_t sender = 0; sender < kSendersMax; ++sender) {
      while (!queues_[sender].empty()) Send(sender);
    }
  }

  // What an honest sender never sends.
  void Offend(const conversation::Script& script) {
    const bool fds = stage_.Has("fds");
    Datagram datagram = Blank(script.sender, script.taken % kStreamsMax);
    datagram.Type(stage_.plain_type()).Bytes(script.taken, ++seed_);
    switch (script.answer) {
      case Answer::kPartial:
        datagram.Mf();
        break;
      case Answer::kWouldBlock:
        datagram.Nf();
        break;
      case Answer::kBusy:
        datagram.Nf().Mf();
        if (stage_.other_type()) datagram.Type(*stage_.other_type());
        break;
      case Answer::kMessageError:
        datagram.Cut(script.taken % 5).Fds(fds ? script.sender % 2 : 0);
        break;
      case Answer::kPortError:
        if (script.taken % 3 == 0) datagram.Bytes(stage_.max_size() + 1u + script.taken).Mf();
        if (script.taken % 3 == 1) datagram.Type(Unhandled());
        if (script.taken % 3 == 2) datagram.Type(static_cast<uint8_t>(200 + script.taken));
        datagram.Fds(fds ? script.taken % 2 : 0);
        break;
      case Answer::kNoDescriptors:
        datagram.Nf().Fds(fds ? 1 + script.taken % 4 : 0);
        break;
    }
    stage_.Post(datagram);
  }

 private:
  uint8_t Unhandled() const {
    uint8_t type = 0;
    while (stage_.handled().contains(type)) ++type;
    return type;
  }

  // Streams of different senders differ: the kernel sees one process.
  static Datagram Blank(uint8_t sender, uint8_t stream) {
    return Datagram(static_cast<uint32_t>(sender * kStreamsMax + stream));
  }

  Stage& stage_;
  std::array<std::deque<Datagram>, kSendersMax> queues_;
  uint64_t seed_ = 0;
};

void PlayReceiving(Stage& stage, const Conversation& conversation) {
  Senders senders(stage);
  for (const conversation::Action& action : conversation.actions) {
    if (const auto* const write = std::get_if<conversation::Write>(&action)) {
      senders.Write(*write);
      if (!write->batch) senders.Send(write->sender);
    } else if (const auto* const flush = std::get_if<conversation::Flush>(&action)) {
      senders.Send(flush->sender);
    } else if (const auto* const turn = std::get_if<conversation::Turn>(&action)) {
      senders.Send(turn->sender);
    } else if (const auto* const script = std::get_if<conversation::Script>(&action)) {
      senders.Offend(*script);
    } else if (std::holds_alternative<conversation::Receive>(action)) {
      stage.Settle();
    }
  }
  senders.SendAll();
  stage.Settle();
}

// Many small buffers that lie apart: the run limit is met before the byte limit.
void MakeRuns(Conversation& conversation) {
  for (conversation::Action& action : conversation.actions) {
    auto* const write = std::get_if<conversation::Write>(&action);
    if (write == nullptr || write->chain.size() < 3) continue;
    for (size_t i = 0; write->chain.size() < 10; ++i) {
      const BufferSpec copy = write->chain[i];
      write->chain.push_back(copy);
    }
    for (BufferSpec& spec : write->chain) {
      if (spec.shape == Shape::kSync) continue;
      spec.limits = 0;
      spec.offset = static_cast<int16_t>(1 + spec.offset % 3);
      if (spec.offset < 1) spec.offset = 1;
      spec.adjacent = spec.adjacent && spec.offset == 1;
    }
  }
  Normalize(conversation);
}

}  // namespace

Case CaseOf(const std::string& name, const Conversation& conversation, bool sends) {
  Case made;
  made.name = name;
  made.rules = {sends ? Rule::kSnd7 : Rule::kRcv2};
  made.role = sends ? "sender" : "receiver";
  made.needs = {"fragments"};
  made.home = conversation.setup.stream_keyed ? "unit-0.2" : kNewestProfile;
  // The least MAX a port may have is 64; in old profiles L is MAX.
  made.max_size =
      std::max<uint32_t>(64, conversation.setup.payload_bytes() +
                                 (conversation.setup.stream_keyed ? 0 : uint32_t{kHeaderBytes}));
  made.max_share = conversation.setup.share_bytes();
  const bool shares =
      std::any_of(conversation.actions.begin(), conversation.actions.end(), [](const auto& action) {
        const auto* const write = std::get_if<conversation::Write>(&action);
        return write != nullptr &&
               std::any_of(write->chain.begin(), write->chain.end(),
                           [](const BufferSpec& spec) { return spec.shape == Shape::kShared; });
      });
  if (sends && shares) made.FreeFiles();
  made.conversation = conversation;
  made.sends = sends;
  made.play = [conversation, sends](Stage& stage) {
    if (sends) {
      PlaySending(stage, conversation);
    } else {
      PlayReceiving(stage, conversation);
    }
  };
  return made;
}

void AddRandomCases(CaseList& cases, uint64_t seed, int count) {
  conversation::Setup setup;
  for (int i = 0; i < count; ++i) {
    Dice dice(seed * 1000003 + static_cast<uint64_t>(i));
    Conversation conversation = Generate(dice, kActions, {.failures = i % 2 != 0});
    if (i % kRuns == 0) MakeRuns(conversation);
    if (i % kOfOneSetup == 0) setup = conversation.setup;
    conversation.setup.payload_extra = setup.payload_extra;
    conversation.setup.share = setup.share;
    conversation.setup.stream_keyed = setup.stream_keyed;
    const bool sends = i % 2 == 0;
    cases.push_back(
        CaseOf(absl::StrCat("RANDOM/", sends ? "sent-" : "received-", i), conversation, sends));
  }
}

}  // namespace portproof::suite
