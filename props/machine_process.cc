#include "props/machine_process.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>

namespace portproof {
namespace {

using Kind = ReceiveAction::Kind;

void Require(bool holds) {
  if (!holds) std::abort();
}

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

Header HeaderOf(const Wire& wire) {
  const auto decoded = DecodeHeader(Bytes(wire.bytes), ByteOrder::kLittle);
  return decoded ? decoded->header : Header();
}

std::string_view PlainPayload(const Wire& wire) {
  return std::string_view(wire.bytes).substr(std::min(wire.bytes.size(), kHeaderBytes));
}

Announcement FactsOf(const Wire& wire, int32_t sender, const std::vector<int>& fds,
                     const SegmentConfig& config) {
  Announcement announcement{.sender = sender, .fds = static_cast<uint32_t>(fds.size())};
  if (fds.size() != 1 || !wire.file.right_size) return announcement;
  announcement.file_bytes = config.geometry.SegmentBytes();
  announcement.sealed = wire.file.sealed;
  announcement.guarded = wire.file.guarded;
  std::vector<uint8_t> header(config.geometry.header_bytes);
  EncodeSegmentHeader({.id = wire.file.id,
                       .source_pid = wire.file.source,
                       .destination_pid = config.own_pid + wire.file.source - sender},
                      config.layout, config.geometry, header);
  std::copy_n(header.begin(), announcement.head.size(), announcement.head.begin());
  return announcement;
}

}  // namespace

Port PortOf(const Profile& profile) {
  Port port;
  port.key_has_sender = profile.key_has_sender;
  port.has_tracking = profile.byte15 == Byte15::kTracking;
  port.holds = profile.queues;
  port.tracking_slots = TrackingSlots(profile.segment_layout, kTinyGeometry);
  port.mmap_type = *NumberOf(profile, Type::kMmap);
  port.remove_pid_type = *NumberOf(profile, Type::kRemovePid);
  const auto read_queue = NumberOf(profile, Type::kReadQueue);
  port.read_queue_type = read_queue ? *read_queue : -1;
  for (const Type type : {Type::kReadQueue, Type::kWhoami, Type::kProcessCreated}) {
    if (const auto number = NumberOf(profile, type)) port.pid_free_types.push_back(*number);
  }
  port.fds_max = profile.fds_max;
  port.type_count = static_cast<uint32_t>(profile.types.size());
  return port;
}

SegmentConfig MachineProcess::TinySegments() {
  return {.geometry = kTinyGeometry, .own_pid = 7, .ids_max = kWireIds};
}

MachineProcess::MachineProcess(const Profile& profile, const Port& port, uint32_t ports,
                               const SegmentConfig& segments)
    : config_{.profile = &profile,
              .max_size = port.max_size,
              .buffer_bytes = static_cast<uint32_t>(DatagramBytesMax(port.max_size)),
              .takes_fragments = port.takes_fragments,
              .limits = {port.open_per_sender, port.open, port.assembly_bytes, port.bytes}},
      buffer_bytes_(config_.buffer_bytes),
      machine_([&] {
        SegmentConfig config = segments;
        config.layout = profile.segment_layout;
        return config;
      }()) {
  for (uint32_t i = 0; i < ports; ++i) places_.push_back({.number = machine_.AddPort(config_)});
}

// ----------------------------------------------------------------- events

void MachineProcess::Receive(uint32_t port, const Wire& wire, Outcome& outcome) {
  outcome.Clear();
  Place& place = places_.at(port);
  Hand hand{.wire = wire};
  const bool has_header = wire.bytes.size() >= kHeaderBytes;
  const Header header = HeaderOf(wire);
  Arrival arrival{.port = place.number};
  arrival.received = {
      wire.bytes.size(), wire.rights_messages,   static_cast<uint32_t>(wire.fds.size()),
      wire.truncated,    wire.control_truncated, wire.credentials_pid};
  arrival.used_slots = !wire.fds.empty();
  arrival.payload_bytes = static_cast<uint32_t>(PlainPayload(wire).size());
  if (has_header) {
    arrival.header = &header;
    if (machine_.NamesChunks(place.number, header)) {
      const bool tracking = machine_.HasTracking(place.number, header);
      DecodeReferenceList(Bytes(PlainPayload(wire)), tracking, ByteOrder::kLittle, named_);
      arrival.named = &named_;
    }
  }
  const ZeroRead zero{.fds = static_cast<uint32_t>(wire.fds.size()), .hung_up = wire.hung_up};
  if (wire.bytes.empty()) arrival.zero = &zero;
  Run(arrival, place, hand, outcome);
  if (arrival.zero != nullptr && IsEndOfFile(zero)) {
    ReceiveActions actions;
    Step(machine_, CallReturned{.port = place.number, .count = 1}, *this, actions);
    outcome.cancelled = false;
    outcome.ended = actions.back().kind == Kind::kStop && actions.back().next == Next::kEnd;
  }
}

void MachineProcess::GoOn(Outcome& outcome) {
  outcome.Clear();
  const std::optional<uint32_t> number = machine_.ready();
  if (!number) return;
  const auto place = std::find_if(places_.begin(), places_.end(),
                                  [&](const Place& one) { return one.number == *number; });
  Hand hand;
  Run(GoesOn{*number}, *place, hand, outcome);
}

void MachineProcess::Release(size_t which, Outcome& outcome) {
  outcome.Clear();
  if (taken_.empty()) return;
  const auto at = taken_.begin() + static_cast<std::ptrdiff_t>(which % taken_.size());
  std::vector<Holding> one = {*at};
  taken_.erase(at);
  ReleaseAll(one, outcome);
}

void MachineProcess::SenderDied(uint32_t port, int32_t sender, Outcome& outcome) {
  outcome.Clear();
  Hand none;
  Run(portproof::SenderDied{places_.at(port).number, sender}, places_.at(port), none, outcome);
}

void MachineProcess::Close(uint32_t port, Outcome& outcome) {
  outcome.Clear();
  Hand none;
  Place& place = places_.at(port);
  Run(PortClosed{place.number}, place, none, outcome);
  for (const auto& [slot, chain] : place.open) Require(!chain.used);  // FRG-9
  Require(place.kept.empty() && place.chain_bytes == 0);
}

void MachineProcess::Reopen(uint32_t port, Outcome& outcome) {
  Close(port, outcome);
  machine_.RemovePort(places_.at(port).number);
  places_.at(port) = {.number = machine_.AddPort(config_)};
}

// ---------------------------------------------------------------- actions

void MachineProcess::Run(const ReceiveEvent& event, Place& place, Hand& hand, Outcome& outcome) {
  ReceiveActions actions;
  Step(machine_, event, *this, actions);
  for (size_t i = 0; i < actions.size(); ++i) {
    const bool goes_on = Perform(actions[i], place, hand, outcome);
    Require(goes_on || i + 1 == actions.size() || actions[i].kind == Kind::kTake);
    if (!goes_on) return;
  }
}

// False: the list ends here.
bool MachineProcess::Perform(const ReceiveAction& action, Place& place, Hand& hand,
                             Outcome& outcome) {
  if (action.sender != 0) hand.sender = action.sender;
  if (action.rule && action.kind != Kind::kRefuse && action.kind != Kind::kDiscard) {
    outcome.reported.push_back(Id(*action.rule));
  }
  switch (action.kind) {
    case Kind::kResume:
      hand.wire = place.kept.at(action.slot);
      place.kept.erase(action.slot);
      return true;
    case Kind::kTake:
      Require(memories_.at(action.slot).id == named_.tracking->mmap_id);
      Require(memories_.at(action.slot).sender == hand.sender);
      if (action.count % 2 == 0) return true;
      Run(Cancelled{place.number, hand.sender, HeaderOf(hand.wire)}, place, hand, outcome);
      return false;
    case Kind::kDeliver: {
      Chain whole = TakeWhole(hand);
      Deliver(action, whole, place, hand, outcome);
      return false;
    }
    case Kind::kOpen: {
      Chain& chain = place.open[action.slot];
      Require(!chain.used);
      chain.used = true;
      chain.fds.swap(hand.wire.fds);
      Store(action, place, hand);
      return true;
    }
    case Kind::kAppend:
      Store(action, place, hand);
      return true;
    case Kind::kFinish:
      Store(action, place, hand);
      Deliver(action, place.open.at(action.slot), place, hand, outcome);
      return false;
    case Kind::kKeep:
      Require(place.kept.emplace(action.slot, hand.wire).second);
      hand.wire.fds.clear();
      outcome.kept = true;
      return true;
    case Kind::kRefuse:
      Require(outcome.refused.empty());
      outcome.refused = Id(*action.rule);
      CloseFds(hand.wire.fds, outcome);
      return true;
    case Kind::kDrop:
      outcome.cancelled = true;
      CloseFds(hand.wire.fds, outcome);
      ReleaseAll(hand.holdings, outcome);
      return true;
    case Kind::kDiscard:
      outcome.discarded.push_back(Id(*action.rule));
      Drop(place, action.slot, true, outcome);
      return true;
    case Kind::kCancel:
      Drop(place, action.slot, false, outcome);
      return true;
    case Kind::kDropKept:
      CloseFds(place.kept.at(action.slot).fds, outcome);
      place.kept.erase(action.slot);
      return true;
    case Kind::kAsk:
      outcome.asks.emplace_back(action.sender, action.count);
      return true;
    case Kind::kLend:
    case Kind::kFree:
    case Kind::kMap:
    case Kind::kUnmap:
      PerformOnSegment(action, hand, outcome);
      return true;
    case Kind::kGoOn:
      Require(machine_.ready().has_value());
      return true;
    case Kind::kReport:
      return true;
    case Kind::kRead:
    case Kind::kAskSlots:
    case Kind::kStop:
      break;
  }
  std::abort();  // a turn's
}

void MachineProcess::PerformOnSegment(const ReceiveAction& action, Hand& hand, Outcome& outcome) {
  const Holding& holding = action.holding;
  switch (action.kind) {
    case Kind::kLend: {
      const Reference reference{memories_.at(holding.slot).id, holding.first_chunk, holding.bytes};
      const auto bytes = EncodeReference(reference, ByteOrder::kLittle);
      hand.payload.append(bytes.begin(), bytes.end());
      hand.holdings.push_back(holding);
      return;
    }
    case Kind::kFree: {
      Memory& memory = memories_.at(holding.slot);
      for (uint32_t i = 0; i < holding.chunk_count; ++i) {
        const uint32_t chunk = holding.first_chunk + i;
        memory.free.insert(chunk);
        outcome.freed.emplace_back(memory.sender, memory.id, memory.serial, chunk);
      }
      return;
    }
    case Kind::kMap: {
      const SegmentFile& file = hand.wire.file;
      Require(action.guard == !file.sealed);
      const bool maps = file.maps;
      if (maps) {
        const int serial = serials_[{hand.sender, file.id}]++;
        Require(memories_.emplace(action.slot, Memory{hand.sender, file.id, serial}).second);
      }
      Run(Mapped{action.slot, maps}, places_.front(), hand, outcome);
      return;
    }
    case Kind::kUnmap:
      Require(memories_.erase(action.slot) == 1);
      outcome.unmapped += 1;
      return;
    default:
      std::abort();
  }
}

// The chain of a datagram that is a whole message.
MachineProcess::Chain MachineProcess::TakeWhole(Hand& hand) {
  const bool shared = !hand.holdings.empty();
  Chain chain;
  chain.fds.swap(hand.wire.fds);
  chain.payload = shared ? hand.payload : std::string(PlainPayload(hand.wire));
  chain.kinds.assign(chain.payload.size(), shared ? 's' : 'p');
  chain.holdings.swap(hand.holdings);
  return chain;
}

void MachineProcess::Deliver(const ReceiveAction& action, Chain& chain, Place& place, Hand& hand,
                             Outcome& outcome) {
  const Chain whole = std::exchange(chain, Chain());
  place.chain_bytes -= whole.memory_bytes;
  Require(!action.header.nf && !action.header.mf);
  if (action.use == Use::kAnnouncement) {
    std::vector<Holding> holdings = whole.holdings;
    ReleaseAll(holdings, outcome);
    hand.wire.fds = whole.fds;
    const auto& config = machine_.segments().config();
    Run(Announced{place.number, FactsOf(hand.wire, hand.sender, whole.fds, config)}, place, hand,
        outcome);
    CloseFds(hand.wire.fds, outcome);
    return;
  }
  if (action.use == Use::kRemovePid && whole.payload.size() == 4 && whole.kinds == "pppp") {
    int32_t pid = 0;
    std::memcpy(&pid, whole.payload.data(), sizeof pid);
    Hand none;
    Run(portproof::SenderDied{place.number, pid}, place, none, outcome);
  }
  Require(!outcome.delivered);
  outcome.delivered = true;
  const Header& header = action.header;
  outcome.message = {header.stream, header.pid,    header.reply_port, header.type,
                     header.last,   whole.payload, whole.kinds,       whole.fds};
  taken_.insert(taken_.end(), whole.holdings.begin(), whole.holdings.end());
}

void MachineProcess::Store(const ReceiveAction& action, Place& place, Hand& hand) {
  Chain& chain = place.open.at(action.slot);
  Require(chain.used);
  const bool shared = !hand.holdings.empty();
  const std::string payload = shared ? hand.payload : std::string(PlainPayload(hand.wire));
  const auto wire_bytes = static_cast<uint32_t>(PlainPayload(hand.wire).size());
  const char kind = shared ? 's' : 'p';
  uint64_t memory_bytes = 0;
  switch (action.storage) {
    case Storage::kNone:
      Require(wire_bytes == 0);
      break;
    case Storage::kKeep:
    case Storage::kSlab:
      chain.last_capacity = action.storage == Storage::kKeep ? buffer_bytes_ : action.slab_bytes;
      chain.last_bytes = 0;
      memory_bytes = chain.last_capacity + kChainEntryBytes;
      break;
    case Storage::kTail:
      Require(!chain.kinds.empty());
      if (chain.kinds.back() != kind) memory_bytes = kChainEntryBytes;
      break;
  }
  chain.last_bytes += wire_bytes;
  Require(chain.last_bytes <= chain.last_capacity || wire_bytes == 0);
  chain.payload += payload;
  chain.kinds.append(payload.size(), kind);
  chain.memory_bytes += memory_bytes;
  place.chain_bytes += memory_bytes;
  chain.holdings.insert(chain.holdings.end(), hand.holdings.begin(), hand.holdings.end());
  hand.holdings.clear();
}

void MachineProcess::Drop(Place& place, uint32_t slot, bool frees_slot, Outcome& outcome) {
  Chain dropped = std::exchange(place.open.at(slot), Chain());
  Require(dropped.used || frees_slot);
  place.open.at(slot).used = false;
  place.chain_bytes -= dropped.memory_bytes;
  CloseFds(dropped.fds, outcome);
  ReleaseAll(dropped.holdings, outcome);
}

void MachineProcess::CloseFds(std::vector<int>& fds, Outcome& outcome) {
  outcome.closed.insert(outcome.closed.end(), fds.begin(), fds.end());
  fds.clear();
}

void MachineProcess::ReleaseAll(std::vector<Holding>& holdings, Outcome& outcome) {
  Hand none;
  for (const Holding& holding : std::exchange(holdings, {})) {
    Run(Released{holding}, places_.front(), none, outcome);
  }
}

// ----------------------------------------------------------------- memory

bool MachineProcess::AllBusy(uint32_t slot, uint32_t first_chunk, uint32_t chunk_count) const {
  const std::set<uint32_t>& free = memories_.at(slot).free;
  const auto found = free.lower_bound(first_chunk);
  return found == free.end() || *found >= first_chunk + chunk_count;
}

MachineProcess::Memory* MachineProcess::Newest(int32_t sender, uint32_t id) {
  Memory* newest = nullptr;
  for (auto& [slot, memory] : memories_) {
    if (memory.sender != sender || memory.id != id) continue;
    if (newest == nullptr || memory.serial > newest->serial) newest = &memory;
  }
  return newest;
}

void MachineProcess::Take(int32_t sender, uint32_t id, uint32_t chunk) {
  if (Memory* const memory = Newest(sender, id)) memory->free.erase(chunk);
}

void MachineProcess::Turn(int32_t sender, uint32_t id, uint32_t chunk) {
  Memory* const memory = Newest(sender, id);
  if (memory != nullptr && memory->free.erase(chunk) == 0) memory->free.insert(chunk);
}

void MachineProcess::Spoil(int32_t sender, uint32_t id) {
  if (Memory* const memory = Newest(sender, id)) memory->spoiled = true;
}

uint64_t MachineProcess::MemoryBytes(uint32_t port) const {
  const Place& place = places_.at(port);
  return machine_.MemoryBytes(place.number) + place.chain_bytes;
}

}  // namespace portproof
