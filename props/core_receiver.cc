#include "props/core_receiver.h"

#include <cstdlib>
#include <optional>
#include <span>

namespace portproof {
namespace {

ReassemblyConfig ConfigOf(const Profile& profile, const Port& port) {
  ReassemblyConfig config = ConfigFor(profile, port.max_size);
  config.takes_fragments = port.takes_fragments;
  config.limits = {port.open_per_sender, port.open, port.assembly_bytes, port.bytes};
  return config;
}

void Require(bool holds) {
  if (!holds) std::abort();
}

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

Port PortOf(const Profile& profile) {
  Port port;
  port.key_has_sender = profile.key_has_sender;
  port.has_tracking = profile.byte15 != Byte15::kPadding;
  port.fds_max = profile.fds_max;
  port.type_count = static_cast<uint32_t>(profile.types.size());
  return port;
}

CoreReceiver::CoreReceiver(const Profile& profile, const Port& port)
    : receiver_{&profile, port.max_size, HandledTypes::All()},
      has_tracking_(port.has_tracking),
      buffer_bytes_(static_cast<uint32_t>(DatagramBytesMax(port.max_size))),
      state_(ConfigOf(profile, port)) {}

bool CoreReceiver::ReferencesAreGood(std::string_view payload, bool tracking, Rule& rule) {
  rule = Rule::kShm1;
  if (!DecodeReferences(Bytes(payload), tracking, ByteOrder::kLittle, references_)) return false;
  rule = Rule::kShm2;
  for (const Reference& reference : references_) {
    if (!InRange(reference, kUnitGeometry)) return false;
  }
  return !FindOverlap(references_, kUnitGeometry, scratch_);
}

void CoreReceiver::Receive(const Wire& wire, Outcome& outcome) {
  outcome.Clear();
  const auto decoded = DecodeHeader(Bytes(wire.bytes), ByteOrder::kLittle);
  const std::optional<Header> header = decoded ? std::optional(decoded->header) : std::nullopt;
  const Received received = {
      wire.bytes.size(), wire.rights_messages,   static_cast<uint32_t>(wire.fds.size()),
      wire.truncated,    wire.control_truncated, wire.credentials_pid};
  Admission admission = Admit(received, header ? &*header : nullptr, receiver_);
  if (!header) {
    Require(admission.refused.has_value() && admission.fds == Fate::kClose);
    outcome.refused = Id(*admission.refused);
    outcome.closed.insert(outcome.closed.end(), wire.fds.begin(), wire.fds.end());
    return;
  }
  const std::string_view payload = std::string_view(wire.bytes).substr(kHeaderBytes);
  Rule rule = Rule::kShm1;
  const bool tracking = has_tracking_ && header->byte15 != 0;
  if (!admission.refused && header->mmap && !ReferencesAreGood(payload, tracking, rule)) {
    admission.refused = rule;
  }
  if (admission.refused) {
    Step(state_, Refused{header->stream, admission.sender, *admission.refused}, actions_);
  } else {
    Step(state_, Datagram{*header, admission.sender, static_cast<uint32_t>(payload.size())},
         actions_);
    if (header->mmap && tracking && !header->nf && IsCancelled(payload)) {
      Cancel(*header, admission.sender, wire, outcome);
      return;
    }
  }
  Perform(wire, outcome);
}

// SHM-14, with words that are not looked at: that of slot 1 holds something else.
bool CoreReceiver::IsCancelled(std::string_view payload) const {
  const auto words = Bytes(payload).first<kTrackingBytes>();
  return DecodeTracking(words, ByteOrder::kLittle).tracking_id == 1;
}

void CoreReceiver::Cancel(const Header& header, int32_t sender, const Wire& wire,
                          Outcome& outcome) {
  const Action::Kind kind = actions_.front().kind;
  if (kind == Action::Kind::kDeliver) {
    outcome.closed.insert(outcome.closed.end(), wire.fds.begin(), wire.fds.end());
    return;
  }
  Perform(wire, outcome);
  if (kind != Action::Kind::kOpen) return;
  Step(state_, Cancelled{header.stream, sender}, actions_);
  Perform(wire, outcome);
}

void CoreReceiver::SenderDied(int32_t sender, Outcome& outcome) {
  outcome.Clear();
  Step(state_, portproof::SenderDied{sender}, actions_);
  Perform(Wire(), outcome);
}

void CoreReceiver::Close(Outcome& outcome) {
  outcome.Clear();
  Step(state_, Closed{}, actions_);
  Perform(Wire(), outcome);
}

void CoreReceiver::Perform(const Wire& wire, Outcome& outcome) {
  for (const Action& action : actions_) PerformOne(action, wire, outcome);
}

CoreReceiver::Slot& CoreReceiver::SlotOf(const Action& action, bool used) {
  Require(action.slot <= slots_.size());
  if (action.slot == slots_.size()) slots_.emplace_back();
  Slot& slot = slots_[action.slot];
  Require(slot.used == used);
  return slot;
}

// Only one message comes of an event.
Message& MessageOf(const Header& header, Outcome& outcome) {
  Require(!header.nf && !header.mf && !outcome.delivered);
  outcome.delivered = true;
  Message& message = outcome.message;
  message.stream = header.stream;
  message.pid = header.pid;
  message.reply_port = header.reply_port;
  message.type = header.type;
  message.last = header.last;
  return message;
}

void CoreReceiver::PerformOne(const Action& action, const Wire& wire, Outcome& outcome) {
  const bool shared = wire.bytes.size() > 12 && wire.bytes[12] != 0;
  switch (action.kind) {
    case Action::Kind::kDeliver: {
      Message& message = MessageOf(action.header, outcome);
      message.payload.assign(wire.bytes, kHeaderBytes);
      message.kinds.assign(message.payload.size(), shared ? 's' : 'p');
      message.fds = wire.fds;
      Require(action.payload_bytes == message.payload.size());
      return;
    }
    case Action::Kind::kOpen: {
      Slot& slot = SlotOf(action, false);
      slot.used = true;
      slot.fds = wire.fds;
      Store(action, wire, slot);
      return;
    }
    case Action::Kind::kAppend:
      Store(action, wire, SlotOf(action, true));
      return;
    case Action::Kind::kFinish: {
      Slot& slot = SlotOf(action, true);
      Store(action, wire, slot);
      Message& message = MessageOf(action.header, outcome);
      message.payload = slot.payload;
      message.kinds = slot.kinds;
      message.fds = slot.fds;
      Require(action.payload_bytes == message.payload.size());
      Free(slot);
      return;
    }
    case Action::Kind::kRefuse:
      outcome.refused = Id(action.rule.value());
      outcome.closed.insert(outcome.closed.end(), wire.fds.begin(), wire.fds.end());
      return;
    case Action::Kind::kCancel: {
      Slot& slot = SlotOf(action, true);
      outcome.closed.insert(outcome.closed.end(), slot.fds.begin(), slot.fds.end());
      Free(slot);
      slot.used = true;
      return;
    }
    case Action::Kind::kDrop:
      Require(wire.fds.empty());  // FDS-1
      if (wire.bytes[14] == 0) Free(SlotOf(action, true));
      return;
    case Action::Kind::kDiscard: {
      Slot& slot = SlotOf(action, true);
      outcome.discarded.push_back(Id(action.rule.value()));
      outcome.closed.insert(outcome.closed.end(), slot.fds.begin(), slot.fds.end());
      Free(slot);
      return;
    }
  }
}

void CoreReceiver::Store(const Action& action, const Wire& wire, Slot& slot) {
  const std::string_view payload = std::string_view(wire.bytes).substr(kHeaderBytes);
  const char kind = wire.bytes[12] != 0 ? 's' : 'p';
  uint64_t memory_bytes = 0;
  switch (action.storage) {
    case Storage::kNone:
      Require(payload.empty());
      return;
    case Storage::kKeep:
    case Storage::kSlab:
      slot.last_capacity = action.storage == Storage::kKeep ? buffer_bytes_ : action.slab_bytes;
      slot.last_bytes = 0;
      memory_bytes = slot.last_capacity + kChainEntryBytes;
      break;
    case Storage::kTail:
      Require(!slot.kinds.empty());
      if (slot.kinds.back() != kind) memory_bytes = kChainEntryBytes;
      break;
  }
  slot.last_bytes += static_cast<uint32_t>(payload.size());
  Require(slot.last_bytes <= slot.last_capacity);
  slot.payload += payload;
  slot.kinds.append(payload.size(), kind);
  slot.memory_bytes += memory_bytes;
  chain_bytes_ += memory_bytes;
}

void CoreReceiver::Free(Slot& slot) {
  chain_bytes_ -= slot.memory_bytes;
  slot.used = false;
  slot.fds.clear();
  slot.payload.clear();
  slot.kinds.clear();
  slot.memory_bytes = 0;
}

}  // namespace portproof
