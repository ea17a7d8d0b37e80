#include "props/naive_checker.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "protocol/header.h"

namespace portproof {
namespace {

constexpr size_t kNone = static_cast<size_t>(-1);
constexpr int64_t kWentOnUs = 10'000;  // FRG-5

// A port from one opening to the next.
struct Port {
  bool opened = false;
  bool has_sends = false;
  bool has_recvs = false;
  int32_t receiver = kNoPid;
  uint32_t max_size = 16384;
  uint32_t max_share = 65536;
};

// A process from one death of its pid to the next.
using Process = std::pair<int32_t, int>;
constexpr Process kNobody = {kNoPid, 0};

struct Datagram {
  size_t event = 0;  // the send, or the receive where no send is known
  size_t recv = kNone;
  size_t port = 0;
  Process process = kNobody;
  std::optional<DecodedHeader> decoded;
  std::optional<Type> type;
  std::vector<uint8_t> payload;
  bool wrong_pid = false;      // HDR-6 or HDR-7 was said of this very datagram
  bool wrong_type = false;     // HDR-4
  bool wrong_fds = false;      // FDS-1, FDS-2
  bool sender_died = false;    // or one with its pid, before this was received
  bool sender_known = false;   // by its send, or by the kernel
  bool judge_sequence = true;  // false: its place among the sends is not known
  Header header() const { return decoded->header; }
};

struct Reference {
  uint32_t segment = 0, first = 0, bytes = 0;
};

// A message of which a first fragment was seen and no final one.
struct Unfinished {
  size_t first = 0, last = 0;  // datagrams
  Header header;
  bool pid_known = true;     // false: HDR-6 was said of it
  bool header_known = true;  // false: its type is none, or its beginning was not seen
  bool last_seen = false;
  bool shared = false;
  bool excused = false;  // that it has no end follows from what was said
  bool dead = false;     // its sender is
  int duplicates = 0;    // refused first fragments, whose ends are still to come
  Process process = kNobody;
  std::vector<size_t> short_before;
  std::vector<Reference> references;
  uint64_t share = 0;
  size_t used_up = kNone;       // datagram with which its share was, if it has not gone on
  size_t overtaken_by = kNone;  // event
};

bool Alike(const Header& a, const Header& b) {
  return a.type == b.type && a.reply_port == b.reply_port;
}

bool ExemptFromHdr7(const std::optional<Type>& type) {
  return type == Type::kReadQueue || type == Type::kWhoami || type == Type::kProcessCreated;
}

size_t recv_of(const std::map<size_t, size_t>& matched, size_t send) {
  for (const auto& [recv, sent] : matched) {
    if (sent == send) return recv;
  }
  return kNone;
}

class Naive {
 public:
  Naive(const Recording& recording, const Profile& profile)
      : recording_(recording), profile_(profile) {}

  std::vector<NaiveFinding> Check() {
    NumberPorts();
    NumberProcesses();
    for (size_t port = 0; port < ports_.size(); ++port) Match(port);
    CollectDatagrams();
    for (Datagram& datagram : datagrams_) JudgeAlone(datagram);
    JudgePids();
    JudgeSegments();
    for (size_t port = 0; port < ports_.size(); ++port) JudgeMessages(port);
    return found_;
  }

 private:
  const Event& At(size_t i) const { return recording_[i].event; }
  bool Is(size_t i, EventKind kind) const { return At(i).kind == kind; }
  size_t End() const { return recording_.size(); }
  void Find(Rule rule, size_t event) { found_.push_back({rule, event}); }

  void NumberPorts();
  void NumberProcesses();
  void Match(size_t port);
  bool MatchFronts(const std::vector<size_t>& recvs, size_t next,
                   std::map<int32_t, std::vector<size_t>>& threads, std::map<size_t, size_t>& out);
  bool Same(size_t send, size_t recv) const;
  Process ClaimedSender(size_t recv) const;
  bool SenderRecorded(size_t recv) const;
  bool Died(int32_t pid, size_t from, size_t to) const {
    for (size_t i = from; i < to; ++i) {
      if (Is(i, EventKind::kExit) && At(i).pid == pid) return true;
    }
    return false;
  }
  bool DiedAndIsNotBack(int32_t pid, size_t before) const {
    for (size_t i = before; i > 0; --i) {
      if (At(i - 1).pid == pid) return Is(i - 1, EventKind::kExit);
    }
    return false;
  }
  void CollectDatagrams();
  void JudgeAlone(Datagram& datagram);
  void JudgeDescriptors(Datagram& datagram);
  void JudgeSize(const Datagram& datagram);
  void JudgePids();
  bool InsideNamespace(const std::map<Process, std::set<int32_t>>& senders,
                       const Datagram& d) const;
  void JudgeSegments();
  bool Partial(const Datagram& datagram) const;
  void JudgeReferences(const Datagram& datagram);
  using Key = std::pair<Process, uint32_t>;
  // A port's messages, datagram by datagram.
  struct Walk {
    size_t port = 0;
    std::map<Key, Unfinished> open;
    std::vector<Unfinished> given_up;
    std::set<Key> ended;           // an end of such a message was seen
    std::map<Key, int> leftovers;  // ends still to come, of messages reported already
    std::map<Process, int> lost;   // HDR-1: of which message they were is not known
  };
  void JudgeMessages(size_t port);
  void Judge(Walk& walk, size_t n);
  void Whole(Walk& walk, size_t n, const Key& key);
  void First(Walk& walk, size_t n, const Key& key);
  void Orphan(Walk& walk, size_t n, const Key& key);
  void Later(Walk& walk, size_t n, const Key& key);
  void Append(Walk& walk, size_t n, Unfinished& message);
  bool Explained(Walk& walk, const Datagram& d);
  void JudgeOverlap(const Datagram& d, const std::vector<Reference>& earlier);
  void JudgeUnfinished(Walk& walk, const Unfinished& message);
  bool WentOn(size_t port, const Unfinished& message) const;
  void JudgeDelivery(size_t port, const std::vector<size_t>& recvs,
                     const std::map<size_t, size_t>& matched);

  size_t References(const Datagram& datagram, std::vector<Reference>& out) const;
  Key KeyOf(const Datagram& datagram) const;
  bool Tiny() const {
    return std::any_of(recording_.begin(), recording_.end(),
                       [](const Recorded& r) { return r.event.segment_bytes == 2048; });
  }

  const Recording& recording_;
  const Profile& profile_;
  std::vector<Port> ports_;
  std::vector<size_t> port_of_;      // by event
  std::vector<Process> process_of_;  // by event: its pid's process
  std::map<size_t, size_t> recv_of_send_, send_of_recv_;
  std::vector<Datagram> datagrams_;
  std::vector<NaiveFinding> found_;
};

void Naive::NumberPorts() {
  std::map<std::string, size_t> current;
  port_of_.assign(End(), kNone);
  for (size_t i = 0; i < End(); ++i) {
    const std::string& name = recording_[i].port;
    if (name.empty()) continue;
    if (Is(i, EventKind::kOpen) || !current.contains(name)) {
      current[name] = ports_.size();
      ports_.push_back({});
    }
    port_of_[i] = current[name];
    Port& port = ports_[current[name]];
    if (Is(i, EventKind::kOpen)) {
      port.opened = true;
      if (At(i).max_size != 0) port.max_size = At(i).max_size;
      if (At(i).max_share != 0) port.max_share = At(i).max_share;
    }
    if (Is(i, EventKind::kSend)) port.has_sends = true;
    if (Is(i, EventKind::kRecv)) port.has_recvs = true;
    if (Is(i, EventKind::kRecv) && port.receiver == kNoPid) port.receiver = At(i).pid;
  }
}

void Naive::NumberProcesses() {
  std::map<int32_t, int> deaths;
  for (size_t i = 0; i < End(); ++i) {
    process_of_.push_back({At(i).pid, deaths[At(i).pid]});
    if (Is(i, EventKind::kExit)) ++deaths[At(i).pid];
  }
}

// The receive shows this send, unharmed or with what the kernel said it cut off (RCV-1).
bool Naive::Same(size_t send, size_t recv) const {
  const Recorded& s = recording_[send];
  const Recorded& r = recording_[recv];
  const bool fds =
      r.event.fds == s.event.fds || (r.event.ctrl_truncated && r.event.fds <= s.event.fds);
  const bool data = r.data == s.data || (r.event.truncated && r.data.size() <= s.data.size() &&
                                         std::equal(r.data.begin(), r.data.end(), s.data.begin()));
  return fds && data;
}

// SOC-3: each receive takes what is at the front of some thread's line. Several fronts may be
// equal: then each is tried.
bool Naive::MatchFronts(const std::vector<size_t>& recvs, size_t next,
                        std::map<int32_t, std::vector<size_t>>& threads,
                        std::map<size_t, size_t>& out) {
  if (next == recvs.size()) return true;
  const size_t recv = recvs[next];
  for (auto& [tid, line] : threads) {
    const std::vector<size_t> kept = line;
    for (size_t front = 0; front < kept.size() && kept[front] < recv; ++front) {
      if (Same(kept[front], recv)) {
        out[recv] = kept[front];
        line.assign(kept.begin() + static_cast<ptrdiff_t>(front) + 1, kept.end());
        if (MatchFronts(recvs, next + 1, threads, out)) return true;
        line = kept;
        out.erase(recv);
      }
      if (!At(kept[front]).killed) break;  // a killed one may never have left
    }
  }
  return false;
}

// Something is wrong with the deliveries. It is not said of what nobody recorded can have sent.
void Naive::JudgeDelivery(size_t port, const std::vector<size_t>& recvs,
                          const std::map<size_t, size_t>& matched) {
  if (!ports_[port].opened) return;
  std::set<size_t> received;
  for (const auto& [recv, send] : matched) received.insert(send);
  const auto left = [&](size_t send) {
    return port_of_[send] == port && Is(send, EventKind::kSend) && !At(send).killed &&
           !received.contains(send);
  };
  bool wrong = false;
  for (const size_t recv : recvs) {
    if (matched.contains(recv)) continue;
    bool altered = false;  // one of those that were sent and not received
    for (size_t i = 0; i < recv; ++i) {
      const std::vector<uint8_t>& sent = recording_[i].data;
      const std::vector<uint8_t>& data = recording_[recv].data;
      const bool alike = data.size() == sent.size() ||
                         (data.size() >= kHeaderBytes && sent.size() >= kHeaderBytes &&
                          std::equal(sent.begin(), sent.begin() + kHeaderBytes, data.begin()));
      altered |= left(i) && alike;
    }
    wrong |= altered || SenderRecorded(recv);
  }
  for (const auto& [recv, send] : matched) {
    for (size_t i = 0; i < End(); ++i) {
      const bool same_thread = Is(i, EventKind::kSend) && At(i).tid == At(send).tid;
      const bool earlier_later = i < send && received.contains(i) && recv_of(matched, i) > recv;
      wrong |= same_thread && port_of_[i] == port && ((i < send && left(i)) || earlier_later);
    }
  }
  if (wrong) Find(Rule::kSoc3, recvs.front());
}

void Naive::Match(size_t port) {
  if (!ports_[port].has_sends || !ports_[port].has_recvs) return;
  std::vector<size_t> sends, recvs;
  std::map<int32_t, std::vector<size_t>> threads;
  for (size_t i = 0; i < End(); ++i) {
    if (port_of_[i] != port) continue;
    if (Is(i, EventKind::kRecv)) recvs.push_back(i);
    if (!Is(i, EventKind::kSend)) continue;
    sends.push_back(i);
    threads[At(i).tid].push_back(i);
  }
  std::map<size_t, size_t> matched;
  if (!MatchFronts(recvs, 0, threads, matched)) {
    // Whatever happened, what is equal belongs together, the first to the first.
    matched.clear();
    std::set<size_t> taken;
    for (const size_t recv : recvs) {
      for (const size_t send : sends) {
        if (send > recv || taken.contains(send) || !Same(send, recv)) continue;
        matched[recv] = send;
        taken.insert(send);
        break;
      }
    }
    JudgeDelivery(port, recvs, matched);
  }
  for (const auto& [recv, send] : matched) {
    send_of_recv_[recv] = send;
    recv_of_send_[send] = recv;
  }
}

// Who sent what was received, as far as the receive says.
Process Naive::ClaimedSender(size_t recv) const {
  int32_t pid = At(recv).cred_pid;
  const auto decoded = DecodeHeader(recording_[recv].data);
  if (pid <= 0) pid = decoded.has_value() ? decoded->header.pid : kNoPid;
  if (pid <= 0) return kNobody;
  int deaths = 0;
  for (size_t i = 0; i < recv; ++i) deaths += Is(i, EventKind::kExit) && At(i).pid == pid;
  return {pid, deaths};
}

// A process that did nothing before in this recording may not have been recorded yet.
bool Naive::SenderRecorded(size_t recv) const {
  const Process sender = ClaimedSender(recv);
  if (sender == kNobody) return true;
  for (size_t i = 0; i < recv; ++i) {
    if (!Is(i, EventKind::kExit) && At(i).pid == sender.first) return true;
  }
  return false;
}

void Naive::CollectDatagrams() {
  for (size_t i = 0; i < End(); ++i) {
    const bool send = Is(i, EventKind::kSend);
    if (!send && !Is(i, EventKind::kRecv)) continue;
    const Port& port = ports_[port_of_[i]];
    if (!send && send_of_recv_.contains(i)) continue;
    if (!send && port.has_sends && port.opened) continue;  // SOC-3 was said of it
    if (send && At(i).killed && !recv_of_send_.contains(i)) continue;
    Datagram datagram;
    datagram.event = i;
    datagram.port = port_of_[i];
    datagram.judge_sequence = send || !port.has_sends;
    if (send && recv_of_send_.contains(i)) datagram.recv = recv_of_send_[i];
    if (!send) datagram.recv = i;
    const std::vector<uint8_t>& data = recording_[i].data;
    datagram.decoded = DecodeHeader(data);
    if (datagram.decoded.has_value()) {
      datagram.type = TypeOf(profile_, datagram.header().type);
      datagram.payload.assign(data.begin() + kHeaderBytes, data.end());
    }
    // Of one killed in its send and read after its death nobody is left to say who it was.
    const bool outlived = send && At(i).killed && Died(At(i).pid, i, datagram.recv);
    datagram.sender_known = (send && !outlived) || At(i).cred_pid > 0;
    datagram.process = send ? process_of_[i] : ClaimedSender(i);
    if (!send) {  // it may have been sent by one that died since: one pid, one sender
      datagram.sender_died = DiedAndIsNotBack(datagram.process.first, i);
      datagram.process.second = 0;
    }
    datagrams_.push_back(datagram);
  }
}

// What a datagram shows by itself.
void Naive::JudgeAlone(Datagram& datagram) {
  const size_t i = datagram.event;
  if (datagram.recv != kNone && (At(datagram.recv).truncated || At(datagram.recv).ctrl_truncated)) {
    Find(Rule::kRcv1, datagram.recv);
  }
  JudgeDescriptors(datagram);
  if (!datagram.decoded.has_value()) {
    if (!datagram.wrong_fds) Find(recording_[i].data.empty() ? Rule::kHdr8 : Rule::kHdr1, i);
    return;
  }
  const bool leftovers = datagram.type == Type::kReadQueue;  // its flags say nothing (SHM-1)
  if (!datagram.decoded->flags_clean && !leftovers) Find(Rule::kHdr3, i);
  if (!datagram.type.has_value()) {
    datagram.wrong_type = true;
    Find(Rule::kHdr4, i);
  }
  JudgeSize(datagram);
  const Header header = datagram.header();
  if (leftovers) return;
  if ((header.nf || header.mf) && datagram.payload.empty()) Find(Rule::kFrg7, i);
}

void Naive::JudgeDescriptors(Datagram& datagram) {
  const size_t i = datagram.event;
  const uint32_t fds = At(i).fds;
  if (fds > profile_.fds_max || At(i).rights > 1) {
    datagram.wrong_fds = true;
    Find(Rule::kFds2, i);
    return;
  }
  if (!datagram.decoded.has_value() || !datagram.type.has_value()) return;
  if (datagram.header().nf && fds > 0 && datagram.type != Type::kReadQueue) {
    datagram.wrong_fds = true;
    Find(Rule::kFds1, i);
  }
  if (datagram.header().nf || At(i).ctrl_truncated) return;
  const Type type = *datagram.type;
  const bool needs_one = type == Type::kMmap || type == Type::kChangeFile ||
                         (type == Type::kNewPort && profile_.fds_max == 1);
  const bool at_most_one = type == Type::kWhoami || type == Type::kReqBody ||
                           (type == Type::kProcessReady && profile_.fds_max == 2);
  if ((at_most_one && fds > 1) || (needs_one && fds != 1) || (type == Type::kNewPort && fds == 0) ||
      // start_worker is start_process by its older name.
      ((type == Type::kStartProcess || type == Type::kStartWorker) && fds == 1)) {
    Find(Rule::kFds6, i);
  }
}

void Naive::JudgeSize(const Datagram& datagram) {
  if (datagram.type == Type::kReadQueue) return;
  const size_t i = datagram.event;
  const size_t payload = datagram.payload.size();
  const uint32_t limit = PayloadLimit(profile_, ports_[datagram.port].max_size);
  if (datagram.header().mmap) {
    std::vector<Reference> references;
    const size_t tracking = References(datagram, references);
    if (payload < tracking + 12 || (payload - tracking) % 12 != 0) Find(Rule::kShm1, i);
    if (references.size() > std::min<size_t>(79, (limit - tracking) / 12)) Find(Rule::kIov3, i);
    return;
  }
  // SHM-4: 12 bytes or fewer may be of a message in shared mode, which has another run limit.
  const uint32_t iov = payload > 12 ? At(i).iov : 0;
  if (payload > limit || iov > 8) Find(Rule::kIov3, i);
}

// The references, and how many bytes stand before them.
size_t Naive::References(const Datagram& datagram, std::vector<Reference>& out) const {
  const size_t tracking =
      profile_.byte15 == Byte15::kTracking && datagram.header().byte15 != 0 ? 8 : 0;
  for (size_t at = tracking; at + 12 <= datagram.payload.size(); at += 12) {
    const uint8_t* bytes = datagram.payload.data() + at;
    out.push_back({Load<uint32_t>(bytes, MachineByteOrder()),
                   Load<uint32_t>(bytes + 4, MachineByteOrder()),
                   Load<uint32_t>(bytes + 8, MachineByteOrder())});
  }
  return tracking;
}

// HDR-6, HDR-7: first what each process says of itself, then who deviates from it.
void Naive::JudgePids() {
  const auto silent = [&](const Datagram& d) {
    return !d.sender_known || !d.decoded.has_value() || ExemptFromHdr7(d.type);
  };
  std::map<Process, std::set<int32_t>> shown;
  // What each receiver is told of each sender whose sends are not recorded.
  std::map<int32_t, std::map<Process, std::set<int32_t>>> told;
  for (const Datagram& d : datagrams_) {
    if (silent(d)) continue;
    shown[d.process].insert(d.header().pid);
    if (!Is(d.event, EventKind::kSend)) {
      told[At(d.event).pid][d.process].insert(d.header().pid);
    }
  }
  std::set<Process> reported;
  for (Datagram& d : datagrams_) {
    if (silent(d) || d.header().pid == d.process.first) continue;
    const bool send = Is(d.event, EventKind::kSend);
    if (shown[d.process].size() == 1) {
      if (!send && InsideNamespace(told[At(d.event).pid], d)) continue;
      if (reported.insert(d.process).second) Find(Rule::kHdr7, d.event);
      continue;
    }
    d.wrong_pid = true;
    Find(send ? Rule::kHdr6 : Rule::kHdr7, d.event);
  }
}

// Does the receiver of `d` see other pids than the recorder? `senders`: what it was told.
bool Naive::InsideNamespace(const std::map<Process, std::set<int32_t>>& senders,
                            const Datagram& d) const {
  bool all = senders.size() > 1;
  for (const auto& [sender, pids] : senders) {
    all = all && pids.size() == 1 && *pids.begin() != sender.first;
  }
  bool named_acted = false, told_acted = false;
  for (size_t i = 0; i < End(); ++i) {
    if (Is(i, EventKind::kExit) || Is(i, EventKind::kOpen)) continue;
    named_acted |= At(i).pid == d.header().pid;
    told_acted |= At(i).pid == d.process.first;
  }
  return all || (named_acted && !told_acted);
}

// SHM-1 was judged; SHM-2, SHM-8 and SHM-10 of each datagram.
void Naive::JudgeSegments() {
  for (const Datagram& d : datagrams_) {
    if (!d.decoded.has_value()) continue;
    const uint64_t bytes = At(d.event).segment_bytes;
    if (d.type == Type::kMmap && bytes != 0 && bytes != 2048 && bytes != 10'489'856) {
      Find(Rule::kShm8, d.event);
    }
    if (d.header().mmap && d.type != Type::kReadQueue) JudgeReferences(d);
  }
}

// Some of what went between the two may not have been recorded.
bool Naive::Partial(const Datagram& datagram) const {
  for (size_t i = 0; i < End(); ++i) {  // SOC-3: announced, though nobody sent that
    if (!Is(i, EventKind::kRecv) || send_of_recv_.contains(i)) continue;
    if (!ports_[port_of_[i]].has_sends) continue;
    const auto decoded = DecodeHeader(recording_[i].data);
    const bool announces =
        decoded.has_value() && TypeOf(profile_, decoded->header.type) == Type::kMmap;
    if (announces && ClaimedSender(i).first == datagram.process.first) return true;
  }
  for (const Datagram& other : datagrams_) {  // HDR-1: it may have been an announcement
    if (other.process != datagram.process || other.decoded.has_value()) continue;
    if (At(other.event).fds > 0) return true;
  }
  for (size_t i = 0; i < End(); ++i) {
    if (port_of_[i] == kNone || ports_[port_of_[i]].opened) continue;
    if (!Is(i, EventKind::kSend) && !Is(i, EventKind::kRecv)) continue;
    if (process_of_[i] == datagram.process || At(i).pid == ports_[datagram.port].receiver) {
      return true;
    }
  }
  return false;
}

void Naive::JudgeReferences(const Datagram& datagram) {
  std::vector<Reference> references;
  const size_t tracking = References(datagram, references);
  const size_t payload = datagram.payload.size();
  if (references.empty() || (payload - tracking) % 12 != 0) return;
  const uint64_t chunk = Tiny() ? 16 : 16384;
  const uint64_t count = Tiny() ? 64 : 640;
  // How many segments this process announced to that one before this datagram.
  uint32_t before = 0;
  for (const Datagram& other : datagrams_) {
    if (other.type != Type::kMmap || other.process != datagram.process) continue;
    // A receiver that is never seen may be any.
    const int32_t receiver = ports_[datagram.port].receiver;
    const int32_t other_receiver = ports_[other.port].receiver;
    if (receiver != kNoPid && other_receiver != kNoPid && other_receiver != receiver) continue;
    if (other.event < datagram.event) ++before;
  }
  const bool counted =
      profile_.fds_max == 1 && Is(datagram.event, EventKind::kSend) && !Partial(datagram);
  constexpr uint32_t kIds = 1024;  // a segment's id is below
  bool range = false, impossible = false, unknown = false;
  for (const Reference& r : references) {
    const uint64_t chunks = (r.bytes + chunk - 1) / chunk;
    range |= r.bytes == 0 || r.first >= count || chunks > count - r.first;
    impossible |= counted && r.segment >= before && r.segment >= kIds;
    unknown |= counted && r.segment >= before;
  }
  if (range || impossible) {
    Find(Rule::kShm2, datagram.event);
  } else if (unknown) {
    Find(Rule::kShm10, datagram.event);
  }
}

Naive::Key Naive::KeyOf(const Datagram& datagram) const {
  const uint32_t stream = datagram.header().stream;
  if (!profile_.key_has_sender) return {kNobody, stream};
  // From 1.26 the credentials' or the sending process's pid. Before, the header's; that a
  // single datagram has the wrong one was said already, and nothing follows from it.
  if (datagram.process != kNobody) return {datagram.process, stream};
  return {{datagram.header().pid, -1}, stream};
}

void Naive::JudgeMessages(size_t port) {
  Walk walk;
  walk.port = port;
  for (size_t i = 0; i < End(); ++i) {
    if (Is(i, EventKind::kExit)) {  // FRG-9
      for (auto& [key, message] : walk.open) {
        if (message.process.first != At(i).pid) continue;
        if (ports_[port].has_sends) {
          walk.given_up.push_back(message);
        } else {
          message.dead = message.excused = true;
        }
      }
      // Where only receives are known, the rest may be on its way.
      std::erase_if(walk.open, [&](const auto& open) {
        return ports_[port].has_sends && open.second.process.first == At(i).pid;
      });
    }
    for (size_t n = 0; n < datagrams_.size(); ++n) {
      const Datagram& d = datagrams_[n];
      if (d.event != i || d.port != port || !d.judge_sequence) continue;
      if (!d.decoded.has_value()) ++walk.lost[d.process];
      if (d.decoded.has_value() && d.type != Type::kReadQueue) Judge(walk, n);
    }
  }
  for (auto& [key, message] : walk.open) walk.given_up.push_back(message);
  for (const Unfinished& message : walk.given_up) JudgeUnfinished(walk, message);
}

void Naive::Judge(Walk& walk, size_t n) {
  const Datagram& d = datagrams_[n];
  const Key key = KeyOf(d);
  if (!d.header().nf && walk.open.contains(key) && walk.open[key].dead) walk.open.erase(key);
  const bool open = walk.open.contains(key);
  JudgeOverlap(d, open && d.header().nf && walk.open[key].duplicates == 0
                      ? walk.open[key].references
                      : std::vector<Reference>());
  if (!d.header().nf && !d.header().mf) return Whole(walk, n, key);
  if (!d.header().nf) return First(walk, n, key);
  if (!open) return Orphan(walk, n, key);
  Later(walk, n, key);
}

// Something of this sender was lost before, and was reported. That explains one finding.
bool Naive::Explained(Walk& walk, const Datagram& d) {
  for (const Process& process : {d.process, kNobody}) {
    if (walk.lost[process] == 0) continue;
    --walk.lost[process];
    return true;
  }
  return false;
}

void Naive::Whole(Walk& walk, size_t n, const Key& key) {
  const Datagram& d = datagrams_[n];
  walk.ended.insert(key);
  const auto open = walk.open.find(key);
  if (open == walk.open.end()) return;
  if (Explained(walk, d)) {  // its end was
    walk.open.erase(open);
    return;
  }
  Find(Rule::kFrg6, d.event);
  // It may be the end, of which nf was lost: then that there is no end was said.
  open->second.excused |= Alike(open->second.header, d.header());
}

void Naive::First(Walk& walk, size_t n, const Key& key) {
  const Datagram& d = datagrams_[n];
  const auto open = walk.open.find(key);
  if (open != walk.open.end() && !Explained(walk, d)) {
    Find(Rule::kFrg1, d.event);
    ++open->second.duplicates;
    return;
  }
  Unfinished& message = walk.open[key] = Unfinished{};
  // Its end may have come before it: that was reported.
  message.excused = walk.leftovers.erase(key) > 0;
  message.last = message.first = n;
  message.header = d.header();
  message.header_known = !d.wrong_type;
  message.pid_known = !d.wrong_pid;
  message.process = d.process;
  // Where only receives are known, its sender may have died before the first of them.
  message.dead = d.sender_died;
  message.excused |= message.dead;
  Append(walk, n, message);
}

// FRG-2, once: what is left of the message that was not begun follows from that.
void Naive::Orphan(Walk& walk, size_t n, const Key& key) {
  const Datagram& d = datagrams_[n];
  if (!ports_[walk.port].opened && !walk.ended.contains(key)) {
    if (d.header().mf) {  // begun before the recording
      Unfinished& message = walk.open[key];
      message.last = message.first = n;
      message.header = d.header();
      message.header_known = false;
      message.process = d.process;
    }
    walk.ended.insert(key);
    return;
  }
  int& left = walk.leftovers[key];
  if (left == 0) {
    if (!d.wrong_pid && !Explained(walk, d)) {
      Find(Rule::kFrg2, d.event);
      // It may be of another message of its sender, and only its stream was lost.
      for (auto& [other_key, other] : walk.open) {
        other.excused |= other.process == d.process && Alike(other.header, d.header());
      }
    }
    left = 1;
  }
  if (!d.header().mf) --left;
}

void Naive::Later(Walk& walk, size_t n, const Key& key) {
  const Datagram& d = datagrams_[n];
  Unfinished& message = walk.open[key];
  const Header& first = message.header;
  const Header header = d.header();
  if (!message.short_before.empty()) {  // IOV-4 is about one that is not the last
    Find(Rule::kIov4, message.short_before.back());
    message.short_before.clear();
  }
  const bool type_changed = message.header_known && !d.wrong_type && header.type != first.type;
  const bool changed = type_changed || header.reply_port != first.reply_port ||
                       (header.pid != first.pid && message.pid_known && !d.wrong_pid) ||
                       (message.last_seen && !header.last);
  // What follows on a refused first fragment is its own, whatever its fields (FRG-1).
  if (changed && message.duplicates == 0) Find(Rule::kFrg3, d.event);
  message.excused = message.dead;
  message.last = n;
  Append(walk, n, message);
  if (header.mf) return;
  walk.ended.insert(key);
  if (message.duplicates > 0) walk.leftovers[key] = message.duplicates;
  walk.open.erase(key);
}

// What is the same for every fragment: SND-5, IOV-4, and what later ones are held against.
void Naive::Append(Walk& walk, size_t n, Unfinished& message) {
  const Datagram& d = datagrams_[n];
  const size_t payload = d.payload.size();
  message.last_seen |= d.header().last;
  message.shared |= d.header().mmap;
  if (d.header().mmap) References(d, message.references);
  const uint32_t limit = PayloadLimit(profile_, ports_[walk.port].max_size);
  if (d.header().mf && !message.shared && payload > 12 && payload < limit && At(d.event).iov > 0 &&
      At(d.event).iov < 8) {
    message.short_before.push_back(d.event);
  }
  if (!Is(d.event, EventKind::kSend)) return;
  if (message.overtaken_by != kNone) Find(Rule::kSnd5, message.overtaken_by);
  message.overtaken_by = kNone;
  for (auto& [key, other] : walk.open) {
    if (message.used_up != kNone && &other != &message && other.process == message.process &&
        other.last < message.used_up) {
      other.overtaken_by = d.event;
    }
  }
  message.used_up = kNone;
  message.share += kHeaderBytes + payload;
  if (message.share < ports_[walk.port].max_share) return;
  message.share = 0;
  message.used_up = n;
}

// SHM-2: no chunk twice in a message.
void Naive::JudgeOverlap(const Datagram& d, const std::vector<Reference>& earlier) {
  if (!d.header().mmap) return;
  std::vector<Reference> all = earlier;
  const size_t tracking = References(d, all);
  if (d.payload.size() < tracking || (d.payload.size() - tracking) % 12 != 0) return;  // SHM-1
  const uint64_t chunk = Tiny() ? 16 : 16384;
  std::set<std::pair<uint32_t, uint64_t>> used;
  for (size_t i = 0; i < all.size(); ++i) {
    const uint64_t chunks = std::min<uint64_t>(640, (all[i].bytes + chunk - 1) / chunk);
    for (uint64_t c = 0; c < chunks; ++c) {
      const bool twice = !used.insert({all[i].segment, all[i].first + c}).second;
      if (twice && i >= earlier.size()) return Find(Rule::kShm2, d.event);
    }
  }
}

// FRG-5: the sender and the recording went on for 10 ms after the last fragment.
void Naive::JudgeUnfinished(Walk& walk, const Unfinished& message) {
  const Datagram& last = datagrams_[message.last];
  const Port& port = ports_[walk.port];
  const bool finding = !message.excused && WentOn(walk.port, message) &&
                       (!port.has_sends || !port.has_recvs || last.recv != kNone);
  if (finding && !Explained(walk, last)) return Find(Rule::kFrg5, datagrams_[message.first].event);
  // With nothing behind it, a short fragment may still be what is wrong.
  if (!finding && !message.excused && !message.short_before.empty()) {
    Find(Rule::kIov4, message.short_before.back());
  }
}

bool Naive::WentOn(size_t port, const Unfinished& message) const {
  const Datagram& last = datagrams_[message.last];
  int64_t time = At(last.event).time_us;
  if (last.recv != kNone) time = std::max(time, At(last.recv).time_us);
  for (size_t i = last.event + 1; i < End(); ++i) {
    if (At(i).time_us >= time + kWentOnUs) return true;
    const bool senders = process_of_[i] == message.process;
    const bool ports = port_of_[i] == port;
    const bool reopened =
        Is(i, EventKind::kOpen) && recording_[i].port == recording_[last.event].port;
    const bool closed = ports && Is(i, EventKind::kClose) && (At(i).pid == kNoPid || senders);
    const bool failed =
        ports && senders && Is(i, EventKind::kFail) && recording_[i].errno_name != "EAGAIN";
    if ((senders && Is(i, EventKind::kExit)) || reopened || closed || failed ||
        (ports && Is(i, EventKind::kEof))) {
      return false;
    }
  }
  return false;
}

}  // namespace

Event Recorded::View() const {
  Event view = event;
  view.port = port;
  view.errno_name = errno_name;
  view.data = data;
  view.size = data.size();
  view.zero_bytes = 0;
  return view;
}

std::vector<NaiveFinding> CheckNaively(const Recording& recording, const Profile& profile) {
  return Naive(recording, profile).Check();
}

}  // namespace portproof
