// What the checker remembers, and the parts that judge; internal to checker.
//   shapes    ports by name, processes by id, streams by key
//   returns   -
//   holds     see checker.h
//   rules     see checker.h
//   source    none
#ifndef PORTPROOF_ORACLE_CHECKER_STATE_H_
#define PORTPROOF_ORACLE_CHECKER_STATE_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "oracle/checker.h"
#include "oracle/delivery.h"
#include "oracle/findings.h"
#include "protocol/chunk.h"
#include "protocol/header.h"

namespace portproof {

// A namespace of its own: the core has a Datagram too, and some programs link both.
namespace checking {

// Where a finding will point, once it is sure.
struct Place {
  std::string port;
  bool has_stream = false;
  uint32_t stream = 0;
  int32_t pid = kNoPid;
  uint64_t slot = 0;
  int64_t time_us = kNoTime;
  uint64_t line = 0;
  uint32_t file = 0;
  int32_t header_pid = kNoPid;  // HDR-7

  Where AsWhere() const { return {port, has_stream, stream, pid, slot, time_us, line, file}; }
};

// A message that has begun and is not finished, or what is left of one (absorbing).
struct Assembly {
  uint64_t key = 0;
  uint32_t stream = 0;
  int32_t process = kNoPid;  // whose death ends it
  int32_t header_pid = 0;
  bool pid_faulty = false;  // HDR-6 was said of its first fragment
  uint16_t reply_port = 0;
  uint8_t type = 0;
  bool type_known = true;  // false: refused by HDR-4, or begun before the trace
  bool last = false;
  bool absorbing = false;  // fragments that follow from a finding already made
  bool explained = false;  // an end that went astray was reported
  bool changed = false;    // FRG-3 was reported
  bool counted = false;    // its first fragment was seen
  bool mmap = false;       // some datagram of it was in shared mode
  bool received = false;   // its last fragment
  bool passed_by = false;  // without times: its sender finished a later message
  bool dying = false;      // a thread died sending more of it: that may yet be received
  bool dead = false;       // and its process with it
  uint32_t owed = 0;       // ends of refused duplicates still to come
  Place first;
  uint64_t first_sequence = 0;
  int64_t last_time_us = kNoTime;
  uint64_t last_sequence = 0;
  uint64_t last_slot = 0;
  uint64_t payload_bytes = 0;
  uint64_t fragments = 0;
  std::optional<Place> short_fragment;  // IOV-4, if it goes on
  // SND-5: turns among the begun messages of a process on this port.
  uint64_t share = 0;
  uint64_t rotated_sequence = 0;  // when its share was used up; 0: not
  uint64_t sent_sequence = 0;
  std::optional<Place> overtaken_by;
  Assembly* older = nullptr;
  Assembly* newer = nullptr;
  std::vector<Reference> references;
};

// The begun messages of one process on one port, least recently sent first.
struct Turns {
  int32_t process = kNoPid;
  Assembly* oldest = nullptr;
  Assembly* newest = nullptr;
};

struct SegmentUse {
  uint32_t sender = 0;  // serial
  bool partial = false;
  bool announces = false;
  uint64_t sequence = 0;
  uint32_t segment_id = 0;
  Place place;
};

// What counts, of the whole trace or of one port that may yet not count.
struct Tally {
  Counts counts;
  uint64_t finished_streams = 0;  // whose first fragment was counted
};

struct Port {
  std::string name;
  bool opened = false;  // its beginning is in the trace
  bool sends_seen = false;
  bool receives_seen = false;
  int32_t receiver = kNoPid;
  uint32_t receiver_serial = 0;  // 0: not known yet
  bool receiver_partial = false;
  uint32_t max_size = 16384;
  uint32_t max_share = 65536;
  Delivery delivery;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Assembly>> streams;
  std::vector<Turns> turns;
  absl::flat_hash_set<uint64_t> ended;   // keys whose earlier message was seen to end (not opened)
  std::vector<SegmentUse> unattributed;  // until the receiving process is known
  Tally receive_only;                    // what counts if no send is ever seen
  std::vector<uint64_t> receive_slots;
  std::vector<Place> unsent;        // received before any send was seen
  std::vector<int32_t> headerless;  // senders of what HDR-1 was said of; each explains one finding
};

// HDR-6, HDR-7: the numbers that the headers of one sender show.
struct Identity {
  bool shows_own_pid = false;
  bool shows_several = false;
  int32_t other_pid = kNoPid;
  std::vector<Place> differing;  // datagrams with another pid; while other_pid may be constant
};

struct Process {
  int32_t pid = kNoPid;
  uint32_t serial = 0;  // from 1; pids come back
  bool counted = false;
  bool acted = false;    // some event is its own, not only about it
  bool partial = false;  // uses a port whose beginning is not in the trace
  uint64_t last_sequence = 0;
  uint64_t last_receive = 0;         // sequence
  uint32_t segment_chunk_bytes = 0;  // of its announcements; 0 none seen
  Identity identity;                 // where its sends are recorded
  // Where only the receipt is: what this process received, by the pid of the credentials.
  absl::flat_hash_map<int32_t, Identity> senders;
  bool sees_other_pids = false;  // it is in a pid namespace: credentials name no process here
};

// What is kept of a process that died: what it sent may be received later.
struct Past {
  bool acted = false;  // some event was its own
  bool named = false;  // HDR-7 was said of it
};

struct SegmentLedger {
  std::vector<uint64_t> announced;  // sequences, in the order they became known
  struct Unmet {
    uint32_t segment_id;
    uint64_t sequence;
    Place place;
  };
  std::vector<Unmet> unmet;
  bool partial = false;  // announcements may be missing from the trace
};

// One datagram under judgement.
struct Datagram {
  const Event* event = nullptr;
  Port* port = nullptr;
  Process* process = nullptr;   // the sender, if known
  Process* receiver = nullptr;  // of a receive
  Header header;
  std::optional<Type> type;
  uint64_t slot = 0;
  uint64_t sequence = 0;
  uint64_t key = 0;
  bool from_receive = false;
  bool shape_only = false;  // where it stands in a stream is not known
  bool faulty = false;
  bool pid_faulty = false;
  bool killed = false;  // its thread died inside the send, and it was received
  Tally* tally = nullptr;

  uint64_t payload_bytes() const { return event->size - kHeaderBytes; }
  bool fragment() const { return header.nf || header.mf; }
  Where where() const {
    return {event->port, true,           header.stream, Sender(),
            slot,        event->time_us, event->line,   event->file};
  }
  Place place() const {
    return {std::string(event->port), true,        header.stream, Sender(), slot,
            event->time_us,           event->line, event->file};
  }
  int32_t Sender() const { return process != nullptr ? process->pid : header.pid; }
};

}  // namespace checking

using checking::Assembly;
using checking::Datagram;
using checking::Identity;
using checking::Past;
using checking::Place;
using checking::Port;
using checking::Process;
using checking::SegmentLedger;
using checking::SegmentUse;
using checking::Tally;
using checking::Turns;

inline constexpr size_t kRecentKept = 16;

// The greatest time of all events after a given one: how long the recording went on.
class TimeLine {
 public:
  void Add(uint64_t sequence, int64_t time_us);
  int64_t GreatestAfter(uint64_t sequence) const;  // kNoTime if none

 private:
  struct Point {
    uint64_t sequence;
    int64_t time_us;
  };
  std::vector<Point> falling_;  // times fall from front to back
};

class Checker::State {
 public:
  explicit State(const CheckOptions& options);
  void OnEvent(const Event& event);
  CheckResult Finish();

 private:
  // checker.cc: ports, processes, what an event means
  void OnOpen(const Event& event);
  void OnSend(const Event& event);
  void OnRecv(const Event& event);
  void OnFail(const Event& event);
  void OnExit(const Event& event);
  void OnClose(const Event& event);
  void OnEof(const Event& event);
  Port& PortOf(std::string_view name);
  void Forget(const Port& port);
  Process* ProcessOf(const Event& event);  // who did it
  // The number of the last event before the call of a receive was entered.
  uint64_t EnteredAt(const Event& event) const {
    return sequence_ - std::min(event.pending + 1, sequence_);
  }
  Process& ProcessNamed(int32_t pid);
  void CountProcess(Process* process, const Port& port);
  void FirstSend(Port& port);
  void FirstReceive(Port& port, const Process* receiver);
  void EndPort(Port& port);
  void EndProcess(int32_t pid);
  void Retire();
  void EndAllPorts();

  // datagram.cc: what one datagram shows by itself
  void JudgeDatagram(Datagram& datagram);
  void Count(const Datagram& datagram);
  void JudgeDescriptors(Datagram& datagram);
  void JudgeSize(Datagram& datagram);
  void JudgeReferences(Datagram& datagram);
  bool IsReadQueue(const Datagram& datagram) const { return datagram.type == Type::kReadQueue; }
  bool Tracks(const Header& header) const {
    return options_.profile->byte15 == Byte15::kTracking && header.byte15 != 0;
  }

  // delivery_rules.cc: sends against receives
  void JudgeReceive(Port& port, Process* receiver, const Event& event);
  void JudgeMatch(Port& port, Process* receiver, const Event& event, const Match& match);
  void ReportLost(const Port& port, const std::vector<Sent>& lost);
  void JudgeUnsent(Port& port, const Event& event);
  void JudgeCredentials(Port& port, Process* receiver, const Event& event, const Sent& sent);
  void JudgeKilled(Port& port, const Event& event, const Sent& sent);
  void JudgeTruncation(Port& port, const Process* receiver, const Event& event, const Sent* sent);
  void JudgeUnmatched(Port& port, const Event& event, bool sequence);
  bool SenderRecorded(const Event& event) const;
  bool Acted(int32_t pid) const;

  // identity.cc
  void JudgeIdentity(Datagram& datagram);
  void JudgeSender(Datagram& datagram);
  void JudgeSignature(Datagram& datagram);
  bool EndIdentity(Process& process, bool named);  // true: HDR-7 was said of it
  void EndSenders(Process& receiver);
  Process* ReceiverOf(const Port& port);

  // streams.cc
  void JudgeStream(Datagram& datagram);
  uint64_t KeyOf(const Datagram& datagram) const;
  void Begin(Datagram& datagram);
  void Orphan(Datagram& datagram);
  void Continue(Datagram& datagram, Assembly& assembly);
  void JudgeSameMessage(const Datagram& datagram, Assembly& assembly);
  void Advance(const Datagram& datagram, Assembly& assembly);
  void JudgeOverlap(const Datagram& datagram, Assembly& assembly);
  void JudgeTurn(const Datagram& datagram, Assembly& assembly);
  void PassBy(const Datagram& datagram, uint64_t begun);
  Turns& TurnsOf(Port& port, int32_t process);
  void Unlink(Port& port, Assembly& assembly);
  void Close(Port& port, Assembly& assembly);
  void Unfinished(Port& port, Assembly& assembly);
  bool FollowsFromLoss(Port& port, int32_t sender);
  void EndStreams(Port& port, int32_t process);  // kNoPid: of all
  void EndStreamsOfDead(Port& port, int32_t process);
  void Received(Port& port, const Sent& sent, const Event& event);

  // segments.cc
  void UseSegments(const Datagram& datagram);
  void Attribute(Port& port);
  void Use(uint32_t receiver, bool partial, const SegmentUse& use);
  void EndLedger(uint64_t key, SegmentLedger& ledger);
  void EndLedgers(bool all);  // false: of dead processes, where there are many
  Geometry GeometryOf(const Process* sender) const;

  CheckOptions options_;
  Findings findings_;
  Tally tally_;
  TimeLine time_;
  uint64_t sequence_ = 0;
  uint32_t serials_ = 0;
  absl::flat_hash_map<std::string, std::unique_ptr<Port>> ports_;
  absl::flat_hash_map<int32_t, std::unique_ptr<Process>> processes_;
  // Those last met: an event's are mostly among them. A process here is in processes_, has
  // acted, and is not in dead_.
  std::array<Port*, kRecentKept> recent_ports_ = {};
  std::array<Process*, kRecentKept> recent_processes_ = {};
  absl::flat_hash_set<uint32_t> partial_;                 // serials of processes that are
  absl::flat_hash_map<int32_t, Past> dead_;               // by pid
  absl::flat_hash_map<uint64_t, SegmentLedger> ledgers_;  // by serials of sender and receiver
  bool tiny_segments_ = false;
  std::vector<Reference> references_;
  std::vector<uint32_t> scratch_;
  Match match_;
  Process nobody_;                    // receives whatever names no process
  absl::flat_hash_set<Port*> begun_;  // ports with streams in their table
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_CHECKER_STATE_H_
