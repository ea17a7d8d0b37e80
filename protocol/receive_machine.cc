#include "protocol/receive_machine.h"

#include <algorithm>
#include <cassert>

namespace portproof {
namespace {

using Kind = ReceiveAction::Kind;

// A reference of 12 bytes becomes a part and the object that lends its chunks. A plain byte
// between two references gets a slab of its own.
constexpr uint64_t kAlternatingFactor = 3;

// An idle port keeps at most this much unused memory, for assemblies and for held datagrams.
constexpr uint64_t kIdleBytes = 4096;

ReassemblyConfig AssembliesOf(const ReceivePortConfig& config) {
  return {.key_has_sender = config.profile->key_has_sender,
          .takes_fragments = config.takes_fragments,
          .buffer_bytes = config.buffer_bytes,
          .limits = config.limits};
}

bool Stays(Kind kind) {
  return kind == Kind::kDeliver || kind == Kind::kOpen || kind == Kind::kAppend ||
         kind == Kind::kFinish;
}

}  // namespace

uint64_t ReceiveBytesMax(const ReassemblyLimits& limits) {
  return kAlternatingFactor * MemoryBytesMax(limits) + HeldBytesMax(limits);
}

// ------------------------------------------------------------------ ports

ReceiveMachine::Port::Port(const ReceivePortConfig& port_config)
    : config(port_config),
      mmap_type(NumberOf(*config.profile, Type::kMmap)),
      read_queue_type(NumberOf(*config.profile, Type::kReadQueue)),
      remove_pid_type(NumberOf(*config.profile, Type::kRemovePid)),
      assemblies(AssembliesOf(config)) {
  if (mmap_type) attended = attended.With(*mmap_type);
  if (remove_pid_type && config.obeys_remove_pid) attended = attended.With(*remove_pid_type);
}

uint32_t ReceiveMachine::AddPort(const ReceivePortConfig& config) {
  assert(config.profile != nullptr && config.reads_per_turn > 0 && config.reads_per_call > 0);
  const auto unused =
      std::find_if(ports_.begin(), ports_.end(), [](const Port& port) { return !port.used; });
  const auto number = static_cast<uint32_t>(unused - ports_.begin());
  if (unused == ports_.end()) {
    ports_.emplace_back(config);
  } else {
    *unused = Port(config);
  }
  return number;
}

void ReceiveMachine::RemovePort(uint32_t port) {
  assert(!ports_[port].open);
  ports_[port].used = false;
}

std::optional<uint32_t> ReceiveMachine::ready() const {
  for (uint32_t port = 0; port < ports_.size(); ++port) {
    if (ports_[port].held.has_ready()) return port;
  }
  return std::nullopt;
}

uint64_t ReceiveMachine::MemoryBytes(uint32_t port) const {
  return ports_[port].assemblies.MemoryBytes() + ports_[port].held.MemoryBytes();
}

// Frees the memory that a burst of unfinished messages needed.
void ReceiveMachine::ShrinkIfIdle(Port& port) {
  if (port.assemblies.budget().count() != 0) return;
  if (port.assemblies.MemoryBytes() > kIdleBytes) port.assemblies.ReleaseMemory();
  if (port.held.MemoryBytes() > kIdleBytes) port.held = HeldMessages();
}

// ------------------------------------------------------------------ turns

// RCV-4, RCV-5: reads as many as the turn has left, but singly while descriptors may be lost.
void ReceiveMachine::ReadOn(Port& port, bool slots_short, ReceiveActions& actions) {
  if (port.caution.MustAsk(slots_short)) {
    actions.push_back({.kind = Kind::kAskSlots});
    return;
  }
  const uint32_t wanted = port.caution.ReadsSingly(slots_short) ? 1 : port.config.reads_per_call;
  ReceiveAction& read = actions.emplace_back();
  read.kind = Kind::kRead;
  read.count = std::min(wanted, port.turn.reads_left);
}

void Step(ReceiveMachine& machine, const TurnBegins& begins, const SegmentView& /*view*/,
          ReceiveActions& actions) {
  actions.clear();
  ReceiveMachine::Port& port = machine.ports_[begins.port];
  if (!port.open) {
    actions.push_back({.kind = Kind::kStop, .next = Next::kEnd});
    return;
  }
  port.turn.reads_left = port.config.reads_per_turn;
  ReceiveMachine::ReadOn(port, begins.slots_short, actions);
}

void Step(ReceiveMachine& machine, const SlotsCounted& counted, const SegmentView& /*view*/,
          ReceiveActions& actions) {
  actions.clear();
  ReceiveMachine::Port& port = machine.ports_[counted.port];
  port.caution.Answered(counted.room);
  ReceiveMachine::ReadOn(port, !counted.room, actions);
}

// RCV-6, RCV-7
void Step(ReceiveMachine& machine, const CallReturned& returned, const SegmentView& /*view*/,
          ReceiveActions& actions) {
  actions.clear();
  ReceiveMachine::Port& port = machine.ports_[returned.port];
  Next next = Next::kEnd;
  if (port.open && !port.at_end) {
    next = After(port.turn, returned.answer, returned.count);
    // The call came short because the socket was empty, or because it was reset. After a reset
    // the peer's close brings another event.
    const bool emptied = returned.answer == Answer::kDatagram && returned.came_short;
    if (next == Next::kRead && emptied) next = After(port.turn, Answer::kEmpty, 0);
  }
  if (next == Next::kRead) {
    ReceiveMachine::ReadOn(port, returned.slots_short, actions);
    return;
  }
  ReceiveMachine::ShrinkIfIdle(port);
  actions.push_back({.kind = Kind::kStop, .next = next});
}

// -------------------------------------------------------------- datagrams

inline void ReceiveMachine::Assemble(Port& port, const Datagram& datagram,
                                     ReceiveActions& actions) {
  port.assemblies.Take(datagram, actions);
  ReceiveAction& last = actions.back();
  if (last.kind != Kind::kDeliver && last.kind != Kind::kFinish) return;
  const uint8_t type = last.header.type;
  if (!port.attended.Has(type)) [[likely]]
    return;
  last.use = type == port.mmap_type ? Use::kAnnouncement : Use::kRemovePid;
}

inline void ReceiveMachine::Admitted(Port& port, const Datagram& datagram, Named named,
                                     bool resumed, const SegmentView& view,
                                     ReceiveActions& actions) {
  const bool follows = !resumed && port.held.MustFollow(datagram.sender, datagram.header.stream);
  if (named == nullptr && !follows) {
    Assemble(port, datagram, actions);
    return;
  }
  if (named != nullptr && !named->well_formed) {
    Refuse(port, Rule::kShm1, datagram, resumed, view, actions);
  } else if (!resumed && Holds(port, datagram, named, view, actions)) {
    // It is held until its segments are announced, or was refused by FRG-8.
  } else if (named == nullptr) {
    Assemble(port, datagram, actions);
  } else {
    AdmittedNamed(port, datagram, *named, resumed, view, actions);
  }
  ReleaseFreed(actions);
}

void Step(ReceiveMachine& machine, const Arrival& arrival, const SegmentView& view,
          ReceiveActions& actions) {
  actions.clear();
  ReceiveMachine::Port& port = machine.ports_[arrival.port];
  port.caution.Came(arrival.used_slots);
  if (arrival.zero != nullptr && IsEndOfFile(*arrival.zero)) {
    port.at_end = true;
    actions.push_back({.kind = Kind::kDrop});
    return;
  }
  const Intake intake{port.config.profile, port.config.max_size, port.config.handled};
  const Admission admission = Admit(arrival.received, arrival.header, intake);
  if (!port.open || admission.refused) [[unlikely]] {
    machine.RefuseArrival(port, arrival, admission, view, actions);
    return;
  }
  const Datagram datagram{*arrival.header, admission.sender, arrival.payload_bytes};
  if (admission.pid_differs) ReceiveMachine::ReportPid(port, datagram, actions);
  machine.Admitted(port, datagram, arrival.named, false, view, actions);
}

// The datagram failed a check of its header or control data. Or it came in the same call as a
// datagram whose handler closed the port (SHM-6); then it is dropped, which is no refusal.
void ReceiveMachine::RefuseArrival(Port& port, const Arrival& arrival, const Admission& admission,
                                   const SegmentView& view, ReceiveActions& actions) {
  if (!arrival.received.truncated) FreeNamed(admission.sender, arrival.named, view, actions);
  if (!port.open) {
    actions.push_back({.kind = Kind::kDrop});
  } else if (arrival.header == nullptr) {
    actions.push_back({.kind = Kind::kRefuse, .rule = admission.refused});
  } else {
    const Datagram datagram{*arrival.header, admission.sender, arrival.payload_bytes};
    Refuse(port, *admission.refused, datagram, false, view, actions);
  }
  ReleaseFreed(actions);
}

// HDR-7: reports each pair of pids once, since in a pid namespace they always differ. Of many
// pairs the oldest is forgotten, and may be reported again.
void ReceiveMachine::ReportPid(Port& port, const Datagram& datagram, ReceiveActions& actions) {
  const std::pair pair(datagram.header.pid, datagram.sender);
  const auto& reported = port.reported;
  if (std::find(reported.begin(), reported.end(), pair) != reported.end()) return;
  port.reported[port.reported_next++ % reported.size()] = pair;
  actions.push_back({.kind = Kind::kReport, .rule = Rule::kHdr7, .sender = datagram.sender});
}

void ReceiveMachine::AdmittedNamed(Port& port, const Datagram& datagram, const ReferenceList& named,
                                   bool resumed, const SegmentView& view, ReceiveActions& actions) {
  Holdings holdings;
  std::optional<uint32_t> tracked;
  if (const auto rule = TakeChunks(datagram, named, view, holdings, tracked, actions)) {
    Refuse(port, *rule, datagram, resumed, view, actions);
  } else {
    AssembleNamed(port, datagram, named, holdings, tracked, actions);
  }
}

// SHM-10. True: the datagram is held until its segments are announced, or was refused by FRG-8.
bool ReceiveMachine::Holds(Port& port, const Datagram& datagram, Named named,
                           const SegmentView& view, ReceiveActions& actions) {
  if (!port.config.profile->queues) return false;
  // Held datagrams wait for announcements, so an announcement itself is never held.
  if (named == nullptr && datagram.header.type == port.mmap_type && IsMessage(datagram.header)) {
    return false;
  }
  std::vector<uint32_t> unknown;
  if (named != nullptr && !segments_.FindUnknown(datagram.sender, named->references, unknown)) {
    return false;  // one of them can never be announced
  }
  if (unknown.empty() && !port.held.MustFollow(datagram.sender, datagram.header.stream)) {
    return false;
  }
  HeldMessage message{datagram, named != nullptr ? std::optional(*named) : std::nullopt};
  std::vector<uint32_t> ask;
  if (const auto rule = port.held.Hold(message, unknown, port.assemblies.budget(), ask)) {
    FreeNamed(datagram.sender, named, view, actions);
    Refuse(port, *rule, datagram, false, view, actions);
    return true;
  }
  actions.push_back({.kind = Kind::kKeep,
                     .slot = message.slot,
                     .sender = datagram.sender,
                     .payload_bytes = datagram.payload_bytes});
  for (const uint32_t id : ask) {
    actions.push_back({.kind = Kind::kAsk, .count = id, .sender = datagram.sender});
  }
  if (port.held.has_ready()) actions.push_back({.kind = Kind::kGoOn});
  return true;
}

// On success the chunks are held, and `tracked` is the segment of the tracking word, if there is
// one (SHM-14). On failure the list frees the chunks of the good references.
std::optional<Rule> ReceiveMachine::TakeChunks(const Datagram& datagram, const ReferenceList& named,
                                               const SegmentView& view, Holdings& holdings,
                                               std::optional<uint32_t>& tracked,
                                               ReceiveActions& actions) {
  std::optional<Rule> rule = segments_.Accept(datagram.sender, named.references, view, holdings);
  if (!rule && named.tracking && !datagram.header.nf) {
    uint32_t slot = 0;
    rule = segments_.JudgeTracking(datagram.sender, *named.tracking, view, slot);
    if (!rule) tracked = slot;
  }
  if (!rule) return std::nullopt;
  for (const Holding& holding : holdings) {
    actions.push_back({.kind = Kind::kFree, .holding = holding});
  }
  return rule;
}

// The list lends or frees the chunks before it uses them, and takes the tracking word last.
void ReceiveMachine::AssembleNamed(Port& port, const Datagram& datagram, const ReferenceList& named,
                                   const Holdings& holdings, std::optional<uint32_t> tracked,
                                   ReceiveActions& actions) {
  const size_t before = actions.size();
  Assemble(port, datagram, actions);
  const Kind kind = actions[before].kind;
  const bool stays = Stays(kind);
  const auto place = [&] { return actions.begin() + static_cast<std::ptrdiff_t>(before); };
  for (size_t i = holdings.size(); i-- > 0;) {
    actions.insert(place(), {.kind = stays ? Kind::kLend : Kind::kFree, .holding = holdings[i]});
  }
  if (!tracked || (kind != Kind::kDeliver && kind != Kind::kOpen)) return;
  const ReceiveAction take{.kind = Kind::kTake,
                           .slot = *tracked,
                           .count = named.tracking->tracking_id,
                           .sender = datagram.sender,
                           .header = datagram.header};
  actions.insert(kind == Kind::kDeliver ? actions.end() - 1 : actions.end(), take);
}

void Step(ReceiveMachine& machine, const Cancelled& cancelled, const SegmentView& /*view*/,
          ReceiveActions& actions) {
  actions.clear();
  if (cancelled.header.mf) {
    machine.ports_[cancelled.port].assemblies.Cancel(cancelled.sender, cancelled.header.stream,
                                                     actions);
  }
  actions.push_back({.kind = Kind::kDrop});
}

// --------------------------------------------------------------- refusals

void ReceiveMachine::Refuse(Port& port, Rule rule, const Datagram& datagram, bool resumed,
                            const SegmentView& view, ReceiveActions& actions) {
  actions.push_back({.kind = Kind::kRefuse,
                     .rule = rule,
                     .sender = datagram.sender,
                     .payload_bytes = datagram.payload_bytes});
  if (Discards(rule)) Tear(port, rule, datagram, resumed, view, actions);
}

// RCV-5: discards the open message of the datagram's key, held and assembled fragments alike.
void ReceiveMachine::Tear(Port& port, Rule rule, const Datagram& datagram, bool resumed,
                          const SegmentView& view, ReceiveActions& actions) {
  const uint32_t stream = datagram.header.stream;
  if (!resumed && port.held.MustFollow(datagram.sender, stream)) {
    std::vector<HeldMessage> discarded;
    const bool open_goes =
        port.held.Refuse(datagram.sender, stream, port.assemblies.budget(), discarded);
    DropKept(discarded, view, actions);
    if (open_goes) port.assemblies.Discard(datagram.sender, stream, rule, actions);
    if (port.held.has_ready()) actions.push_back({.kind = Kind::kGoOn});
    return;
  }
  port.assemblies.Discard(datagram.sender, stream, rule, actions);
}

void ReceiveMachine::DropKept(const std::vector<HeldMessage>& discarded, const SegmentView& view,
                              ReceiveActions& actions) {
  for (const HeldMessage& message : discarded) {
    const Named named = message.named ? &*message.named : nullptr;
    FreeNamed(message.datagram.sender, named, view, actions);
    actions.push_back({.kind = Kind::kDropKept, .slot = message.slot});
  }
}

// SHM-2: frees the chunks of the good references of a datagram that is not delivered.
void ReceiveMachine::FreeNamed(int32_t sender, Named named, const SegmentView& view,
                               ReceiveActions& actions) {
  if (named == nullptr || !named->well_formed) return;
  Holdings holdings;
  segments_.Accept(sender, named->references, view, holdings);
  for (const Holding& holding : holdings) {
    actions.push_back({.kind = Kind::kFree, .holding = holding});
  }
}

// SHM-6: chunks that a list frees stay held until the list is complete, so that two discarded
// datagrams cannot free a chunk twice. A dead sender's segment is unmapped when its last chunk
// is released (SHM-13).
void ReceiveMachine::ReleaseFreed(ReceiveActions& actions) {
  for (size_t i = 0, count = actions.size(); i < count; ++i) {
    if (actions[i].kind != Kind::kFree) continue;
    const uint32_t slot = actions[i].holding.slot;
    if (segments_.Release(actions[i].holding)) {
      actions.push_back({.kind = Kind::kUnmap, .slot = slot});
    }
  }
}

// ------------------------------------------------- what waits, and its end

void Step(ReceiveMachine& machine, const GoesOn& goes_on, const SegmentView& view,
          ReceiveActions& actions) {
  actions.clear();
  ReceiveMachine::Port& port = machine.ports_[goes_on.port];
  if (!port.held.has_ready()) return;
  const HeldMessage message = port.held.TakeReady(port.assemblies.budget());
  actions.push_back({.kind = Kind::kResume, .slot = message.slot});
  const ReferenceList* const named = message.named ? &*message.named : nullptr;
  machine.Admitted(port, message.datagram, named, true, view, actions);
}

// SHM-8
void Step(ReceiveMachine& machine, const Announced& announced, const SegmentView& /*view*/,
          ReceiveActions& actions) {
  actions.clear();
  uint32_t slot = 0;
  if (const auto rule = machine.segments_.Announce(announced.announcement, slot)) {
    actions.push_back(
        {.kind = Kind::kRefuse, .rule = *rule, .sender = announced.announcement.sender});
    return;
  }
  actions.push_back({.kind = Kind::kMap, .guard = !announced.announcement.sealed, .slot = slot});
}

// SHM-10: messages that waited for the segment get ready, on every port of the process.
void Step(ReceiveMachine& machine, const Mapped& mapped, const SegmentView& /*view*/,
          ReceiveActions& actions) {
  actions.clear();
  const int32_t sender = machine.segments_.SenderOf(mapped.slot);
  const uint32_t id = machine.segments_.IdOf(mapped.slot);
  machine.segments_.Mapped(mapped.slot, mapped.mapped);
  if (!mapped.mapped) {
    actions.push_back({.kind = Kind::kRefuse, .rule = Rule::kShm8, .sender = sender});
    return;
  }
  for (ReceiveMachine::Port& port : machine.ports_) port.held.Announced(sender, id);
  if (machine.ready()) actions.push_back({.kind = Kind::kGoOn});
}

// SHM-6, SHM-13
void Step(ReceiveMachine& machine, const Released& released, const SegmentView& /*view*/,
          ReceiveActions& actions) {
  actions.clear();
  actions.push_back({.kind = Kind::kFree, .holding = released.holding});
  machine.ReleaseFreed(actions);
}

// FRG-9
void Step(ReceiveMachine& machine, const SenderDied& died, const SegmentView& view,
          ReceiveActions& actions) {
  actions.clear();
  ReceiveMachine::Port& port = machine.ports_[died.port];
  std::vector<HeldMessage> discarded;
  port.held.SenderDied(died.sender, port.assemblies.budget(), discarded);
  machine.DropKept(discarded, view, actions);
  port.assemblies.SenderDied(died.sender, actions);
  std::vector<uint32_t> unmap;
  machine.segments_.SenderDied(died.sender, unmap);
  for (const uint32_t slot : unmap) actions.push_back({.kind = Kind::kUnmap, .slot = slot});
  machine.ReleaseFreed(actions);
}

// FRG-9, PRT-2
void Step(ReceiveMachine& machine, const PortClosed& closed, const SegmentView& view,
          ReceiveActions& actions) {
  actions.clear();
  ReceiveMachine::Port& port = machine.ports_[closed.port];
  port.open = false;
  std::vector<HeldMessage> discarded;
  port.held.Close(port.assemblies.budget(), discarded);
  machine.DropKept(discarded, view, actions);
  port.assemblies.Close(actions);
  machine.ReleaseFreed(actions);
}

void Step(ReceiveMachine& machine, const ReceiveEvent& event, const SegmentView& view,
          ReceiveActions& actions) {
  std::visit([&](const auto& one) { Step(machine, one, view, actions); }, event);
}

}  // namespace portproof
