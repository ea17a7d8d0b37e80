#include "oracle/checker.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/string_view.h"
#include "oracle/checker_state.h"

namespace portproof {
namespace {

constexpr size_t kTimePointsMax = 1024;
constexpr size_t kDeadKept = 1 << 16;
constexpr size_t kPortsKept = 1024;  // beyond, ports nobody is left to use are forgotten

// After these the same datagram may be tried again; the port goes on (SND-2).
bool IsPassing(std::string_view errno_name) {
  constexpr std::string_view kPassing[] = {"EAGAIN",  "EWOULDBLOCK", "EINTR",
                                           "ENOBUFS", "ENOMEM",      "ETOOMANYREFS"};
  return std::find(std::begin(kPassing), std::end(kPassing), errno_name) != std::end(kPassing);
}

// SND-4: whatever the message, the port is over.
bool FailsPort(std::string_view errno_name) {
  constexpr std::string_view kOver[] = {"EPIPE", "ECONNRESET", "ECONNREFUSED", "ENOTCONN"};
  return std::find(std::begin(kOver), std::end(kOver), errno_name) != std::end(kOver);
}

// Debian's Abseil has a string_view of its own.
absl::string_view AsKey(std::string_view text) { return {text.data(), text.size()}; }

// By their last two characters, in which numbers that are used together differ.
size_t RecentIndex(std::string_view name) {
  const size_t last = name.empty() ? 0 : static_cast<uint8_t>(name.back());
  return (last + (name.size() < 2 ? 0 : 5U * static_cast<uint8_t>(name[name.size() - 2]))) %
         kRecentKept;
}

// Equal, without a call for what inodes print as.
bool SameName(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  constexpr size_t kWord = 8;
  if (a.size() < kWord || a.size() > 2 * kWord) return a == b;
  const auto word = [](std::string_view text, size_t at) {
    uint64_t value = 0;
    memcpy(&value, text.data() + at, kWord);
    return value;
  };
  return word(a, 0) == word(b, 0) && word(a, a.size() - kWord) == word(b, b.size() - kWord);
}

// A hash map's order is not the same twice; findings must be.
void SortByName(std::vector<Port*>& ports) {
  std::sort(ports.begin(), ports.end(),
            [](const Port* a, const Port* b) { return a->name < b->name; });
}

}  // namespace

void TimeLine::Add(uint64_t sequence, int64_t time_us) {
  if (time_us == kNoTime) return;
  while (!falling_.empty() && falling_.back().time_us <= time_us) falling_.pop_back();
  falling_.push_back({sequence, time_us});
  if (falling_.size() > 2 * kTimePointsMax) {
    falling_.erase(falling_.begin(), falling_.begin() + kTimePointsMax);
  }
}

int64_t TimeLine::GreatestAfter(uint64_t sequence) const {
  const auto point =
      std::upper_bound(falling_.begin(), falling_.end(), sequence,
                       [](uint64_t value, const Point& other) { return value < other.sequence; });
  return point == falling_.end() ? kNoTime : point->time_us;
}

Checker::Checker(const CheckOptions& options) : state_(std::make_unique<State>(options)) {}

Checker::~Checker() = default;

void Checker::OnEvent(const Event& event) { state_->OnEvent(event); }

CheckResult Checker::Finish() { return state_->Finish(); }

std::vector<Rule> Checker::Judged() {
  using enum Rule;
  return {kHdr1, kHdr3, kHdr4, kHdr6, kHdr7, kHdr8, kIov3, kIov4,  kSnd5, kFrg1, kFrg2, kFrg3,
          kFrg5, kFrg6, kFrg7, kRcv1, kShm1, kShm2, kShm8, kShm10, kFds1, kFds2, kFds6, kSoc3};
}

Checker::State::State(const CheckOptions& options) : options_(options), findings_(options.off) {}

void Checker::State::OnEvent(const Event& event) {
  ++sequence_;
  if (event.kind != EventKind::kDamage) time_.Add(sequence_, event.time_us);
  switch (event.kind) {
    case EventKind::kOpen:
      OnOpen(event);
      return;
    case EventKind::kSend:
      OnSend(event);
      return;
    case EventKind::kRecv:
      OnRecv(event);
      return;
    case EventKind::kFail:
      OnFail(event);
      return;
    case EventKind::kEof:
      OnEof(event);
      return;
    case EventKind::kExit:
      OnExit(event);
      return;
    case EventKind::kClose:
      OnClose(event);
      return;
    case EventKind::kDamage:
      ++tally_.counts.damaged_lines;
      findings_.AddDamage(event.port);
      return;
  }
}

Port& Checker::State::PortOf(std::string_view name) {
  Port*& recent = recent_ports_[RecentIndex(name)];
  if (recent != nullptr && SameName(recent->name, name)) return *recent;
  const auto found = ports_.find(AsKey(name));
  if (found != ports_.end()) return *(recent = found->second.get());
  auto port = std::make_unique<Port>();
  port->name.assign(name);
  ++tally_.counts.ports;
  recent = port.get();
  return *ports_.emplace(std::string(name), std::move(port)).first->second;
}

void Checker::State::Forget(const Port& port) {
  for (Port*& recent : recent_ports_) {
    if (recent == &port) recent = nullptr;
  }
}

Process& Checker::State::ProcessNamed(int32_t pid) {
  std::unique_ptr<Process>& process = processes_[pid];
  if (process == nullptr) {
    process = std::make_unique<Process>();
    process->pid = pid;
    process->serial = ++serials_;
  }
  return *process;
}

// The process behind an event; its thread stands for it where only that is known.
Process* Checker::State::ProcessOf(const Event& event) {
  const int32_t pid = event.pid != kNoPid ? event.pid : event.tid;
  if (pid == kNoPid) return nullptr;
  Process*& recent = recent_processes_[static_cast<uint32_t>(pid) % kRecentKept];
  if (recent == nullptr || recent->pid != pid) {
    recent = &ProcessNamed(pid);
    recent->acted = true;
    dead_.erase(pid);
  }
  recent->last_sequence = sequence_;
  return recent;
}

void Checker::State::CountProcess(Process* process, const Port& port) {
  if (process == nullptr) return;
  process->partial = process->partial || !port.opened;
  if (process->partial && partial_.size() < kDeadKept) partial_.insert(process->serial);
  if (!std::exchange(process->counted, true)) ++tally_.counts.processes;
}

void Checker::State::OnOpen(const Event& event) {
  const auto found = ports_.find(AsKey(event.port));
  if (found != ports_.end()) {
    EndPort(*found->second);
    ports_.erase(found);
  }
  Retire();
  Port& port = PortOf(event.port);
  port.opened = true;
  if (event.max_size != 0) port.max_size = event.max_size;
  if (event.max_share != 0) port.max_share = event.max_share;
}

void Checker::State::FirstSend(Port& port) {
  if (std::exchange(port.sends_seen, true) || !port.receives_seen) return;
  // What was received before: sent before the trace began, or never sent.
  for (const uint64_t slot : port.receive_slots) findings_.Uncount(slot);
  if (port.opened) {
    for (const Place& place : port.unsent) {
      findings_.Report(Rule::kSoc3, place.AsWhere(), "received, but not sent before that",
                       Lost::kDelivery);
    }
  } else {
    findings_.Retract(port.name);
  }
  port.receive_only = Tally();
  port.receive_slots.clear();
  port.unsent.clear();
  port.streams.clear();
  port.turns.clear();
  port.ended.clear();
  port.headerless.clear();
}

void Checker::State::OnSend(const Event& event) {
  Port& port = PortOf(event.port);
  FirstSend(port);
  Process* process = ProcessOf(event);
  Datagram datagram;
  datagram.event = &event;
  datagram.port = &port;
  datagram.process = process;
  datagram.sequence = sequence_;
  datagram.slot = findings_.NextSlot();
  datagram.tally = &tally_;
  if (!event.killed) {
    CountProcess(process, port);
    ++tally_.counts.undelivered;
    JudgeDatagram(datagram);
  } else {
    const auto header = DecodeHeader(event.data, options_.byte_order);
    if (header) {
      datagram.header = header->header;
      datagram.key = KeyOf(datagram);
      const auto open = port.streams.find(datagram.key);
      if (open != port.streams.end()) open->second->dying = true;
    }
  }
  Sent sent;
  sent.print = PrintOf(event);
  sent.slot = datagram.slot;
  sent.sequence = sequence_;
  sent.key = datagram.key;
  sent.time_us = event.time_us;
  sent.line = event.line;
  sent.file = event.file;
  sent.pid = event.pid;
  sent.process = process == nullptr ? kNoPid : process->pid;
  sent.serial = process == nullptr ? 0 : process->serial;
  sent.fds = event.fds;
  sent.iov = event.iov;
  sent.stream = datagram.header.stream;
  sent.killed = event.killed;
  sent.fragment = datagram.fragment();
  sent.faulty = datagram.faulty;
  port.delivery.Push(event.tid != kNoPid ? event.tid : event.pid, sent);
}

void Checker::State::FirstReceive(Port& port, const Process* receiver) {
  const bool first = !std::exchange(port.receives_seen, true);
  if (receiver == nullptr) return;
  const bool moved = port.receiver_serial != receiver->serial;
  port.receiver = receiver->pid;
  port.receiver_serial = receiver->serial;
  port.receiver_partial = receiver->partial;
  if (first || moved) Attribute(port);
}

void Checker::State::OnRecv(const Event& event) {
  Port& port = PortOf(event.port);
  if (event.killed) return port.delivery.Abandon(EnteredAt(event), sequence_);
  Process* receiver = ProcessOf(event);
  CountProcess(receiver, port);
  FirstReceive(port, receiver);
  if (receiver != nullptr) receiver->last_receive = sequence_;
  ++tally_.counts.received;
  JudgeReceive(port, receiver, event);
}

void Checker::State::OnFail(const Event& event) {
  Port& port = PortOf(event.port);
  const Process* process = ProcessOf(event);
  if (IsPassing(event.errno_name)) return;
  const int32_t pid = process == nullptr ? kNoPid : process->pid;
  if (FailsPort(event.errno_name)) return EndStreams(port, pid);
  // It failed a message that had not begun, alone, or else the port (SND-4): the begun
  // ones may go on, and may not.
  for (auto& [key, assembly] : port.streams) {
    if (pid == kNoPid || assembly->process == pid) assembly->explained = true;
  }
}

void Checker::State::OnEof(const Event& event) {
  Port& port = PortOf(event.port);
  Process* receiver = ProcessOf(event);
  FirstReceive(port, receiver);
  EndStreams(port, kNoPid);
}

void Checker::State::OnClose(const Event& event) {
  const auto found = ports_.find(AsKey(event.port));
  if (found == ports_.end()) return;
  if (event.pid != kNoPid) {
    ProcessOf(event);
    EndStreams(*found->second, event.pid);
    return;
  }
  EndPort(*found->second);
  ports_.erase(found);
}

void Checker::State::OnExit(const Event& event) {
  const int32_t pid = event.pid != kNoPid ? event.pid : event.tid;
  if (pid == kNoPid) return;
  std::vector<Port*> ports(begun_.begin(), begun_.end());
  SortByName(ports);
  for (Port* port : ports) {
    EndStreamsOfDead(*port, pid);
    if (port->streams.empty()) begun_.erase(port);
  }
  EndProcess(pid);
}

void Checker::State::EndProcess(int32_t pid) {
  const auto found = processes_.find(pid);
  Past past;
  const auto dead = dead_.find(pid);
  if (dead != dead_.end()) past = dead->second;
  if (found != processes_.end()) {
    past.acted |= found->second->acted;
    past.named = EndIdentity(*found->second, past.named);
  }
  if (dead_.size() < kDeadKept) dead_[pid] = past;
  if (found == processes_.end()) return;
  recent_processes_.fill(nullptr);
  processes_.erase(found);
  EndLedgers(false);
}

// With no process alive that sent or received, no port of theirs will be used again.
void Checker::State::Retire() {
  if (ports_.size() < kPortsKept || !processes_.empty()) return;
  EndAllPorts();
}

void Checker::State::EndPort(Port& port) {
  Forget(port);
  begun_.erase(&port);
  ReportLost(port, port.delivery.TakeLost());
  EndStreams(port, kNoPid);
  Attribute(port);
  if (port.sends_seen) return;
  const Counts& more = port.receive_only.counts;
  Counts& counts = tally_.counts;
  counts.datagrams += more.datagrams;
  counts.messages += more.messages;
  counts.fragmented_streams += more.fragmented_streams;
  counts.mmap_datagrams += more.mmap_datagrams;
  counts.mmap_read_queue += more.mmap_read_queue;
  counts.fd_datagrams += more.fd_datagrams;
  counts.two_fd_datagrams += more.two_fd_datagrams;
  counts.bytes += more.bytes;
  tally_.finished_streams += port.receive_only.finished_streams;
}

void Checker::State::EndAllPorts() {
  std::vector<Port*> ports;
  for (auto& [name, port] : ports_) ports.push_back(port.get());
  SortByName(ports);
  for (Port* port : ports) EndPort(*port);
  ports_.clear();
}

CheckResult Checker::State::Finish() {
  EndAllPorts();
  std::vector<int32_t> pids;
  for (const auto& [pid, process] : processes_) pids.push_back(pid);
  std::sort(pids.begin(), pids.end());
  for (const int32_t pid : pids) EndProcess(pid);
  EndSenders(nobody_);
  EndLedgers(true);
  tally_.counts.unfinished_streams = tally_.counts.fragmented_streams - tally_.finished_streams;
  CheckResult result;
  result.counts = tally_.counts;
  result.errors = findings_.errors();
  result.warnings = findings_.warnings();
  result.notes = findings_.notes();
  result.findings = findings_.Sorted();
  return result;
}

}  // namespace portproof
