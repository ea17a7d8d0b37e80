// The receiver's third part: references, and the datagrams that wait for their segments.
#include <algorithm>
#include <cstring>
#include <utility>

#include "port/receiver.h"
#include "protocol/bytes.h"

namespace portproof {

bool Receiver::DecodeList(const Header& header, std::span<const uint8_t> payload) {
  const bool tracking = options_.profile->byte15 == Byte15::kTracking && header.byte15 != 0;
  return DecodeReferences(payload, tracking, MachineByteOrder(), workspace_.references);
}

// False: the datagram goes no further, held or refused. True: its chunks, if it has any,
// are in the workspace's holdings.
bool Receiver::TakeReferences(Incoming& incoming) {
  const Header& header = incoming.header;
  std::optional<Rule> refused;
  if (HasReferences(header)) {
    if (!DecodeList(header, PayloadOf(incoming))) refused = Rule::kShm1;
    if (!refused && options_.profile->queues && !incoming.resumed && Hold(incoming)) return false;
    if (!refused) {
      refused = options_.segments->receiver().Accept(incoming.sender, workspace_.references,
                                                     workspace_.holdings);
    }
    if (!refused) refused = JudgeTracking(incoming);
  } else if (!incoming.resumed && !IsAnnouncement(header)) {
    workspace_.references.clear();
    if (Hold(incoming)) return false;
  }
  if (!refused) return true;
  incoming.fds.clear();
  RefuseAndDiscard(*refused, header, incoming.sender, incoming.resumed);
  return false;
}

// SHM-14: of the first datagram of a message whose references are good.
std::optional<Rule> Receiver::JudgeTracking(Incoming& incoming) {
  const Header& header = incoming.header;
  const bool is_tracked =
      options_.profile->byte15 == Byte15::kTracking && header.byte15 != 0 && !header.nf;
  if (!is_tracked) return std::nullopt;
  const std::span<const uint8_t> payload = PayloadOf(incoming);
  const Tracking tracking = DecodeTracking(payload.first<kTrackingBytes>(), MachineByteOrder());
  uint32_t slot = 0;
  const auto refused = options_.segments->receiver().JudgeTracking(incoming.sender, tracking, slot);
  if (refused) {
    ReleaseHoldings();
  } else {
    incoming.tracked.emplace(slot, tracking);
  }
  return refused;
}

// Frees the chunks of the good references of a datagram that goes no further. In a child
// they are the parent's (PRT-1).
void Receiver::ReleaseNamed(const Header& header, int32_t sender,
                            std::span<const uint8_t> payload) {
  if (generation_ != ForkGeneration() || !DecodeList(header, payload)) return;
  options_.segments->receiver().Accept(sender, workspace_.references, workspace_.holdings);
  ReleaseHoldings();
}

void Receiver::ReleaseHoldings() {
  for (const Holding& holding : workspace_.holdings) {
    options_.segments->receiver().Release(holding);
  }
  workspace_.holdings.clear();
}

// True: held until its segments are announced, or refused for want of room (SHM-10).
bool Receiver::Hold(Incoming& incoming) {
  const Header& header = incoming.header;
  std::vector<uint32_t>& unknown = workspace_.unknown_ids;
  unknown.clear();
  if (!workspace_.references.empty() && !options_.segments->receiver().table().FindUnknown(
                                            incoming.sender, workspace_.references, unknown)) {
    return false;  // one can never be known
  }
  if (unknown.empty() && !held_.MustFollow(incoming.sender, header.stream)) return false;
  uint32_t slot = 0;
  std::vector<uint32_t> ask;
  const auto refused =
      held_.Hold({incoming.sender, header.stream, incoming.payload_bytes, header.nf, header.mf},
                 unknown, reassembly_.budget(), slot, ask);
  if (refused) {
    if (HasReferences(header)) ReleaseNamed(header, incoming.sender, PayloadOf(incoming));
    incoming.fds.clear();
    RefuseAndDiscard(*refused, header, incoming.sender, false);
    return true;
  }
  if (slot >= held_incoming_.size()) held_incoming_.resize(slot + 1);
  auto kept = std::make_unique<Incoming>();
  kept->header = header;
  kept->sender = incoming.sender;
  kept->payload_bytes = incoming.payload_bytes;
  kept->fds.swap(incoming.fds);
  kept->part = KeepPayload(incoming);
  kept->in_batch = false;
  kept->resumed = true;
  const int32_t sender = incoming.sender;
  held_incoming_[slot] = std::move(kept);
  if (!options_.ask_segment) return true;
  for (const uint32_t id : ask) options_.ask_segment(sender, id);
  return true;
}

// Memory follows bytes: what is small is copied.
Part Receiver::KeepPayload(Incoming& incoming) {
  if (incoming.payload_bytes == 0) return {};
  const std::span<const uint8_t> payload = PayloadOf(incoming);
  if (payload.size() < reassembly_.config().buffer_bytes / 2) {
    if (Block* const slab = NewSlab(static_cast<uint32_t>(payload.size()))) {
      std::memcpy(slab->bytes(), payload.data(), payload.size());
      return {slab, 0, static_cast<uint32_t>(payload.size())};
    }
  }
  return TakePart(incoming);
}

void Receiver::DiscardHeld(const std::vector<uint32_t>& slots) {
  for (const uint32_t slot : slots) {
    const std::unique_ptr<Incoming> incoming = std::move(held_incoming_[slot]);
    if (incoming == nullptr || !HasReferences(incoming->header)) continue;
    ReleaseNamed(incoming->header, incoming->sender, PayloadOf(*incoming));
  }
}

// What waited goes on, in whichever receiver of the process it waits.
void Receiver::Resume(ProcessSegments& segments) {
  const std::shared_ptr<ProcessSegments> alive = segments.shared_from_this();
  while (segments.resumable()) {
    segments.SetResumable(false);
    const std::vector<Receiver*> receivers = segments.receivers();
    for (Receiver* const receiver : receivers) {
      const std::vector<Receiver*>& left = segments.receivers();
      if (std::find(left.begin(), left.end(), receiver) != left.end()) receiver->ResumeOwn();
    }
  }
}

// As in a turn: no other begins on its workspace meanwhile.
void Receiver::ResumeOwn() {
  if (destroyed_ != nullptr) {  // in the middle of its own turn
    ResumeAll(*destroyed_);
    return;
  }
  Workspace& workspace = workspace_;
  const bool receiving = std::exchange(workspace.receiving, true);  // perhaps another's turn
  bool destroyed = false;
  destroyed_ = &destroyed;
  ResumeAll(destroyed);
  if (!destroyed) destroyed_ = nullptr;
  workspace.receiving = receiving;
  if (!receiving) workspace.finished_handlers.clear();
}

void Receiver::ResumeAll(const bool& destroyed) {
  while (!destroyed && generation_ == ForkGeneration() && !resumable_.empty()) {
    const uint32_t slot = resumable_.front();
    resumable_.erase(resumable_.begin());
    const std::unique_ptr<Incoming> incoming = std::move(held_incoming_[slot]);
    if (incoming != nullptr) GoOn(*incoming);
  }
}

void Receiver::OnAnnouncement(Message& message) {
  std::vector<OwnedFd> fds;
  for (OwnedFd& fd : message.fds) fds.push_back(std::move(fd));
  uint32_t id = 0;
  const auto refused = options_.segments->receiver().Announce(message.sender, std::move(fds), &id);
  if (refused) {
    Refuse(*refused, message.header, message.sender, false);
    return;
  }
  for (Receiver* const receiver : options_.segments->receivers()) {
    std::vector<uint32_t> resumed;
    receiver->held_.Announced(message.sender, id, receiver->reassembly_.budget(), resumed);
    receiver->AddResumable(resumed);
  }
}

void Receiver::AddResumable(const std::vector<uint32_t>& slots) {
  if (slots.empty()) return;
  resumable_.insert(resumable_.end(), slots.begin(), slots.end());
  options_.segments->SetResumable(true);
}

}  // namespace portproof
