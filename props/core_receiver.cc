#include "props/core_receiver.h"

#include <cstdlib>
#include <optional>
#include <span>
#include <utility>

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
  Admission admission = Admit(received, header, receiver_);
  if (!header) {
    Require(admission.refused.has_value() && admission.fds == Fate::kClose);
    outcome.refused.push_back(Id(*admission.refused));
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
  }
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

Message MessageOf(const Header& header) {
  Require(!header.nf && !header.mf);
  Message message;
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
      Message message = MessageOf(action.header);
      message.payload = wire.bytes.substr(kHeaderBytes);
      message.kinds.assign(message.payload.size(), shared ? 's' : 'p');
      message.fds = wire.fds;
      Require(action.payload_bytes == message.payload.size());
      outcome.delivered.push_back(std::move(message));
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
      Message message = MessageOf(action.header);
      for (const Buffer& buffer : slot.buffers) message.payload += buffer.bytes;
      message.kinds = slot.kinds;
      message.fds = slot.fds;
      Require(action.payload_bytes == message.payload.size());
      outcome.delivered.push_back(std::move(message));
      Free(slot);
      return;
    }
    case Action::Kind::kRefuse:
      outcome.refused.push_back(Id(action.rule.value()));
      outcome.closed.insert(outcome.closed.end(), wire.fds.begin(), wire.fds.end());
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
  bool is_new = true;
  switch (action.storage) {
    case Storage::kNone:
      Require(payload.empty());
      return;
    case Storage::kKeep:
      slot.buffers.push_back({buffer_bytes_, std::string(payload)});
      break;
    case Storage::kTail:
      Require(!slot.buffers.empty());
      is_new = slot.kinds.back() != kind;
      slot.buffers.back().bytes += payload;
      break;
    case Storage::kSlab:
      slot.buffers.push_back({action.slab_bytes, std::string(payload)});
      break;
  }
  Require(slot.buffers.back().bytes.size() <= slot.buffers.back().capacity);
  if (action.storage != Storage::kTail) chain_bytes_ += slot.buffers.back().capacity;
  if (is_new) {
    slot.entries += 1;
    chain_bytes_ += kChainEntryBytes;
  }
  slot.kinds.append(payload.size(), kind);
}

void CoreReceiver::Free(Slot& slot) {
  for (const Buffer& buffer : slot.buffers) chain_bytes_ -= buffer.capacity;
  chain_bytes_ -= uint64_t{slot.entries} * kChainEntryBytes;
  slot.used = false;
  slot.fds.clear();
  slot.buffers.clear();
  slot.kinds.clear();
  slot.entries = 0;
}

}  // namespace portproof
