#include "port/receiver.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "port/process.h"
#include "protocol/bytes.h"

namespace portproof {
namespace {

// A reference of 12 bytes becomes a part and what lends its chunks; a plain byte between
// two of them gets a slab of its own.
constexpr uint64_t kAlternatingFactor = 3;

constexpr size_t kIdleSlots = 16;

ReassemblyConfig ConfigOf(const ReceiverOptions& options) {
  ReassemblyConfig config = ConfigFor(*options.profile, options.sizes.max_size);
  config.takes_fragments = options.takes_fragments;
  config.limits = options.limits;
  config.buffer_bytes = options.sizes.max_size;  // of payload: the header stays in front
  return config;
}

}  // namespace

uint64_t ReceiverMemoryBytesMax(const ReassemblyLimits& limits) {
  return kAlternatingFactor * MemoryBytesMax(limits) + HeldBytesMax(limits);
}

// -------------------------------------------------------------- lifecycle

absl::StatusOr<std::unique_ptr<Receiver>> Receiver::Adopt(Workspace& workspace, OwnedFd socket,
                                                          ReceiverOptions options,
                                                          Handler handler) {
  assert(options.profile != nullptr && options.reads_per_turn > 0);
  Kernel& kernel = workspace.kernel;
  if (absl::Status status = CheckReceiveEnd(socket.get(), options.sizes, kernel); !status.ok()) {
    return status;
  }
  if (DatagramBytesMax(options.sizes.max_size) > workspace.pool.buffer_bytes()) {
    return absl::InvalidArgumentError(absl::StrCat("max_size ", options.sizes.max_size,
                                                   ": the workspace's buffers have only ",
                                                   workspace.pool.buffer_bytes(), " bytes"));
  }
  if (options.profile->credentials && kernel.SetOption(socket.get(), SO_PASSCRED, 1) != 0) {
    return absl::ErrnoToStatus(errno, "setsockopt SO_PASSCRED");  // SOC-4
  }
  int type = 0;
  if (kernel.GetOption(socket.get(), SO_TYPE, type) != 0) {
    return absl::ErrnoToStatus(errno, "getsockopt SO_TYPE");
  }
  if (options.segments == nullptr) {
    options.segments =
        ProcessSegments::Create({.layout = options.profile->segment_layout}, workspace.kernel);
  }
  return std::unique_ptr<Receiver>(new Receiver(workspace, std::move(socket), std::move(options),
                                                std::move(handler), type == SOCK_SEQPACKET));
}

Receiver::Receiver(Workspace& workspace, OwnedFd socket, ReceiverOptions options, Handler handler,
                   bool seqpacket)
    : workspace_(workspace),
      socket_(std::move(socket)),
      options_(std::move(options)),
      handler_(std::make_unique<Handler>(std::move(handler))),
      generation_(ForkGeneration()),
      seqpacket_(seqpacket),
      mmap_type_(NumberOf(*options_.profile, Type::kMmap)),
      read_queue_type_(NumberOf(*options_.profile, Type::kReadQueue)),
      remove_pid_type_(NumberOf(*options_.profile, Type::kRemovePid)),
      intake_{options_.profile, options_.sizes.max_size, options_.handled},
      reassembly_(ConfigOf(options_)) {
  options_.segments->receivers().push_back(this);
  if (mmap_type_) attended_ = attended_.With(*mmap_type_);
  if (remove_pid_type_ && options_.obeys_remove_pid) attended_ = attended_.With(*remove_pid_type_);
}

// In the middle of its own turn the handler is still running: the workspace keeps it.
Receiver::~Receiver() {
  Close();
  std::erase(options_.segments->receivers(), this);
  if (destroyed_ == nullptr) return;
  *destroyed_ = true;
  workspace_.finished_handlers.push_back(std::move(handler_));
}

void Receiver::Close() {
  if (!open()) return;
  socket_.Close();
  Actions actions;
  Step(reassembly_, Closed{}, actions);
  for (const Action& action : actions) Discard(action.slot);
  std::vector<uint32_t> slots;
  held_.Close(reassembly_.budget(), slots);
  DiscardHeld(slots);
  slots.swap(resumable_);
  DiscardHeld(slots);
}

void Receiver::SenderDied(int32_t sender) {
  if (!open()) return;
  Actions actions;
  Step(reassembly_, portproof::SenderDied{sender}, actions);
  for (const Action& action : actions) Discard(action.slot);
  std::vector<uint32_t> slots;
  held_.SenderDied(sender, reassembly_.budget(), slots);
  DiscardHeld(slots);
  options_.segments->receiver().SenderDied(sender);
}

uint64_t Receiver::refusals() const {
  uint64_t count = 0;
  for (const uint64_t of_rule : refusals_) count += of_rule;
  return count;
}

// ---------------------------------------------------------------- reading

Next Receiver::Turn() {
  if (!open() || generation_ != ForkGeneration()) return Next::kEnd;
  Workspace& workspace = workspace_;
  if (workspace.receiving) return Next::kCallAgain;
  bool destroyed = false;
  destroyed_ = &destroyed;
  workspace.receiving = true;
  struct Turn turn = {.reads_left = options_.reads_per_turn};
  Next next = Next::kRead;
  while (next == Next::kRead && !destroyed && open()) Read(turn, next, destroyed);
  workspace.receive_batch.CloseRest();
  workspace.receiving = false;
  workspace.finished_handlers.clear();
  if (destroyed) return Next::kEnd;
  const uint32_t reads = options_.reads_per_turn - turn.reads_left;
  first_wanted_ = std::clamp(reads, 1U, ReceiveBatch::kDatagramsMax);
  destroyed_ = nullptr;
  if (next == Next::kEnd) Close();  // FRG-9
  ShrinkIfIdle();
  return open() ? next : Next::kEnd;
}

// A burst of unfinished messages leaves nothing behind.
void Receiver::ShrinkIfIdle() {
  if (reassembly_.open() != 0 || held_.count() != 0 || !resumable_.empty()) return;
  if (unfinished_.capacity() <= kIdleSlots && held_incoming_.capacity() <= kIdleSlots) return;
  reassembly_ = Reassembly(ConfigOf(options_));
  held_ = HeldMessages();
  unfinished_ = std::vector<Unfinished>();  // and its capacity
  held_incoming_ = std::vector<std::unique_ptr<Incoming>>();
  resumable_ = std::vector<uint32_t>();
}

void Receiver::Read(struct Turn& turn, Next& next, const bool& destroyed) {
  Workspace& workspace = workspace_;
  ReceiveBatch& batch = workspace.receive_batch;
  const auto datagram_bytes = static_cast<uint32_t>(DatagramBytesMax(options_.sizes.max_size));
  // The first call of a turn asks for as many as the last turn brought: for one alone the
  // batch form would look twice.
  const bool first = turn.reads_left == options_.reads_per_turn;
  const unsigned wanted =
      std::min(first ? first_wanted_ : ReceiveBatch::kDatagramsMax, turn.reads_left);
  const unsigned ready = batch.Prepare(workspace.pool, wanted, datagram_bytes);
  if (ready == 0) {
    next = After(turn, Answer::kNoBuffer);
    return;
  }
  unsigned count = 0;
  const Answer answer = batch.Receive(workspace.kernel, fd(), ready, count);
  if (answer != Answer::kDatagram) {
    if (answer == Answer::kError) last_error_ = errno;
    next = After(turn, answer);
    return;
  }
  for (unsigned index = 0; index < count; ++index) {
    Incoming incoming;
    incoming.index = index;
    const Received received = batch.Take(index, incoming.fds);
    if (received.bytes == 0 && IsEnd(index, count, incoming.fds.size())) {
      next = After(turn, Answer::kEndOfFile);
      return;
    }
    next = After(turn, Answer::kDatagram);
    OnDatagram(received, incoming);
    if (!destroyed && options_.segments->resumable()) Resume(*options_.segments);
    if (destroyed || !open()) return;
  }
}

// HDR-8. What follows in the batch is looked at first: after the end there is nothing.
bool Receiver::IsEnd(unsigned index, unsigned count, size_t fds) {
  for (unsigned later = index; later < count; ++later) {
    if (!workspace_.receive_batch.IsZero(later)) return false;
  }
  bool hung_up = false;
  int readable_bytes = 0;
  if (workspace_.kernel.HungUp(fd(), hung_up) != 0) return false;
  if (workspace_.kernel.ReadableBytes(fd(), readable_bytes) != 0) return false;
  return IsEndOfFile({.seqpacket = seqpacket_,
                      .fds = static_cast<uint32_t>(fds),
                      .hung_up = hung_up,
                      .readable_bytes = static_cast<uint64_t>(readable_bytes)});
}

void Receiver::OnDatagram(const Received& received, Incoming& incoming) {
  const std::span<const uint8_t> bytes = workspace_.receive_batch.BytesOf(incoming.index);
  const std::optional<DecodedHeader> decoded = DecodeHeader(bytes);
  std::optional<Header> header;
  if (decoded) header = incoming.header = decoded->header;
  const Admission admission = Admit(received, header, intake_);
  incoming.sender = admission.sender;
  if (admission.refused) {
    RefuseReceived(*admission.refused, received, decoded.has_value(), incoming);
    return;
  }
  incoming.payload_bytes = static_cast<uint32_t>(bytes.size() - kHeaderBytes);
  if (admission.pid_differs) ReportPid(incoming.header, admission.sender);
  OnAdmitted(incoming);
}

// Before anything but its header was looked at.
void Receiver::RefuseReceived(Rule rule, const Received& received, bool has_header,
                              Incoming& incoming) {
  const Header& header = incoming.header;
  if (has_header && !received.truncated && HasReferences(header)) {
    ReleaseNamed(header, incoming.sender, PayloadOf(incoming));
  }
  incoming.fds.clear();
  RefuseAndDiscard(rule, has_header ? std::optional(header) : std::nullopt, incoming.sender, false);
}

void Receiver::OnAdmitted(Incoming& incoming) {
  const Header& header = incoming.header;
  std::optional<Rule> refused;
  if (HasReferences(header)) {
    if (!DecodeList(header, PayloadOf(incoming))) refused = Rule::kShm1;
    if (!refused && options_.profile->queues && !incoming.resumed && Hold(incoming)) return;
    if (!refused) {
      refused = options_.segments->receiver().Accept(incoming.sender, workspace_.references,
                                                     workspace_.holdings);
    }
  } else if (held_.MustFollow(incoming.sender, header.stream) && !incoming.resumed) {
    workspace_.references.clear();
    if (Hold(incoming)) return;
  }
  if (refused) {
    incoming.fds.clear();
    RefuseAndDiscard(*refused, header, incoming.sender, incoming.resumed);
    return;
  }
  const Datagram datagram = {header, incoming.sender, incoming.payload_bytes};
  if (!IsMessage(header)) {
    Step(reassembly_, datagram, workspace_.actions);
    Perform(incoming);
    return;
  }
  if (const auto broken = BrokenByMessage(reassembly_, datagram)) {
    const bool* const destroyed = destroyed_;
    Refuse(*broken, header, incoming.sender, true);
    if (*destroyed) return;
  }
  DeliverAlone(incoming);
}

// ------------------------------------------------------------- references

bool Receiver::HasReferences(const Header& header) const {
  return header.mmap && header.type != read_queue_type_;  // SHM-1
}

bool Receiver::DecodeList(const Header& header, std::span<const uint8_t> payload) {
  const bool tracking = options_.profile->byte15 == Byte15::kTracking && header.byte15 != 0;
  return DecodeReferences(payload, tracking, MachineByteOrder(), workspace_.references);
}

// Frees the chunks of the good references of a datagram that goes no further.
void Receiver::ReleaseNamed(const Header& header, int32_t sender,
                            std::span<const uint8_t> payload) {
  if (!DecodeList(header, payload)) return;
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
  kept->fds = std::move(incoming.fds);
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
  if (payload.size() < options_.sizes.max_size / 2) {
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

void Receiver::ResumeOwn() {
  if (destroyed_ != nullptr) {  // in the middle of its own turn
    ResumeAll(*destroyed_);
    return;
  }
  bool destroyed = false;
  destroyed_ = &destroyed;
  ResumeAll(destroyed);
  if (!destroyed) destroyed_ = nullptr;
}

void Receiver::ResumeAll(const bool& destroyed) {
  while (!destroyed && !resumable_.empty()) {
    const uint32_t slot = resumable_.front();
    resumable_.erase(resumable_.begin());
    const std::unique_ptr<Incoming> incoming = std::move(held_incoming_[slot]);
    if (incoming != nullptr) OnAdmitted(*incoming);
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

// ---------------------------------------------------------------- actions

std::span<const uint8_t> Receiver::PayloadOf(const Incoming& incoming) const {
  if (!incoming.in_batch) return incoming.part.bytes();
  return workspace_.receive_batch.BytesOf(incoming.index).subspan(kHeaderBytes);
}

Part Receiver::TakePart(Incoming& incoming) {
  if (!incoming.in_batch) return std::move(incoming.part);
  return workspace_.receive_batch.TakeBuffer(incoming.index, kHeaderBytes, incoming.payload_bytes);
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
      case Action::Kind::kDeliver:
        DeliverAlone(incoming);
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
      case Action::Kind::kRefuse:
        if (HasReferences(incoming.header)) ReleaseHoldings();
        incoming.fds.clear();
        break;
      case Action::Kind::kDiscard:
        Discard(action.slot);
        break;
    }
  }
}

void Receiver::Open(Incoming& incoming, const Action& action) {
  if (action.slot >= unfinished_.size()) unfinished_.resize(action.slot + 1);
  Unfinished& unfinished = unfinished_[action.slot];
  unfinished.fds = std::move(incoming.fds);
  AppendTo(unfinished.payload, incoming, action);
}

void Receiver::Finish(Incoming& incoming, const Action& action) {
  Unfinished unfinished = std::exchange(unfinished_[action.slot], {});
  AppendTo(unfinished.payload, incoming, action);
  Message message{action.header, incoming.sender, std::move(unfinished.payload),
                  std::move(unfinished.fds)};
  Deliver(message);
}

// The commonest by far: the buffer is lent to the handler, and goes back to its place.
void Receiver::DeliverAlone(Incoming& incoming) {
  Workspace& workspace = workspace_;
  Message message{incoming.header, incoming.sender, {}, std::move(incoming.fds)};
  const Block* lent = nullptr;
  if (HasReferences(incoming.header)) {
    LendHoldings(message.payload);
  } else if (incoming.payload_bytes != 0) {
    lent = message.payload.emplace_back(TakePart(incoming)).block();
  }
  const unsigned index = incoming.index;
  const bool in_batch = incoming.in_batch;
  Deliver(message);
  if (!in_batch || lent == nullptr || message.payload.empty()) return;
  if (message.payload.front().block() != lent) return;  // the handler has it
  workspace.receive_batch.GiveBack(index, message.payload.front().Release());
}

void Receiver::Deliver(Message& message) {
  if (attended_.Has(message.header.type) && Attend(message)) return;
  (*handler_)(message);
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

// --------------------------------------------------------------- refusals

void Receiver::Refuse(Rule rule, const std::optional<Header>& header, int32_t sender,
                      bool accepted) {
  if (!accepted) ++refusals_[static_cast<size_t>(rule)];
  if (options_.observer) options_.observer({rule, header, sender, accepted});
}

// RCV-5: the open assembly of its key goes only where the rule says so.
void Receiver::RefuseAndDiscard(Rule rule, const std::optional<Header>& header, int32_t sender,
                                bool resumed) {
  if (header && Discards(rule)) {
    bool open_goes = true;
    if (!resumed && held_.MustFollow(sender, header->stream)) {
      std::vector<uint32_t> discarded;
      std::vector<uint32_t> go_on;
      open_goes = held_.Refuse(sender, header->stream, reassembly_.budget(), discarded, go_on);
      DiscardHeld(discarded);
      AddResumable(go_on);
    }
    if (open_goes) {
      Actions actions;
      Step(reassembly_, Refused{header->stream, sender, rule}, actions);
      for (const Action& action : actions) {
        if (action.kind == Action::Kind::kDiscard) Discard(action.slot);
      }
    }
  }
  Refuse(rule, header, sender, false);
}

// HDR-7: once while the pair stays the same, as in a pid namespace it does.
void Receiver::ReportPid(const Header& header, int32_t sender) {
  if (header.pid == reported_pid_ && sender == reported_sender_) return;
  reported_pid_ = header.pid;
  reported_sender_ = sender;
  Refuse(Rule::kHdr7, header, sender, true);
}

}  // namespace portproof
