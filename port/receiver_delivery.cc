// The receiver's second part: what becomes of a datagram that was admitted, as Reassembly
// decides.
#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

#include "port/receiver.h"

namespace portproof {

// SHM-14: the word is taken when the message has begun here, so that no refusal takes it.
void Receiver::OnFragment(Incoming& incoming) {
  const bool* const destroyed = destroyed_;
  Actions& actions = workspace_.actions;
  Step(reassembly_, Datagram{incoming.header, incoming.sender, incoming.payload_bytes}, actions);
  const bool opens = actions.front().kind == Action::Kind::kOpen;
  Perform(incoming);
  if (!incoming.tracked || *destroyed) return;
  if (!opens) {
    incoming.tracked.reset();
    return;
  }
  if (!IsCancelled(incoming)) return;
  Step(reassembly_, Cancelled{incoming.header.stream, incoming.sender}, actions);
  Perform(incoming);
}

bool Receiver::IsCancelled(Incoming& incoming) {
  const auto& [slot, tracking] = *incoming.tracked;
  const bool taken = options_.segments->receiver().Take(slot, tracking, incoming.header.stream);
  incoming.tracked.reset();
  if (!taken) ++cancelled_;
  return !taken;
}

void Receiver::Perform(Incoming& incoming) {
  const bool* const destroyed = destroyed_;
  for (size_t i = 0; i < workspace_.actions.size(); ++i) {
    const Action action = workspace_.actions[i];
    if (action.rule && action.kind != Action::Kind::kDiscard) {
      const bool accepted = action.kind != Action::Kind::kRefuse;
      Refuse(*action.rule, incoming.header, incoming.sender, accepted);
      if (*destroyed) return;
    }
    switch (action.kind) {
      case Action::Kind::kDeliver:  // of a message of its own, which OnAdmitted delivers
        assert(false);
        return;
      case Action::Kind::kOpen:
        Open(incoming, action);
        break;
      case Action::Kind::kAppend:
        AppendTo(unfinished_[action.slot].payload, incoming, action);
        break;
      case Action::Kind::kFinish:
        Finish(incoming, action);
        return;
      case Action::Kind::kDrop:
      case Action::Kind::kRefuse:
        if (HasReferences(incoming.header)) ReleaseHoldings();
        incoming.fds.clear();
        break;
      case Action::Kind::kCancel:
      case Action::Kind::kDiscard:
        Discard(action.slot);
        break;
    }
  }
}

void Receiver::Open(Incoming& incoming, const Action& action) {
  if (action.slot >= unfinished_.size()) unfinished_.resize(action.slot + 1);
  Unfinished& unfinished = unfinished_[action.slot];
  unfinished.fds.swap(incoming.fds);
  AppendTo(unfinished.payload, incoming, action);
}

void Receiver::Finish(Incoming& incoming, const Action& action) {
  Unfinished unfinished = std::exchange(unfinished_[action.slot], {});
  AppendTo(unfinished.payload, incoming, action);
  Message message{action.header, incoming.sender, std::move(unfinished.payload),
                  std::move(unfinished.fds)};
  Deliver(message);
  // In order: the buffer that was filled last, the warmest, will be the next to be used.
  for (Part& part : message.payload) part = Part();
}

// True: the handler does not get it.
bool Receiver::Attend(Message& message) {
  if (message.header.type == mmap_type_) {
    OnAnnouncement(message);
    return true;
  }
  OnRemovePid(message);
  return false;
}

void Receiver::OnRemovePid(const Message& message) {
  std::array<uint8_t, sizeof(int32_t)> bytes = {};
  if (message.bytes() != bytes.size()) return;
  CopyOf(message.payload, bytes);
  int32_t pid = 0;
  std::memcpy(&pid, bytes.data(), sizeof pid);
  SenderDied(pid);
}

void Receiver::LendHoldings(Payload& payload) {
  for (const Holding& holding : workspace_.holdings) {
    payload.push_back(options_.segments->Lend(holding));
  }
  workspace_.holdings.clear();
}

void Receiver::AppendTo(Payload& payload, Incoming& incoming, const Action& action) {
  if (HasReferences(incoming.header)) {
    LendHoldings(payload);
    return;
  }
  switch (action.storage) {
    case Storage::kNone:
      return;
    case Storage::kKeep:
      payload.push_back(TakePart(incoming));
      return;
    case Storage::kTail:
    case Storage::kSlab:
      Copy(payload, incoming, action);
      return;
  }
}

void Receiver::Copy(Payload& payload, Incoming& incoming, const Action& action) {
  const std::span<const uint8_t> bytes = PayloadOf(incoming);
  const auto count = static_cast<uint32_t>(bytes.size());
  if (payload.empty() || payload.back().room() < count || action.storage == Storage::kSlab) {
    const uint32_t capacity = std::max(action.slab_bytes, std::bit_ceil(count));
    Block* const slab = NewSlab(std::max(capacity, kSlabBytesMin));
    if (slab == nullptr) {  // no memory: the receive buffer itself will do
      payload.push_back(TakePart(incoming));
      return;
    }
    payload.emplace_back(slab, 0, 0);
  }
  std::memcpy(payload.back().Grow(count), bytes.data(), count);
}

void Receiver::Discard(uint32_t slot) { unfinished_[slot] = {}; }

}  // namespace portproof
