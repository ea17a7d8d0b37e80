// Runs this project's reassembly beside portproof's receive machine over the fragments of a
// generated conversation, and aborts where they differ. The bytes are portproof's conversation
// codec: every input is a conversation, and mutations stay close to the protocol's edges.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <span>

#include "oracle/conversation/action.h"
#include "protocol/header.h"
#include "protocol/profile.h"
#include "protocol/receive_machine.h"
#include "tiny_reassembly.h"

namespace {

using portproof::conversation::Conversation;
using portproof::conversation::kSendersMax;

// No datagram here names shared memory.
class NoSegments : public portproof::SegmentView {
  bool AllBusy(uint32_t, uint32_t, uint32_t) const override { return false; }
  bool Poisoned(uint32_t) const override { return false; }
};

class Beside {
 public:
  Beside() { port_ = reference_.AddPort({.profile = &portproof::Profiles().back()}); }

  void Take(const TinyHeader& header, uint32_t bytes) {
    const portproof::Header same{.stream = header.stream,
                                 .pid = header.pid,
                                 .type = header.type,
                                 .last = header.last,
                                 .nf = header.nf,
                                 .mf = header.mf};
    const portproof::Arrival arrival{.port = port_,
                                     .received = {.bytes = portproof::kHeaderBytes + bytes},
                                     .header = &same,
                                     .payload_bytes = bytes};
    Step(reference_, arrival, NoSegments(), actions_);
    TinyMessage message;
    Compare(ours_.Take(header, bytes, message), message);
  }

 private:
  void Compare(TinyReassembly::Verdict verdict, const TinyMessage& message) const {
    auto reference = TinyReassembly::Verdict::kTaken;
    for (const portproof::ReceiveAction& action : actions_) {
      using Kind = portproof::ReceiveAction::Kind;
      if (action.kind == Kind::kRefuse) reference = TinyReassembly::Verdict::kRefused;
      if (action.kind != Kind::kDeliver && action.kind != Kind::kFinish) continue;
      reference = TinyReassembly::Verdict::kDelivered;
      if (verdict != reference) break;
      Require(message.bytes == action.payload_bytes && message.last == action.header.last &&
              message.first.type == action.header.type);
    }
    Require(verdict == reference);
  }
  void Require(bool same) const {
    if (same) return;
    std::fprintf(stderr, "they differ; portproof says: %s\n",
                 portproof::ToString(actions_).c_str());
    std::abort();
  }

  TinyReassembly ours_;
  portproof::ReceiveMachine reference_{portproof::SegmentConfig()};
  uint32_t port_ = 0;
  portproof::ReceiveActions actions_;
};

struct Fragment {
  TinyHeader header;
  uint32_t bytes = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Conversation conversation = portproof::conversation::Decode(std::span(data, size));
  const uint32_t limit = conversation.setup.payload_bytes();
  std::array<std::deque<Fragment>, kSendersMax> waiting;
  Beside beside;
  const auto send = [&](uint8_t sender) {
    if (waiting[sender].empty()) return;
    beside.Take(waiting[sender].front().header, waiting[sender].front().bytes);
    waiting[sender].pop_front();
  };
  for (const auto& action : conversation.actions) {
    if (const auto* write = std::get_if<portproof::conversation::Write>(&action)) {
      uint64_t left = 0;
      for (const auto& buffer : write->chain) left += buffer.Bytes(limit);
      bool first = true;
      do {
        const auto bytes = static_cast<uint32_t>(std::min<uint64_t>(left, limit));
        left -= bytes;
        waiting[write->sender].push_back({{.stream = write->stream,
                                           .pid = 100 + write->sender,
                                           .type = write->type,
                                           .last = write->last && (first || write->close_fds),
                                           .nf = !first,
                                           .mf = left > 0},
                                          bytes});
        first = false;
      } while (left > 0);
    } else if (const auto* turn = std::get_if<portproof::conversation::Turn>(&action)) {
      send(turn->sender);
    } else if (const auto* script = std::get_if<portproof::conversation::Script>(&action)) {
      // A fragment is lost, or comes twice: what an honest sender never does.
      if (!waiting[script->sender].empty() && script->taken % 2 == 0)
        waiting[script->sender].pop_front();
      else if (!waiting[script->sender].empty())
        waiting[script->sender].push_front(waiting[script->sender].front());
    } else {
      for (uint8_t sender = 0; sender < kSendersMax; ++sender) send(sender);
    }
  }
  for (uint8_t sender = 0; sender < kSendersMax; ++sender) {
    while (!waiting[sender].empty()) send(sender);
  }
  return 0;
}
