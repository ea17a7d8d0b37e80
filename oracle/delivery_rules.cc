// Sends against receives: SOC-3, RCV-1, and what only a receive shows.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "oracle/checker_state.h"

namespace portproof {
namespace {

constexpr size_t kReceiveSlotsMax = 4096;
constexpr size_t kUnsentMax = 64;

Place PlaceOfReceive(const Event& event, uint64_t slot, const Header& header, bool has_header,
                     int32_t pid) {
  return {std::string(event.port), has_header, header.stream, pid, slot,
          event.time_us,           event.line, event.file};
}

}  // namespace

void Checker::State::JudgeReceive(Port& port, Process* receiver, const Event& event) {
  if (!port.sends_seen) {
    JudgeUnmatched(port, event, true);
    JudgeTruncation(port, receiver, event, nullptr);
    return;
  }
  port.delivery.Take(event, EnteredAt(event), sequence_, match_);
  JudgeMatch(port, receiver, event, match_);
}

// RCV-1 is its receiver's, unless the datagram was wrong already.
void Checker::State::JudgeTruncation(Port& port, const Process* receiver, const Event& event,
                                     const Sent* sent) {
  if (!event.truncated && !event.ctrl_truncated) return;
  if (sent != nullptr && sent->faulty) return;
  const auto header = DecodeHeader(event.data, options_.byte_order);
  const Place place = PlaceOfReceive(event,
                                     sent != nullptr              ? sent->slot
                                     : port.receive_slots.empty() ? 0
                                                                  : port.receive_slots.back(),
                                     header ? header->header : Header(), header.has_value(),
                                     receiver == nullptr ? kNoPid : receiver->pid);
  findings_.Report(Rule::kRcv1, place.AsWhere(),
                   absl::StrCat("received with ", event.truncated ? "MSG_TRUNC" : "MSG_CTRUNC",
                                event.truncated && event.ctrl_truncated ? " and MSG_CTRUNC" : ""));
}

// SOC-3
void Checker::State::ReportLost(const Port& port, const std::vector<Sent>& lost) {
  if (!port.opened) return;
  for (const Sent& sent : lost) {
    const Place place{port.name, true,         sent.stream, sent.process,
                      sent.slot, sent.time_us, sent.line,   sent.file};
    findings_.Report(Rule::kSoc3, place.AsWhere(),
                     "not received, though a later datagram of its thread was", Lost::kDelivery);
  }
}

void Checker::State::JudgeMatch(Port& port, Process* receiver, const Event& event,
                                const Match& match) {
  ReportLost(port, match.lost);
  if (!match.sent) {
    JudgeUnsent(port, event);
    JudgeTruncation(port, receiver, event, nullptr);
    return;
  }
  const Sent& sent = *match.sent;
  if (match.kind == Match::Kind::kTwice) {
    if (!port.opened || port.delivery.forgot()) return;
    const Place place{std::string(event.port), true,       sent.stream, sent.process, sent.slot,
                      event.time_us,           event.line, event.file};
    findings_.Report(Rule::kSoc3, place.AsWhere(), "received twice", Lost::kDelivery);
    return;
  }
  if (sent.killed) {
    JudgeKilled(port, event, sent);
  } else if (!sent.delivered) {
    --tally_.counts.undelivered;
  }
  if (sent.fragment) Received(port, sent, event);
  if (match.kind != Match::Kind::kAltered) JudgeCredentials(port, receiver, event, sent);
  JudgeTruncation(port, receiver, event, &sent);
  if (!port.opened || match.kind == Match::Kind::kLate) return;
  const Place place{std::string(event.port), true,       sent.stream, sent.process, sent.slot,
                    event.time_us,           event.line, event.file};
  if (match.kind == Match::Kind::kOrder) {
    const Place overtaken{port.name, true,         sent.stream, sent.process,
                          sent.slot, sent.time_us, sent.line,   sent.file};
    findings_.Report(Rule::kSoc3, overtaken.AsWhere(),
                     "received after a later datagram of its thread", Lost::kDelivery);
  } else if (match.kind == Match::Kind::kAltered && !event.truncated) {
    findings_.Report(Rule::kSoc3, place.AsWhere(),
                     absl::StrCat("received other bytes than were sent (", event.size,
                                  " bytes, sent ", sent.print.size, ")"),
                     Lost::kDelivery);
  } else if (event.fds != sent.fds && !event.ctrl_truncated) {
    findings_.Report(
        Rule::kSoc3, place.AsWhere(),
        absl::StrCat("received with ", event.fds, " descriptors, sent with ", sent.fds));
  }
}

// Where the recorder names the sending process, it shows how the receiver sees pids; else the
// kernel told the receiver who sent it.
void Checker::State::JudgeCredentials(Port& port, Process* receiver, const Event& event,
                                      const Sent& sent) {
  const auto header = DecodeHeader(event.data, options_.byte_order);
  if (event.cred_pid <= 0 || !header) return;
  if (sent.pid != kNoPid) {
    const bool other = header->header.pid == sent.pid && event.cred_pid != sent.pid;
    if (receiver != nullptr) receiver->sees_other_pids |= other;
    return;
  }
  Datagram datagram;
  datagram.event = &event;
  datagram.port = &port;
  datagram.header = header->header;
  datagram.type = TypeOf(*options_.profile, header->header.type);
  datagram.process = &ProcessNamed(event.cred_pid);
  datagram.receiver = receiver;
  datagram.from_receive = true;
  datagram.slot = sent.slot;
  JudgeIdentity(datagram);
}

// The thread died inside the send, and it went all the same.
void Checker::State::JudgeKilled(Port& port, const Event& event, const Sent& sent) {
  Event as_sent = event;
  as_sent.kind = EventKind::kSend;
  as_sent.pid = sent.pid;
  as_sent.time_us = sent.time_us;
  as_sent.line = sent.line;
  as_sent.file = sent.file;
  as_sent.iov = sent.iov;
  as_sent.fds = sent.fds;
  Datagram datagram;
  datagram.event = &as_sent;
  datagram.port = &port;
  const auto process = processes_.find(sent.process);
  const bool lives = process != processes_.end() && process->second->serial == sent.serial;
  datagram.process = lives ? process->second.get() : nullptr;
  datagram.killed = true;
  datagram.key = sent.key;
  datagram.sequence = sequence_;
  datagram.slot = sent.slot;
  datagram.tally = &tally_;
  auto open = port.streams.find(sent.key);
  // It stands before a message that began while it was on its way.
  datagram.shape_only = open != port.streams.end() && open->second->first.slot > sent.slot;
  JudgeDatagram(datagram);
  open = port.streams.find(sent.key);
  if (datagram.shape_only || open == port.streams.end()) return;
  open->second->dying = false;
  open->second->dead = open->second->explained = !lives;  // FRG-9: nobody is left to finish it
}

// A receive that no recorded send explains.
void Checker::State::JudgeUnsent(Port& port, const Event& event) {
  if (!port.opened || port.delivery.forgot() || !SenderRecorded(event)) {
    JudgeUnmatched(port, event, false);
    return;
  }
  const auto header = DecodeHeader(event.data, options_.byte_order);
  const Place place = PlaceOfReceive(event, 0, header ? header->header : Header(),
                                     header.has_value(), header ? header->header.pid : kNoPid);
  findings_.Report(Rule::kSoc3, place.AsWhere(), "received, but nobody sent it", Lost::kDelivery);
  // That a segment was not announced would follow from this.
  if (!header || TypeOf(*options_.profile, header->header.type) != Type::kMmap) return;
  const auto sender = processes_.find(event.cred_pid > 0 ? event.cred_pid : header->header.pid);
  if (sender != processes_.end()) partial_.insert(sender->second->serial);
}

// Is the sender one whose sends the trace would show?
bool Checker::State::SenderRecorded(const Event& event) const {
  int32_t pid = event.cred_pid;
  if (pid <= 0) {
    const auto header = DecodeHeader(event.data, options_.byte_order);
    if (!header) return true;
    pid = header->header.pid;
  }
  return pid <= 0 || Acted(pid);
}

// Judged for its shape; for its place in a stream only where no send is recorded at all.
void Checker::State::JudgeUnmatched(Port& port, const Event& event, bool sequence) {
  Tally shape_only;
  Datagram datagram;
  datagram.event = &event;
  datagram.port = &port;
  datagram.from_receive = true;
  datagram.sequence = sequence_;
  const auto header = DecodeHeader(event.data, options_.byte_order);
  const int32_t sender = event.cred_pid > 0 ? event.cred_pid : header ? header->header.pid : kNoPid;
  if (sender > 0) datagram.process = &ProcessNamed(sender);
  datagram.receiver = ReceiverOf(port);
  datagram.tally = sequence ? &port.receive_only : &shape_only;
  datagram.shape_only = !sequence;
  if (sequence) {
    datagram.slot = findings_.NextSlot();
    if (port.receive_slots.size() < kReceiveSlotsMax) port.receive_slots.push_back(datagram.slot);
    if (port.opened && port.unsent.size() < kUnsentMax && SenderRecorded(event)) {
      port.unsent.push_back(PlaceOfReceive(event, datagram.slot, header ? header->header : Header(),
                                           header.has_value(), sender));
    }
  }
  JudgeDatagram(datagram);
}

}  // namespace portproof
