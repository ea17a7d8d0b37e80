#include "port/receiver.h"

#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

namespace portproof {
namespace {

using Kind = ReceiveAction::Kind;

constexpr size_t kIdleSlots = 16;

ReceivePortConfig ConfigOf(const ReceiverOptions& options, const BufferPool& pool) {
  return {.profile = options.profile,
          .max_size = options.sizes.max_size,
          // Of payload: the header stays in front. What counts is what a kept buffer occupies,
          // and the pool may serve ports of a larger MAX (FRG-8).
          .buffer_bytes = static_cast<uint32_t>(pool.buffer_bytes() - kHeaderBytes),
          .handled = options.handled,
          .takes_fragments = options.takes_fragments,
          .obeys_remove_pid = options.obeys_remove_pid,
          .reads_per_turn = options.reads_per_turn,
          .reads_per_call = ReceiveBatch::kDatagramsMax,
          .limits = options.limits};
}

}  // namespace

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
  if (options.process == nullptr) {
    options.process =
        ReceivingProcess::Create({.layout = options.profile->segment_layout,
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
      seqpacket_(seqpacket),
      port_(options_.process->Add(*this, ConfigOf(options_, workspace.pool))) {}

// A receiver that is destroyed in its own turn has a running handler. The workspace keeps that
// handler until the turn ends.
Receiver::~Receiver() {
  Close();
  options_.process->Remove(port_);
  if (destroyed_ == nullptr) return;
  *destroyed_ = true;
  workspace_.finished_handlers.push_back(std::move(handler_));
}

void Receiver::Close() {
  if (!open()) return;
  socket_.Close();
  Incoming none;
  Run(PortClosed{port_}, none);
  if (!reading_) return;
  // The same call brought further datagrams; their descriptors and chunks are let go.
  Incoming rest(workspace_.receive_batch);
  for (const ReceiveBatch& batch = workspace_.receive_batch; batch.taken() < batch.received();) {
    Present(batch.taken(), rest);
  }
}

void Receiver::SenderDied(int32_t sender) {
  if (!Usable()) return;
  Incoming none;
  Run(portproof::SenderDied{port_, sender}, none);
}

// ---------------------------------------------------------------- reading

Next Receiver::Turn() {
  if (!Usable()) return Next::kEnd;
  Workspace& workspace = workspace_;
  if (workspace.receiving) return Next::kCallAgain;
  bool destroyed = false;
  destroyed_ = &destroyed;
  workspace.receiving = reading_ = true;
  const Next next = RunTurn(destroyed);
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

// Does what the machine asks for until it says that the turn is over.
Next Receiver::RunTurn(const bool& destroyed) {
  Workspace& workspace = workspace_;
  ReceiveActions& actions = workspace.actions;
  Step(machine(), TurnBegins{port_, workspace.slots_short}, view(), actions);
  while (true) {
    const ReceiveAction& action = actions.back();
    if (action.kind == Kind::kStop) return action.next;
    if (action.kind == Kind::kAskSlots) {
      Step(machine(), SlotsCounted{port_, workspace.CountSlots()}, view(), actions);
      continue;
    }
    const CallReturned returned = Read(action.count, destroyed);
    if (destroyed || !Usable()) return Next::kCallAgain;  // a handler ended it, or forked
    Step(machine(), returned, view(), actions);
  }
}

CallReturned Receiver::Read(unsigned count, const bool& destroyed) {
  Workspace& workspace = workspace_;
  ReceiveBatch& batch = workspace.receive_batch;
  const std::shared_ptr<ReceivingProcess>& process = options_.process;
  CallReturned returned{.port = port_, .answer = Answer::kNoBuffer};
  const auto datagram_bytes = static_cast<uint32_t>(DatagramBytesMax(options_.sizes.max_size));
  const unsigned ready = batch.Prepare(workspace.pool, count, datagram_bytes);
  if (ready == 0) return returned;
  returned.answer = batch.Receive(workspace.kernel, fd(), ready, returned.count);
  if (returned.answer == Answer::kError) last_error_ = errno;
  Incoming incoming(batch);  // reused: each datagram leaves it empty
  for (unsigned index = 0; index < returned.count; ++index) {
    Present(index, incoming);
    // A copy holds the process, whatever receiver a handler destroys.
    if (!destroyed && process->goes_on()) GoOn(*std::shared_ptr<ReceivingProcess>(process));
    if (destroyed || !Usable()) return returned;
  }
  returned.came_short = returned.count < ready;
  returned.slots_short = workspace.slots_short;
  return returned;
}

// Gives the machine the facts of one datagram, and performs its actions.
inline void Receiver::Present(unsigned index, Incoming& incoming) {
  const ReceiveBatch& batch = workspace_.receive_batch;
  Arrival arrival{.port = port_};
  arrival.received = incoming.Take(index);
  arrival.used_slots = batch.UsedSlots(index, arrival.received);
  if (arrival.received.control_truncated) [[unlikely]]
    workspace_.slots_short = true;
  const std::span<const uint8_t> payload = incoming.bytes_behind_header();
  arrival.payload_bytes = static_cast<uint32_t>(payload.size());
  if (incoming.has_header) {
    const Header& header = incoming.header;
    arrival.header = &header;
    if (machine().NamesChunks(port_, header)) {
      const bool tracking = machine().HasTracking(port_, header);
      DecodeReferenceList(payload, tracking, MachineByteOrder(), workspace_.named);
      arrival.named = &workspace_.named;
    }
  }
  ZeroRead zero{.seqpacket = seqpacket_, .fds = arrival.received.fds};
  if (arrival.received.bytes == 0) {
    batch.FindOut(workspace_.kernel, fd(), index, zero);
    arrival.zero = &zero;
  }
  Step(machine(), arrival, view(), workspace_.actions);
  Perform(workspace_.actions, incoming);
}

// SHM-10: goes on with the held datagrams that are ready, on every receiver of the process.
void Receiver::GoOn(ReceivingProcess& process) {
  process.SetGoesOn(false);
  while (!process.forked()) {
    const std::optional<uint32_t> port = process.machine().ready();
    if (!port) return;
    process.ReceiverOf(*port).GoOnOwn();
  }
}

// Goes on with one held datagram of this receiver. No turn can begin on its workspace meanwhile.
void Receiver::GoOnOwn() {
  Workspace& workspace = workspace_;
  const bool receiving = std::exchange(workspace.receiving, true);  // perhaps another's turn
  const bool own_turn = destroyed_ != nullptr;
  bool destroyed = false;
  if (!own_turn) destroyed_ = &destroyed;
  Incoming incoming;
  Run(GoesOn{port_}, incoming);
  if (own_turn) return;
  if (!destroyed) destroyed_ = nullptr;
  workspace.receiving = receiving;
  if (!receiving) workspace.finished_handlers.clear();
}

// ---------------------------------------------------------------- actions

template <typename Event>
void Receiver::Run(const Event& event, Incoming& incoming) {
  ReceiveActions actions;
  Step(machine(), event, view(), actions);
  Perform(actions, incoming);
}

// Performs the actions in order. A delivery is the last one, for the handler may destroy this
// receiver.
inline void Receiver::Perform(const ReceiveActions& actions, Incoming& incoming) {
  for (const ReceiveAction& action : actions) {
    if (action.kind != Kind::kDeliver) [[unlikely]] {
      if (!PerformOne(action, incoming)) return;
      continue;
    }
    incoming.sender = action.sender;
    if (action.rule) Tell(*action.rule, incoming, true);
    incoming.MakeWhole();
    return Deliver(action.use, incoming);
  }
}

// False: the caller must not perform the rest of the list.
bool Receiver::PerformOne(const ReceiveAction& action, Incoming& incoming) {
  if (action.sender != 0) incoming.sender = action.sender;
  switch (action.kind) {
    case Kind::kResume:
      incoming = std::move(*std::exchange(kept_[action.slot], nullptr));
      break;
    case Kind::kLend:
      incoming.payload.push_back(options_.process->Lend(action.holding));
      break;
    case Kind::kTake:
      if (options_.process->Take(action)) break;
      ++cancelled_;
      Run(Cancelled{port_, incoming.sender, incoming.header}, incoming);
      return false;
    case Kind::kOpen:
      UnfinishedOf(action.slot).fds.swap(incoming.fds);
      Append(action, incoming);
      break;
    case Kind::kAppend:
      Append(action, incoming);
      break;
    case Kind::kFinish:
      Append(action, incoming);
      incoming.header = action.header;
      incoming.payload.swap(unfinished_[action.slot].payload);
      incoming.fds.swap(unfinished_[action.slot].fds);
      Deliver(action.use, incoming);
      return false;
    case Kind::kKeep:
      if (action.slot >= kept_.size()) kept_.resize(action.slot + 1);
      kept_[action.slot] = incoming.Keep(workspace_.pool.buffer_bytes());
      break;
    case Kind::kRefuse:
      ++refusals_[static_cast<size_t>(*action.rule)];
      incoming.fds.clear();
      Tell(*action.rule, incoming, false);
      break;
    case Kind::kReport:
      Tell(*action.rule, incoming, true);
      break;
    case Kind::kDrop:
      incoming.TakeBack();
      break;
    case Kind::kDiscard:
    case Kind::kCancel:
      unfinished_[action.slot] = {};
      break;
    case Kind::kDropKept:
      kept_[action.slot] = nullptr;
      break;
    case Kind::kMap:
      Run(Mapped{action.slot, options_.process->Map(action, incoming.fds.front().get())}, incoming);
      break;
    case Kind::kFree:
    case Kind::kUnmap:
      options_.process->Perform(action);
      break;
    case Kind::kAsk:
      if (options_.ask_segment) options_.ask_segment(action.sender, action.count);
      break;
    case Kind::kGoOn:
      options_.process->SetGoesOn(true);
      break;
    case Kind::kRead:  // of a turn: RunTurn
    case Kind::kAskSlots:
    case Kind::kStop:
    case Kind::kDeliver:  // Perform
      break;
  }
  return true;
}

void Receiver::Deliver(Use use, Incoming& incoming) {
  if (use == Use::kAnnouncement) {
    Run(Announced{port_, options_.process->Describe(incoming.sender, incoming.fds)}, incoming);
  } else {
    const auto pid = use == Use::kRemovePid ? incoming.PidInPayload() : std::nullopt;
    if (pid) SenderDied(*pid);
    (*handler_)(incoming);
  }
  incoming.TakeBack();
}

void Receiver::Append(const ReceiveAction& action, Incoming& incoming) {
  if (action.rule) Tell(*action.rule, incoming, true);
  incoming.AppendTo(UnfinishedOf(action.slot).payload, action);
}

Receiver::Unfinished& Receiver::UnfinishedOf(uint32_t slot) {
  if (slot >= unfinished_.size()) unfinished_.resize(slot + 1);
  return unfinished_[slot];
}

// A burst of unfinished messages leaves nothing behind.
void Receiver::ShrinkIfIdle() {
  if (machine().assemblies(port_).budget().count() != 0) return;
  if (unfinished_.capacity() > kIdleSlots) unfinished_ = std::vector<Unfinished>();
  if (kept_.capacity() > kIdleSlots) kept_ = std::vector<std::unique_ptr<Incoming>>();
}

void Receiver::Tell(Rule rule, const Incoming& incoming, bool accepted) {
  if (!options_.observer) return;
  const auto header = incoming.has_header ? std::optional(incoming.header) : std::nullopt;
  options_.observer({rule, header, incoming.sender, accepted});
}

}  // namespace portproof
