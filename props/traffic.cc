#include "props/traffic.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "protocol/header.h"

namespace portproof {
namespace {

using conversation::Dice;

struct Message {
  Header header;
  uint32_t fds = 0;
  uint64_t segment_bytes = 0;
  int32_t tid = 0;
  bool begun = false;
  uint64_t share = 0;
  std::deque<std::vector<uint8_t>> payloads;  // one a datagram, as composed
  std::deque<bool> shared;                    // which are references
  std::deque<uint32_t> iovs;
};

struct Process {
  int32_t pid = 0;
  int32_t shown = 0;  // as it knows itself
  int threads = 1;
  bool dead = false;
};

enum class Style { kBoth, kSends, kRecvs, kUnopened };

struct TrafficPort {
  std::string name;
  Style style = Style::kBoth;
  int receiver = 0;
  uint32_t max_size = 0;
  uint32_t max_share = 0;
  std::map<int, std::deque<Message>> queues;      // by sender
  std::map<int32_t, std::deque<Recorded>> lines;  // in the socket, by thread
  std::deque<int32_t> order;                      // threads, as they sent
};

class Traffic {
 public:
  Traffic(Dice& dice, const Profile& profile, std::set<std::string>& reached)
      : dice_(dice), profile_(profile), reached_(reached) {}

  Recording Play() {
    // The original's own test build; from 1.19 nobody's.
    tiny_ = profile_.fds_max == 1 && dice_.OneIn(2);
    MakeProcesses();
    for (uint32_t i = 0, ports = 1 + dice_.Below(3); i < ports; ++i) OpenPort(i);
    for (uint32_t i = 0, steps = 20 + dice_.Below(60); i < steps; ++i) Step();
    Drain();
    now_ += 50'000;
    for (Process& process : processes_) {
      if (!process.dead) Exit(process);
    }
    return std::move(recording_);
  }

 private:
  void MakeProcesses() {
    const uint32_t count = 2 + dice_.Below(3);
    for (uint32_t i = 0; i < count; ++i) {
      Process process{.pid = static_cast<int32_t>(101 + i)};
      process.shown = process.pid;
      if (profile_.credentials && dice_.OneIn(6)) {
        process.shown = static_cast<int32_t>(2 + i);
        reached_.insert("namespace");
      }
      process.threads = 1 + static_cast<int>(dice_.Below(2));
      processes_.push_back(process);
    }
  }

  void OpenPort(uint32_t i) {
    TrafficPort port;
    port.name = "p" + std::to_string(i);
    port.receiver = static_cast<int>(dice_.Below(static_cast<uint32_t>(processes_.size())));
    constexpr Style kStyles[] = {Style::kSends, Style::kRecvs, Style::kUnopened};
    constexpr const char* kNames[] = {"sends only", "receives only", "begun before"};
    if (dice_.OneIn(4)) {
      const uint32_t style = dice_.Below(3);
      port.style = kStyles[style];
      reached_.insert(kNames[style]);
    }
    port.max_size = port.style == Style::kUnopened ? 16384 : 64 + dice_.Below(40);
    port.max_share = port.style == Style::kUnopened ? 65536 : 1 + dice_.Below(300);
    if (port.style != Style::kUnopened) {
      Event event{.kind = EventKind::kOpen};
      event.max_size = port.max_size;
      event.max_share = port.max_share;
      Put(event, port.name);
    }
    ports_.push_back(std::move(port));
  }

  void Put(Event event, const std::string& port, std::vector<uint8_t> data = {},
           const std::string& errno_name = "") {
    now_ += dice_.Below(20);  // nobody rests for 10 ms (FRG-5)
    event.time_us = now_;
    event.size = data.size();
    recording_.push_back({event, port, errno_name, std::move(data)});
  }

  void Exit(Process& process) {
    process.dead = true;
    Event event{.kind = EventKind::kExit};
    event.pid = process.pid;
    Put(event, "");
  }

  void Step() {
    TrafficPort& port = ports_[dice_.Below(static_cast<uint32_t>(ports_.size()))];
    const int sender = static_cast<int>(dice_.Below(static_cast<uint32_t>(processes_.size())));
    const uint32_t what = dice_.Below(100);
    if (what < 30) {
      if (sender != port.receiver && !processes_[sender].dead) Write(port, sender);
    } else if (what < 65) {
      for (uint32_t i = 1 + dice_.Below(4); i > 0; --i) SendOne(port, sender);
    } else if (what < 96) {
      for (uint32_t i = 1 + dice_.Below(4); i > 0; --i) ReceiveOne(port);
    } else if (what < 97) {
      Refused(port, sender);
    } else if (what < 98 && port.style == Style::kBoth) {
      Reopen(port);
    } else {
      Die(port, sender);
    }
  }

  void Refused(const TrafficPort& port, int sender) {
    if (processes_[sender].dead || port.style == Style::kRecvs) return;
    Event event{.kind = EventKind::kFail};
    event.pid = event.tid = processes_[sender].pid;
    Put(event, port.name, {}, "EAGAIN");
    reached_.insert("EAGAIN");
  }

  // The port is closed with whatever is queued or on its way; its number comes back.
  void Reopen(TrafficPort& port) {
    for (auto& [sender, queue] : port.queues) queue.clear();
    port.lines.clear();
    port.order.clear();
    Put({.kind = EventKind::kClose}, port.name);
    Event event{.kind = EventKind::kOpen};
    event.max_size = port.max_size;
    event.max_share = port.max_share;
    Put(event, port.name);
    reached_.insert("port closed and opened again");
  }

  // A sender dies, perhaps within a call of which nobody knows whether it did anything.
  void Die(TrafficPort& port, int sender) {
    Process& process = processes_[sender];
    for (const TrafficPort& other : ports_) {
      if (process.dead || other.receiver == sender) return;
    }
    bool open = false;
    for (const Message& message : port.queues[sender]) open |= message.begun;
    if (!port.queues[sender].empty() && port.style == Style::kBoth) SendOne(port, sender, true);
    Exit(process);
    reached_.insert(open ? "death amid a message" : "death");
    for (TrafficPort& other : ports_) other.queues[sender].clear();
    if (dice_.OneIn(2) && Delivered(process)) {  // the pid comes back
      process.dead = false;
      announced_.clear();
      reached_.insert("pid comes back");
    }
  }

  // Nothing of it is on its way: a receive could not be told from one of its successor.
  bool Delivered(const Process& process) const {
    for (const TrafficPort& port : ports_) {
      for (const auto& [tid, line] : port.lines) {
        if (!line.empty() && line.front().event.pid == process.pid) return false;
      }
    }
    return true;
  }

  uint32_t Limit(const TrafficPort& port) const { return PayloadLimit(profile_, port.max_size); }

  void Write(TrafficPort& port, int sender) {
    const Process& process = processes_[sender];
    Message message;
    message.tid = process.pid + 1000 * static_cast<int>(dice_.Below(process.threads));
    message.header.stream = 1 + dice_.Below(4);
    // Before 1.9 two senders with one number collide at the receiver.
    if (!profile_.key_has_sender) message.header.stream += 10 * static_cast<uint32_t>(sender);
    message.header.pid = process.shown;
    message.header.reply_port = static_cast<uint16_t>(dice_.Below(3));
    message.header.last = dice_.OneIn(4);
    if (profile_.byte15 == Byte15::kPadding && dice_.OneIn(2)) message.header.byte15 = 77;
    std::vector<uint8_t> types;
    for (size_t i = 0; i < profile_.types.size(); ++i) types.push_back(static_cast<uint8_t>(i));
    message.header.type = types[dice_.Below(static_cast<uint32_t>(types.size()))];
    // With several announcements in a recording, one can come too late (SHM-10).
    if (profile_.fds_max == 1 && dice_.OneIn(6)) {
      message.header.type = NumberOf(profile_, Type::kMmap).value();
    }
    const Type type = *TypeOf(profile_, message.header.type);
    message.fds = FdsOf(type);
    if (type == Type::kReadQueue) {
      WakeUp(message);
    } else if (type == Type::kMmap) {
      Announce(message);
    } else if (dice_.OneIn(3) && MakeShared(port, sender, message)) {
      reached_.insert("references");
    } else {
      MakePlain(port, message);
    }
    if (message.fds > 0) reached_.insert("fds");
    if (message.payloads.size() > 1) reached_.insert("fragments");
    port.queues[sender].push_back(std::move(message));
  }

  uint32_t AnyFds() { return dice_.OneIn(2) ? 0 : dice_.Below(profile_.fds_max + 1u); }

  uint32_t FdsOf(Type type) {
    switch (type) {
      case Type::kMmap:
      case Type::kChangeFile:
        return 1;
      case Type::kNewPort:
        return 1 + dice_.Below(profile_.fds_max);
      case Type::kStartProcess:
      case Type::kStartWorker:
        return profile_.fds_max == 2 && dice_.OneIn(2) ? 2 : 0;
      case Type::kReadQueue:
        return 0;
      case Type::kRpcReady:
      case Type::kRpcError:
        return dice_.Below(2);
      case Type::kProcessReady:
      case Type::kWhoami:
      case Type::kReqBody:
        return std::min(1u, AnyFds());
      default:
        return AnyFds();
    }
  }

  void WakeUp(Message& message) {
    const uint8_t type = message.header.type;
    if (dice_.OneIn(2)) {
      message.header = {};
      message.header.type = type;
    } else {  // leftovers of the message before
      message.header.mmap = dice_.OneIn(2);
    }
    Add(message, {}, message.header.mmap, 1);
    reached_.insert("read_queue");
  }

  void Announce(Message& message) {
    message.header = {.pid = message.header.pid, .type = message.header.type, .last = true};
    message.segment_bytes = tiny_ ? 2048 : 10'489'856;
    Add(message, {}, false, 1);
    reached_.insert("announcement");
  }

  void MakePlain(const TrafficPort& port, Message& message) {
    const uint32_t limit = Limit(port);
    const bool few = dice_.OneIn(3);
    size_t bytes = few ? dice_.Below(3) : dice_.Below(5 * std::min(limit, 100u));
    if (limit > 1000 && dice_.OneIn(2)) bytes += limit - 20;
    do {
      const uint32_t iov = 2 + dice_.Below(7);
      // Scattered buffers fill the runs before the bytes (IOV-4).
      const bool short_one = bytes > 8 && dice_.OneIn(4);
      const size_t take =
          std::min<size_t>(bytes, short_one ? 7 + dice_.Below(std::min(limit, 60u) - 7) : limit);
      bytes -= take;
      std::vector<uint8_t> payload(take);
      for (uint8_t& byte : payload) byte = static_cast<uint8_t>(dice_.Below(256));
      Add(message, std::move(payload), false, short_one && bytes > 0 ? 8 : iov);
    } while (bytes > 0);
  }

  bool MakeShared(const TrafficPort& port, int sender, Message& message) {
    const uint32_t known = announced_[{sender, port.receiver}];
    const bool counted = profile_.fds_max == 1;
    if (port.style == Style::kUnopened) return false;
    if (counted && (port.style != Style::kBoth || known == 0)) return false;
    const size_t tracking = profile_.byte15 == Byte15::kTracking && dice_.OneIn(3) ? 8 : 0;
    if (tracking > 0) message.header.byte15 = 1;
    const size_t per_datagram = std::min<size_t>(79, (Limit(port) - tracking) / 12);
    const uint32_t segment = dice_.Below(counted ? known : 3);
    const uint32_t chunk = tiny_ ? 16 : 16384;
    uint32_t next = dice_.Below(4);
    size_t left = 1 + dice_.Below(10);
    while (left > 0) {
      std::vector<uint8_t> payload(tracking);
      for (size_t k = std::min(left, per_datagram); k > 0; --k, --left) {
        const uint32_t bytes = 13 + dice_.Below(2 * chunk - 13);
        AddReference(payload, segment, next, bytes);
        next += (bytes + chunk - 1) / chunk + dice_.Below(2);
      }
      Add(message, std::move(payload), true, 2);
    }
    if (dice_.OneIn(4)) {  // SHM-4: the small rest goes plain
      Add(message, std::vector<uint8_t>(1 + dice_.Below(12)), false, 2);
      reached_.insert("small rest");
    }
    return true;
  }

  static void AddReference(std::vector<uint8_t>& payload, uint32_t segment, uint32_t first,
                           uint32_t bytes) {
    for (const uint32_t value : {segment, first, bytes}) {
      payload.resize(payload.size() + 4);
      Store<uint32_t>(value, &payload[payload.size() - 4], MachineByteOrder());
    }
  }

  static void Add(Message& message, std::vector<uint8_t> payload, bool shared, uint32_t iov) {
    message.payloads.push_back(std::move(payload));
    message.shared.push_back(shared);
    message.iovs.push_back(iov);
  }

  // SND-6: the first that has begun, or the first that has not and whose stream is free.
  size_t NextToSend(const std::deque<Message>& queue) const {
    std::set<uint32_t> busy;
    for (const Message& message : queue) {
      if (message.begun) busy.insert(message.header.stream);
    }
    bool first_unbegun = true;
    for (size_t i = 0; i < queue.size(); ++i) {
      if (queue[i].begun) return i;
      if (first_unbegun && !busy.contains(queue[i].header.stream)) return i;
      first_unbegun = false;
    }
    return queue.size();
  }

  void SendOne(TrafficPort& port, int sender, bool killed = false) {
    std::deque<Message>& queue = port.queues[sender];
    const size_t at = NextToSend(queue);
    if (processes_[sender].dead || at == queue.size()) return;
    Message& message = queue[at];
    Header header = message.header;
    header.nf = message.begun;
    header.mf = message.payloads.size() > 1;
    header.mmap = message.shared.front();
    Event event{.kind = EventKind::kSend};
    event.pid = processes_[sender].pid;
    event.tid = message.tid;
    event.killed = killed;
    event.iov = unknown_iov_ ? 0 : message.iovs.front();
    if (!message.begun) {
      event.fds = message.fds;
      event.rights = message.fds > 0;
      event.segment_bytes = message.segment_bytes;
    }
    std::vector<uint8_t> data(kHeaderBytes);
    const auto bytes = EncodeHeader(header);
    std::copy(bytes.begin(), bytes.end(), data.begin());
    data.insert(data.end(), message.payloads.front().begin(), message.payloads.front().end());
    if (port.style != Style::kRecvs) Put(event, port.name, data);
    if (!killed || dice_.OneIn(2)) {
      const int32_t line = port.style == Style::kRecvs ? 0 : event.tid;
      port.lines[line].push_back({event, port.name, "", data});
      port.order.push_back(line);
    }
    if (killed) return;
    Advance(port, queue, at, data.size(), sender);
  }

  // SND-5
  void Advance(const TrafficPort& port, std::deque<Message>& queue, size_t at, size_t bytes,
               int sender) {
    Message& message = queue[at];
    message.begun = true;
    message.payloads.pop_front();
    message.shared.pop_front();
    message.iovs.pop_front();
    if (message.payloads.empty()) {
      if (message.segment_bytes != 0 && port.style == Style::kBoth) {
        ++announced_[{sender, port.receiver}];
      }
      queue.erase(queue.begin() + static_cast<ptrdiff_t>(at));
      return;
    }
    message.share += bytes;
    if (message.share < port.max_share) return;
    message.share = 0;
    Message last = std::move(message);
    queue.erase(queue.begin() + static_cast<ptrdiff_t>(at));
    queue.push_back(std::move(last));
    if (queue.size() > 1) reached_.insert("turns");
  }

  // SOC-3: in each thread's order; which thread's first is the kernel's business.
  void ReceiveOne(TrafficPort& port) {
    if (port.order.empty()) return;
    int32_t line = port.order.front();
    if (dice_.OneIn(5)) line = port.order[dice_.Below(static_cast<uint32_t>(port.order.size()))];
    port.order.erase(std::find(port.order.begin(), port.order.end(), line));
    const Recorded sent = port.lines[line].front();
    port.lines[line].pop_front();
    if (port.style == Style::kSends) return;
    Event event{.kind = EventKind::kRecv};
    event.pid = event.tid = processes_[port.receiver].pid;
    event.fds = sent.event.fds;
    event.rights = sent.event.rights;
    event.segment_bytes = sent.event.segment_bytes;
    if (profile_.credentials) event.cred_pid = sent.event.pid;
    Put(event, port.name, sent.data);
  }

  void Drain() {
    for (TrafficPort& port : ports_) {
      for (size_t sender = 0; sender < processes_.size(); ++sender) {
        while (!port.queues[static_cast<int>(sender)].empty() && !processes_[sender].dead) {
          SendOne(port, static_cast<int>(sender));
        }
      }
      size_t left = dice_.OneIn(3) ? dice_.Below(4) : 0;
      if (port.order.size() > left && left > 0) reached_.insert("undelivered");
      while (port.order.size() > left) ReceiveOne(port);
    }
  }

  Dice& dice_;
  const Profile& profile_;
  std::set<std::string>& reached_;
  std::vector<Process> processes_;
  std::vector<TrafficPort> ports_;
  std::map<std::pair<int, int>, uint32_t> announced_;  // by sender and receiver
  bool tiny_ = false;
  bool unknown_iov_ = dice_.OneIn(4);
  int64_t now_ = 1'000'000;
  Recording recording_;
};

// A datagram as the recording shows it: its send, its receive, or both.
struct Sides {
  size_t send = static_cast<size_t>(-1);
  size_t recv = static_cast<size_t>(-1);
  bool has_send() const { return send != static_cast<size_t>(-1); }
  bool has_recv() const { return recv != static_cast<size_t>(-1); }
};

// In conforming traffic a receive belongs to the first equal send not yet taken.
std::vector<Sides> Pair(const Recording& recording) {
  std::vector<Sides> pairs;
  for (size_t i = 0; i < recording.size(); ++i) {
    const Recorded& one = recording[i];
    if (one.event.kind == EventKind::kSend) pairs.push_back({.send = i});
    if (one.event.kind != EventKind::kRecv) continue;
    const auto sent = std::find_if(pairs.begin(), pairs.end(), [&](const Sides& sides) {
      return sides.has_send() && !sides.has_recv() && recording[sides.send].port == one.port &&
             recording[sides.send].data == one.data;
    });
    if (sent == pairs.end()) {
      pairs.push_back({.recv = i});
    } else {
      sent->recv = i;
    }
  }
  return pairs;
}

bool OneSided(Edit edit) {
  switch (edit) {
    case Edit::kDropSend:
    case Edit::kDropRecv:
    case Edit::kRepeatSend:
    case Edit::kRepeatRecv:
    case Edit::kSwapEvents:
    case Edit::kRecvByte:
    case Edit::kCutRecv:
    case Edit::kFdRecv:
      return true;
    default:
      return false;
  }
}

class Editor {
 public:
  Editor(const Recording& recording, const Profile& profile, Dice& dice)
      : recording_(recording), profile_(profile), pairs_(Pair(recording)), dice_(dice) {
    if (!pairs_.empty()) {
      which_ = dice_.Below(static_cast<uint32_t>(pairs_.size()));
      // Announcements are few, and much depends on them.
      const bool announcement = dice_.OneIn(4);
      for (size_t i = 0; i < pairs_.size() && announcement; ++i) {
        const size_t at = pairs_[i].has_send() ? pairs_[i].send : pairs_[i].recv;
        if (recording_[at].event.segment_bytes != 0) which_ = i;
      }
      sides_ = pairs_[which_];
    }
  }

  std::optional<Recording> Apply(Edit edit) {
    // A thread that was killed inside its send: whether that went is known only once it is
    // received, so what an edit of it shows the texts do not fix.
    if (pairs_.empty() || Killed(which_) || HasTwin()) return std::nullopt;
    if (!Make(edit)) return std::nullopt;
    return std::move(recording_);
  }

 private:
  // On a port begun before the recording a receive may be of a send before it: what is
  // wrong with such a receive the texts do not say.
  bool BegunBefore() const {
    const size_t at = sides_.has_send() ? sides_.send : sides_.recv;
    return std::none_of(recording_.begin(), recording_.end(), [&](const Recorded& one) {
      return one.event.kind == EventKind::kOpen && one.port == recording_[at].port;
    });
  }

  bool Make(Edit edit) {
    if (BegunBefore() && OneSided(edit)) return false;
    switch (edit) {
      case Edit::kDropSend:
        return sides_.has_recv() && SenderActedBefore() && Erase(sides_.send);
      case Edit::kDropRecv:
        return sides_.has_send() && Erase(sides_.recv);
      case Edit::kDropBoth:
        return DropBoth();
      case Edit::kRepeatSend:
        return Repeat(sides_.send);
      case Edit::kRepeatRecv:
        return Repeat(sides_.recv);
      case Edit::kRepeatBoth:
        return RepeatBoth();
      case Edit::kSwapEvents:
        return SwapEvents();
      case Edit::kSwapDatagrams:
        return SwapDatagrams();
      case Edit::kStream:
        return Change(0, static_cast<uint8_t>(1 + dice_.Below(7)));
      case Edit::kPid:
        return !ExemptFromIdentity() && Change(4, static_cast<uint8_t>(64 + dice_.Below(32)));
      case Edit::kReplyPort:
        return Change(8, static_cast<uint8_t>(1 + dice_.Below(255)));
      case Edit::kType:
        return Change(10, static_cast<uint8_t>(1 + dice_.Below(63)));
      case Edit::kLast:
        return Change(11, 1);
      case Edit::kMmap:
        return Change(12, 1);
      case Edit::kNf:
        return Change(13, 1);
      case Edit::kMf:
        return Change(14, 1);
      case Edit::kFlagTwo:
        return SetFlag(11 + dice_.Below(4));
      case Edit::kByte15:
        return Change(15, static_cast<uint8_t>(1 + dice_.Below(255)));
      case Edit::kRecvByte:
        return ChangeRecv();
      case Edit::kCut:
        return Cut(true);
      case Edit::kCutRecv:
        return sides_.has_send() && Cut(false);
      case Edit::kFdMore:
        return Fds(1, true);
      case Edit::kFdLess:
        return Fds(-1, true);
      case Edit::kFdRecv:
        return sides_.has_send() && sides_.has_recv() && Fds(dice_.OneIn(2) ? 1 : -1, false);
      case Edit::kRights:
        return Rights();
      case Edit::kReference:
        return Reference();
      case Edit::kIov:
        return Iov();
      case Edit::kSegment:
        return Segment();
      case Edit::kTruncated:
        return Truncated();
    }
    return false;
  }

  // Which of two equal datagrams was received when, the texts leave open.
  bool HasTwin() const {
    const Recorded& one = recording_[sides_.has_send() ? sides_.send : sides_.recv];
    return std::count_if(pairs_.begin(), pairs_.end(), [&](const Sides& sides) {
             const Recorded& other = recording_[sides.has_send() ? sides.send : sides.recv];
             return other.port == one.port && other.data == one.data;
           }) > 1;
  }

  // A sender that did nothing before may not have been recorded yet: whether its datagram was
  // never sent, is another altered, or is nobody's fault, the texts leave open.
  bool SenderActedBefore() const {
    if (!sides_.has_send()) return true;
    for (size_t i = 0; i < sides_.send && i < recording_.size(); ++i) {
      if (recording_[i].event.pid == recording_[sides_.send].event.pid) return true;
    }
    return false;
  }

  // HDR-7 exempts these, HDR-6 only a read_queue datagram that is all zero: whether another
  // pid of theirs is a defect the texts leave open.
  bool ExemptFromIdentity() const {
    const Recorded& one = recording_[sides_.has_send() ? sides_.send : sides_.recv];
    const std::optional<Type> type = TypeOf(profile_, one.data[10]);
    return type == Type::kReadQueue || type == Type::kWhoami || type == Type::kProcessCreated;
  }

  bool Killed(size_t pair) const {
    return pairs_[pair].has_send() && recording_[pairs_[pair].send].event.killed;
  }

  template <typename Change>
  bool EachSide(Change change) {
    if (sides_.has_send()) change(recording_[sides_.send]);
    if (sides_.has_recv()) change(recording_[sides_.recv]);
    return true;
  }

  bool Erase(size_t at) {
    if (at >= recording_.size()) return false;
    recording_.erase(recording_.begin() + static_cast<ptrdiff_t>(at));
    return true;
  }

  bool DropBoth() {
    if (sides_.has_recv()) Erase(sides_.recv);  // stands behind its send
    if (sides_.has_send()) Erase(sides_.send);
    return true;
  }

  bool Repeat(size_t at) {
    if (at >= recording_.size()) return false;
    const Recorded copy = recording_[at];
    recording_.insert(recording_.begin() + static_cast<ptrdiff_t>(at), copy);
    return true;
  }

  bool RepeatBoth() {
    if (sides_.has_recv()) Repeat(sides_.recv);
    if (sides_.has_send()) Repeat(sides_.send);
    return true;
  }

  // The moments stay where they are: what happened then changes.
  void Exchange(size_t a, size_t b) {
    std::swap(recording_[a], recording_[b]);
    std::swap(recording_[a].event.time_us, recording_[b].event.time_us);
  }

  bool SwapEvents() {
    const size_t at = sides_.has_send() && dice_.OneIn(2) ? sides_.send : sides_.recv;
    const bool has_next = at < recording_.size() && at + 1 < recording_.size();
    if (!has_next || recording_[at].port.empty()) return false;
    for (const size_t i : {at, at + 1}) {
      if ((recording_[i].event.kind != EventKind::kSend &&
           recording_[i].event.kind != EventKind::kRecv) ||
          recording_[i].event.killed) {
        return false;
      }
    }
    Exchange(at, at + 1);
    return true;
  }

  bool SwapDatagrams() {
    const auto place = [&](const Sides& sides) {
      return sides.has_send() ? sides.send : sides.recv;
    };
    for (size_t i = which_ + 1; i < pairs_.size(); ++i) {
      const Sides& other = pairs_[i];
      if (Killed(i)) return false;
      if (recording_[place(other)].port != recording_[place(sides_)].port) continue;
      if (other.has_send() != sides_.has_send() || other.has_recv() != sides_.has_recv()) {
        return false;
      }
      const bool crosses = sides_.has_send() && sides_.has_recv() &&
                           (sides_.recv < other.send || other.recv < sides_.send);
      if (crosses) return false;  // received before it is sent: that is another edit
      if (sides_.has_send()) Exchange(sides_.send, other.send);
      if (sides_.has_recv()) Exchange(sides_.recv, other.recv);
      return true;
    }
    return false;
  }

  bool Change(size_t offset, uint8_t mask) {
    return EachSide([&](Recorded& one) { one.data[offset] ^= mask; });
  }

  bool SetFlag(size_t offset) {
    const uint8_t value = static_cast<uint8_t>(2 + dice_.Below(254));
    bool done = false;
    EachSide([&](Recorded& one) {
      if (one.data[offset] == 0) return;
      one.data[offset] = value;
      done = true;
    });
    return done;
  }

  bool ChangeRecv() {
    if (!sides_.has_send() || !sides_.has_recv()) return false;
    std::vector<uint8_t>& data = recording_[sides_.recv].data;
    data[dice_.Below(static_cast<uint32_t>(data.size()))] ^=
        static_cast<uint8_t>(1 + dice_.Below(255));
    return true;
  }

  bool Cut(bool both) {
    if (!both && !sides_.has_recv()) return false;
    const size_t now = recording_[sides_.has_send() ? sides_.send : sides_.recv].data.size();
    const bool header = now == kHeaderBytes || dice_.OneIn(4);
    const size_t size = header ? dice_.Below(kHeaderBytes)
                               : kHeaderBytes + dice_.Below(static_cast<uint32_t>(now) - 16);
    if (!both) {
      recording_[sides_.recv].data.resize(size);
      return true;
    }
    return EachSide([&](Recorded& one) { one.data.resize(size); });
  }

  bool Fds(int by, bool both) {
    const auto change = [&](Recorded& one) {
      one.event.fds += static_cast<uint32_t>(by);
      one.event.rights = one.event.fds > 0;
    };
    const size_t any = sides_.has_send() ? sides_.send : sides_.recv;
    if (by < 0 && recording_[any].event.fds == 0) return false;
    if (both) return EachSide(change);
    if (!sides_.has_recv()) return false;
    change(recording_[sides_.recv]);
    return true;
  }

  bool Rights() {
    bool done = false;
    EachSide([&](Recorded& one) {
      if (one.event.fds < 2) return;
      one.event.rights = 2;
      done = true;
    });
    return done;
  }

  // One of a reference's three numbers.
  bool Reference() {
    const Recorded& one = recording_[sides_.has_send() ? sides_.send : sides_.recv];
    if (one.data[12] == 0 || one.data.size() < kHeaderBytes + 12) return false;
    const size_t field = one.data.size() - 12 + size_t{4} * dice_.Below(3);
    const uint32_t value = dice_.OneIn(3) ? 0 : dice_.OneIn(2) ? dice_.Below(700) : ~dice_.Below(9);
    return EachSide(
        [&](Recorded& side) { Store<uint32_t>(value, &side.data[field], MachineByteOrder()); });
  }

  bool Iov() {
    if (!sides_.has_send() || recording_[sides_.send].event.iov == 0) return false;
    recording_[sides_.send].event.iov = 1 + dice_.Below(12);
    return true;
  }

  bool Segment() {
    bool done = false;
    const uint64_t bytes = dice_.Below(1u << 20);
    EachSide([&](Recorded& one) {
      if (one.event.segment_bytes == 0) return;
      one.event.segment_bytes = 1 + bytes;
      done = true;
    });
    return done;
  }

  bool Truncated() {
    if (!sides_.has_recv()) return false;
    Recorded& one = recording_[sides_.recv];
    if (dice_.OneIn(2)) {
      one.event.ctrl_truncated = true;
      one.event.fds = one.event.rights = 0;
    } else {
      one.event.truncated = true;
      one.data.resize(std::max<size_t>(kHeaderBytes, one.data.size() / 2));
    }
    return true;
  }

  Recording recording_;
  const Profile& profile_;
  std::vector<Sides> pairs_;
  Dice& dice_;
  size_t which_ = 0;
  Sides sides_;
};

constexpr std::string_view kNames[] = {
    "drop send",   "drop recv",   "drop both",     "repeat send", "repeat recv",
    "repeat both", "swap events", "swap both",     "stream",      "pid",
    "reply port",  "type",        "last",          "mmap",        "nf",
    "mf",          "flag 2",      "byte 15",       "recv byte",   "cut",
    "cut recv",    "fd more",     "fd less",       "fd recv",     "rights",
    "reference",   "iov",         "segment bytes", "truncated",
};
static_assert(std::size(kNames) == kEdits);

}  // namespace

std::string_view Name(Edit edit) { return kNames[static_cast<size_t>(edit)]; }

Recording ConformingTraffic(Dice& dice, const Profile& profile, std::set<std::string>& reached) {
  return Traffic(dice, profile, reached).Play();
}

std::optional<Recording> Edited(const Recording& recording, const Profile& profile, Edit edit,
                                Dice& dice) {
  for (int tries = 0; tries < 6; ++tries) {  // not every datagram has what is altered
    std::optional<Recording> edited = Editor(recording, profile, dice).Apply(edit);
    if (edited.has_value()) return edited;
  }
  return std::nullopt;
}

}  // namespace portproof
