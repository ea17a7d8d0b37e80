#include "port/receiver.h"

#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "absl/strings/str_cat.h"

namespace portproof {
namespace {

// A reference of 12 bytes becomes a part and what lends its chunks; a plain byte between
// two of them gets a slab of its own.
constexpr uint64_t kAlternatingFactor = 3;

constexpr size_t kIdleSlots = 16;

ReassemblyConfig ConfigOf(const ReceiverOptions& options, const BufferPool& pool) {
  ReassemblyConfig config = ConfigFor(*options.profile, options.sizes.max_size);
  config.takes_fragments = options.takes_fragments;
  config.limits = options.limits;
  // Of payload: the header stays in front. What counts is what a kept buffer occupies, and
  // the pool may serve ports of a larger MAX (FRG-8).
  config.buffer_bytes = pool.buffer_bytes() - kHeaderBytes;
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
        ProcessSegments::Create({.layout = options.profile->segment_layout,
                                 .own_pid = options.pid != 0 ? options.pid : ::getpid()},
                                kernel);
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
      reassembly_(ConfigOf(options_, workspace.pool)) {
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
  if (reading_) ReleaseRest();
}

// SHM-6: what came with the datagram whose handler closes the receiver.
void Receiver::ReleaseRest() {
  ReceiveBatch& batch = workspace_.receive_batch;
  while (batch.taken() < batch.received()) {
    Incoming incoming;
    incoming.index = batch.taken();
    const Received received = batch.Take(incoming.index, incoming.fds);
    const auto decoded = DecodeHeader(batch.BytesOf(incoming.index));
    if (!decoded || received.truncated || !HasReferences(decoded->header)) continue;
    ReleaseNamed(decoded->header, SenderOf(received, decoded->header), PayloadOf(incoming));
  }
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
  if (!Usable()) return Next::kEnd;
  Workspace& workspace = workspace_;
  if (workspace.receiving) return Next::kCallAgain;
  bool destroyed = false;
  destroyed_ = &destroyed;
  workspace.receiving = true;
  if (!resumable_.empty()) ResumeAll(destroyed);  // before anything newer
  reading_ = true;
  struct Turn turn = {.reads_left = options_.reads_per_turn};
  Next next = Next::kRead;
  while (next == Next::kRead && !destroyed && Usable()) Read(turn, next, destroyed);
  workspace.receive_batch.CloseRest();
  workspace.receiving = false;
  workspace.finished_handlers.clear();
  if (destroyed) return Next::kEnd;
  reading_ = false;
  destroyed_ = nullptr;
  if (next == Next::kEnd) Close();  // FRG-9
  ShrinkIfIdle();
  return Usable() ? next : Next::kEnd;
}

// A burst of unfinished messages leaves nothing behind.
void Receiver::ShrinkIfIdle() {
  if (reassembly_.open() != 0 || held_.count() != 0 || !resumable_.empty()) return;
  if (unfinished_.capacity() <= kIdleSlots && held_incoming_.capacity() <= kIdleSlots) return;
  reassembly_ = Reassembly(ReassemblyConfig(reassembly_.config()));
  held_ = HeldMessages();
  unfinished_ = std::vector<Unfinished>();  // and its capacity
  held_incoming_ = std::vector<std::unique_ptr<Incoming>>();
  resumable_ = std::vector<uint32_t>();
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

// The commonest by far: the buffer is lent to the handler, and goes back to its place.
inline void Receiver::DeliverAlone(Incoming& incoming) {
  Workspace& workspace = workspace_;  // the handler may destroy this receiver
  Message& message = incoming;
  Payload& payload = message.payload;
  const Block* lent = nullptr;
  if (HasReferences(message.header)) {
    payload.clear();
    LendHoldings(payload);
  } else if (incoming.payload_bytes != 0) {
    if (payload.empty()) payload.emplace_back();  // it serves the whole batch
    payload.front() = TakePart(incoming);
    lent = payload.front().block();
  } else {
    payload.clear();
  }
  Deliver(message);
  if (!message.fds.empty()) message.fds.clear();
  // Unless the handler has it.
  if (payload.size() == 1 && payload.front().block() == lent && incoming.in_batch) {
    if (lent != nullptr) {
      workspace.receive_batch.GiveBack(incoming.index, payload.front().Release());
    }
    return;
  }
  payload.clear();
}

// What passed the checks so far, of the batch or held before.
inline void Receiver::OnAdmitted(Incoming& incoming) {
  const Header& header = incoming.header;
  if (HasReferences(header) || held_.MustFollow(incoming.sender, header.stream)) {
    if (!TakeReferences(incoming)) return;
  }
  if (!IsMessage(header)) {
    OnFragment(incoming);
    return;
  }
  if (incoming.tracked && IsCancelled(incoming)) {
    ReleaseHoldings();
    incoming.fds.clear();
    return;
  }
  if (const auto broken = BrokenByMessage(reassembly_, incoming.sender, header.stream)) {
    const bool* const destroyed = destroyed_;
    Refuse(*broken, header, incoming.sender, true);
    if (*destroyed) return;
  }
  DeliverAlone(incoming);
}

void Receiver::GoOn(Incoming& incoming) { OnAdmitted(incoming); }

inline void Receiver::OnDatagram(const Received& received, Incoming& incoming) {
  const std::span<const uint8_t> bytes = workspace_.receive_batch.BytesOf(incoming.index);
  const Header* const header = DecodeHeaderTo(bytes, incoming.header) ? &incoming.header : nullptr;
  const Admission admission = Admit(received, header, intake_);
  incoming.sender = admission.sender;
  if (admission.refused) [[unlikely]] {
    RefuseReceived(*admission.refused, received.truncated, header != nullptr, incoming);
    return;
  }
  incoming.payload_bytes = static_cast<uint32_t>(bytes.size() - kHeaderBytes);
  if (admission.pid_differs) ReportPid(incoming.header, admission.sender);
  OnAdmitted(incoming);
}

// RCV-5.
unsigned Receiver::DatagramsOfNextCall() {
  if (caution_.MustAsk(workspace_.slots_short)) [[unlikely]]
    AskForRoom();
  return caution_.ReadsSingly(workspace_.slots_short) ? 1 : ReceiveBatch::kDatagramsMax;
}

void Receiver::AskForRoom() {
  unsigned free = 0;
  const int asked = workspace_.kernel.FreeSlots(ReceiveBatch::kSlotsMax, free);
  const bool room = asked == 0 && free == ReceiveBatch::kSlotsMax;
  workspace_.slots_short = !room;
  caution_.Answered(room);
}

void Receiver::Read(struct Turn& turn, Next& next, const bool& destroyed) {
  Workspace& workspace = workspace_;
  ReceiveBatch& batch = workspace.receive_batch;
  const auto datagram_bytes = static_cast<uint32_t>(DatagramBytesMax(options_.sizes.max_size));
  const unsigned wanted = std::min(DatagramsOfNextCall(), turn.reads_left);
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
  Incoming incoming;  // for one after the other: each leaves it without descriptors and buffers
  for (unsigned index = 0; index < count; ++index) {
    assert(incoming.fds.empty() && incoming.bytes() == 0);
    incoming.index = index;
    const Received received = batch.Take(index, incoming.fds);
    caution_.Came(batch.UsedSlots(index, received));
    if (received.control_truncated) [[unlikely]]
      workspace.slots_short = true;
    if (received.bytes == 0 && IsEnd(index, count, incoming.fds.size())) {
      next = After(turn, Answer::kEndOfFile);
      return;
    }
    next = After(turn, Answer::kDatagram);
    OnDatagram(received, incoming);
    if (!destroyed && options_.segments->resumable()) Resume(*options_.segments);
    if (destroyed || !Usable()) return;
  }
  // Behind the last one the call found the socket empty. (Or reset: then an event comes of
  // the peer's close.)
  if (count < ready && next == Next::kRead) next = After(turn, Answer::kEmpty);
}

// Before anything but its header was looked at.
void Receiver::RefuseReceived(Rule rule, bool truncated, bool has_header, Incoming& incoming) {
  const Header& header = incoming.header;
  if (has_header && !truncated && HasReferences(header)) {
    ReleaseNamed(header, incoming.sender, PayloadOf(incoming));
  }
  incoming.fds.clear();
  RefuseAndDiscard(rule, has_header ? std::optional(header) : std::nullopt, incoming.sender, false);
}

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

// HDR-7: once while the pair stays the same, as in a pid namespace it does. The oldest of
// many pairs is forgotten.
void Receiver::ReportPid(const Header& header, int32_t sender) {
  const std::pair pair(header.pid, sender);
  if (std::find(reported_.begin(), reported_.end(), pair) != reported_.end()) return;
  reported_[reported_next_++ % reported_.size()] = pair;
  Refuse(Rule::kHdr7, header, sender, true);
}

}  // namespace portproof
