#include "props/real_port.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <sstream>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "oracle/testing.h"
#include "port/receiver.h"
#include "props/real_writer.h"
#include "props/trace_kernel.h"

namespace portproof {
namespace {

constexpr unsigned kDeadlineSeconds = 60;

// What was written or delivered, by where it belongs: order holds within one stream.
struct Item {
  uint32_t type = 0;
  bool last = false;
  uint64_t bytes = 0;
  uint64_t hash = 0;
  uint64_t fds = 0;
  auto operator<=>(const Item&) const = default;
};
using Key = std::pair<int32_t, uint32_t>;  // sender, stream

// What became of a message, and so whether the reader must have it.
struct Written {
  Key key;
  Item item;
  bool accepted = false;
  bool refused = false;  // neither: killed before the answer
  bool failed = false;   // one of its completions
  uint64_t buffers = 0;
  uint64_t completed = 0;

  bool Sent() const { return accepted && !failed && completed == buffers; }
  bool NeverSent() const { return refused || failed; }
};

struct WriterReport {
  std::map<std::pair<uint32_t, uint64_t>, Written> messages;  // by thread and id
  std::map<Key, std::vector<const Written*>> by_stream;       // as written
  std::set<uint32_t> threads;                                 // that wrote
  std::set<std::string> facts;
};

// A reader that stops reading is slow where more waits behind what it took.
bool MoreWaits(Kernel& kernel, int fd) {
  int bytes = 0;
  return kernel.ReadableBytes(fd, bytes) == 0 && bytes > 0;
}

class ReaderProcess {
 public:
  ReaderProcess(const RealRun& run, SharedLog& log, std::atomic<uint64_t>& sequence)
      : run_(run),
        log_(log),
        kernel_(log, sequence, ::getpid(),
                *NumberOf(RealProfile(run.conversation.setup), Type::kMmap),
                {.kill_at = run.reader == Reader::kKilled ? run.reader_at : 0,
                 .stop_at = run.reader == Reader::kStopped ? run.reader_at : 0}),
        workspace_(kernel_) {}

  // `descriptors`: there were before the socket
  void Run(OwnedFd socket, const PortSizes& sizes, size_t descriptors) {
    auto adopted =
        Receiver::Adopt(workspace_, std::move(socket),
                        {.profile = &RealProfile(run_.conversation.setup),
                         .sizes = sizes,
                         .reads_per_turn = run_.reader == Reader::kSlow ? 1U : 64U,
                         .observer = [this](const Refusal& refusal) { OnRefusal(refusal); }},
                        [this](Message& message) { OnMessage(message); });
    if (!adopted.ok()) return log_.Write(absl::StrCat("X ", adopted.status().ToString()));
    receiver_ = *std::move(adopted);
    while (receiver_->open()) {
      const Next next = receiver_->Turn();
      if (next == Next::kEnd) break;
      CloseIfDue();
      if (run_.reader == Reader::kSlow) {
        if (MoreWaits(kernel_, receiver_->fd())) log_.Write("F slow");
        ::sched_yield();
      }
      pollfd polled = {receiver_->fd(), POLLIN, 0};
      if (next == Next::kWait && receiver_->open()) ::poll(&polled, 1, -1);
    }
    if (!closed_) return;
    if (CountDescriptors() != descriptors) log_.Write("X a closed end holds descriptors");
    // Its process is still there, and keeps the payloads it took.
    log_.bell().Await([this] { return log_.flag().load() >= kWritersDone; });
  }

 private:
  void OnRefusal(const Refusal& refusal) {
    log_.Write(absl::StrCat("X refused ", std::string(Id(refusal.rule)), ": ",
                            refusal.header ? ToString(*refusal.header) : "no header"));
  }

  void OnMessage(Message& message) {
    std::string text;
    for (const Part& part : message.payload) {
      text.append(part.bytes().begin(), part.bytes().end());
    }
    log_.Write(absl::StrCat("D ", message.header.pid, " ", message.header.stream, " ",
                            message.header.type, " ", message.header.last, " ", text.size(), " ",
                            HashOf(text), " ", message.fds.size()));
    if (++count_ % 3 == 0) kept_.push_back(std::move(message.payload));
    if (kept_.size() > 5) kept_.clear();
    CloseIfDue();
  }

  // Also from the handler, with the rest of a batch unseen (PRT-2).
  void CloseIfDue() {
    if (run_.reader != Reader::kCloses || closed_ || kernel_.datagrams() < run_.reader_at) return;
    closed_ = true;
    receiver_->Close();
    kernel_.Closed();
    log_.Write("F closed");
  }

  const RealRun& run_;
  SharedLog& log_;
  TraceKernel kernel_;
  Workspace workspace_;
  std::vector<Payload> kept_;
  std::unique_ptr<Receiver> receiver_;
  uint64_t count_ = 0;
  bool closed_ = false;
};

void RunReader(const RealRun& run, OwnedFd socket, const PortSizes& sizes, SharedLog& log,
               std::atomic<uint64_t>& sequence) {
  const size_t before = CountDescriptors() - 1;  // the socket goes
  ReaderProcess(run, log, sequence).Run(std::move(socket), sizes, before);
  if (CountDescriptors() != before) log.Write("X descriptors leaked");
}

Item ItemOf(std::istringstream& text) {
  Item item;
  text >> item.type >> item.last >> item.bytes >> item.hash >> item.fds;
  return item;
}

// Reads the log of a writer, and holds its completions against the rules.
class WriterLog {
 public:
  WriterLog(int32_t pid, std::string name, bool killed, std::vector<std::string>& findings)
      : pid_(pid), name_(std::move(name)), killed_(killed), findings_(findings) {}

  WriterReport Read(const SharedLog& log) {
    for (const std::string& line : log.Lines()) {
      std::istringstream text(line);
      std::string what;
      text >> what;
      if (what == "X") Find(line.substr(2));
      if (what == "F") report_.facts.insert(line.substr(2));
      if (what == "W") OnWrite(text);
      if (what == "A" || what == "R") OnAnswer(text, what == "A");
      if (what == "C") OnCompletion(text);
    }
    for (const auto& [name, message] : report_.messages) {
      const bool fewer = message.completed < message.buffers;
      if (killed_ ? message.completed <= message.buffers : message.refused || !fewer) continue;
      Find(absl::StrCat("message ", name.second, " of thread ", name.first, " has ",
                        message.buffers, " buffers, completed ", message.completed));  // CMP-1
    }
    return std::move(report_);
  }

 private:
  void OnWrite(std::istringstream& text) {
    uint32_t thread = 0;
    uint32_t stream = 0;
    uint64_t id = 0;
    text >> thread >> stream;
    Written written = {.key = {pid_, stream}, .item = ItemOf(text)};
    text >> id >> written.buffers;
    Written& kept = report_.messages[{thread, id}] = written;
    report_.by_stream[written.key].push_back(&kept);
    report_.threads.insert(thread);
  }

  void OnAnswer(std::istringstream& text, bool accepted) {
    uint32_t thread = 0;
    uint64_t id = 0;
    text >> thread >> id;
    Written& message = report_.messages[{thread, id}];
    message.accepted = accepted;
    message.refused = !accepted;
  }

  void OnCompletion(std::istringstream& text) {
    uint32_t thread = 0;
    uint64_t id = 0;
    uint64_t buffer = 0;
    bool ok = false;
    text >> thread >> id >> buffer >> ok;
    Written& message = report_.messages[{thread, id}];
    const auto wrong = [&](const char* how) {
      Find(absl::StrCat("message ", id, " of thread ", thread, ", buffer ", buffer, ": ", how));
    };
    if (!message.accepted) wrong("completed, though it was not accepted");         // CMP-1
    if (message.completed >= message.buffers) wrong("completed once more");        // CMP-1
    if (buffer != message.completed) wrong("completed out of the chain's order");  // CMP-2
    if (ok && id < latest_[message.key])
      wrong("completed after a later one of its stream");                                 // CMP-2
    if (ok && message.failed) wrong("completed well after one of its message's failed");  // CMP-5
    if (ok) latest_[message.key] = id;  // failures come in queue order (CMP-5)
    ++message.completed;
    message.failed |= !ok;
  }

  void Find(const std::string& text) { findings_.push_back(absl::StrCat(name_, ": ", text)); }

  int32_t pid_;
  std::string name_;
  bool killed_;
  std::vector<std::string>& findings_;
  WriterReport report_;
  std::map<Key, uint64_t> latest_;  // the message that completed last, and well, of each stream
};

// Whether what was delivered of a stream is what was sent: no message that must have come
// is missing, none that cannot have come is there, and the order is that of the writes.
// Messages may look the same: `reached` holds how many deliveries the writes so far may
// stand for.
bool Explains(const std::vector<const Written*>& written, const std::vector<Item>& delivered,
              bool all_read) {
  std::set<size_t> reached = {0};
  for (const Written* const message : written) {
    std::set<size_t> next;
    for (const size_t count : reached) {
      const bool must = message->Sent() && all_read;
      if (!must) next.insert(count);
      const bool fits = count < delivered.size() && delivered[count] == message->item;
      if (fits && !message->NeverSent()) next.insert(count + 1);
    }
    reached = std::move(next);
  }
  return reached.contains(delivered.size());
}

// Rings a bell when a child has stopped or ended.
class OfChildren {
 public:
  explicit OfChildren(Bell& bell) {
    heard_by = &bell;
    struct sigaction action = {};
    action.sa_handler = [](int) { heard_by->Ring(); };
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGCHLD, &action, &before_);
  }
  OfChildren(const OfChildren&) = delete;
  OfChildren& operator=(const OfChildren&) = delete;
  ~OfChildren() { ::sigaction(SIGCHLD, &before_, nullptr); }

 private:
  static inline Bell* heard_by = nullptr;
  struct sigaction before_ = {};
};

class Stage {
 public:
  explicit Stage(const RealRun& run) : run_(run) {}

  RealOutcome Play() {
    const conversation::Setup& setup = run_.conversation.setup;
    const Profile& profile = RealProfile(setup);
    PortSizes sizes;
    if (!run_.default_sizes) {
      sizes = {.max_size = std::max(64U, setup.payload_bytes() + 16),
               .max_share = setup.share_bytes()};
    }
    auto pair = SocketPair::Create(profile, sizes);
    if (!pair.ok()) return {{pair.status().ToString()}, "", {}};
    // The smallest that holds a datagram, which the kernel doubles: the socket is full again
    // and again.
    const auto small = static_cast<int>(pair->sizes.max_size);
    ::setsockopt(pair->send_end.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    sizes_ = pair->sizes;
    reader_ = Start([&] {
      pair->send_end.Close();
      RunReader(run_, std::move(pair->receive_end), sizes_, reader_log_, sequence());
    });
    pair->receive_end.Close();  // no writer has it: the reader's close is the last
    for (uint8_t i = 0; i < setup.senders; ++i)
      writer_logs_.push_back(std::make_unique<SharedLog>());
    for (uint8_t i = 0; i < setup.senders; ++i) {
      writers_.push_back(Start([&, i] {
        RunWriter({run_, i, pair->send_end.get(), sizes_, *writer_logs_[i], sequence(),
                   reader_log_.flag(), reader_log_.bell()});
      }));
    }
    pair->send_end.Close();
    Conduct();
    Judge();
    return std::move(outcome_);
  }

 private:
  std::atomic<uint64_t>& sequence() { return reader_log_.sequence(); }

  template <typename Body>
  pid_t Start(Body body) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    ::alarm(kDeadlineSeconds);
    body();
    ::_exit(0);
  }

  // Forwards only.
  void ReaderBecomes(uint32_t state) {
    if (reader_log_.flag() >= state) return;
    reader_log_.flag() = state;
    reader_log_.bell().Ring();
  }

  // Writers close the socket when they have sent all; the reader ends when it has read
  // all, or, if it closed, when no writer will send any more; then the writers check their
  // segments. A reader that stopped goes on when no writer can.
  void Conduct() {
    bool stopped = false;
    std::vector<bool> gone(writers_.size());
    std::vector<int> statuses(writers_.size());
    bool reader_gone = false;
    int reader_status = 0;
    const auto all = [&](uint32_t at_least) {
      for (size_t i = 0; i < writers_.size(); ++i) {
        if (!gone[i] && writer_logs_[i]->flag().load() < at_least) return false;
      }
      return true;
    };
    const OfChildren of_children(reader_log_.bell());
    reader_log_.bell().Await([&] {
      for (size_t i = 0; i < writers_.size(); ++i) {
        if (!gone[i]) gone[i] = ::waitpid(writers_[i], &statuses[i], WNOHANG) == writers_[i];
      }
      if (!reader_gone && ::waitpid(reader_, &reader_status, WNOHANG | WUNTRACED) == reader_) {
        stopped = WIFSTOPPED(reader_status);
        reader_gone = !stopped;
      }
      if (stopped && all(kBlocked)) {
        ::kill(reader_, SIGCONT);
        stopped = false;
      }
      if (!reader_gone && all(kSent)) ReaderBecomes(kWritersDone);
      if (reader_gone && reader_log_.flag() < kEndedWell) ReaderBecomes(EndOf(reader_status));
      return reader_gone && std::find(gone.begin(), gone.end(), false) == gone.end();
    });
    for (size_t i = 0; i < writers_.size(); ++i) {
      killed_.push_back(WIFSIGNALED(statuses[i]) && WTERMSIG(statuses[i]) == SIGKILL);
      if (!killed_.back() && statuses[i] != 0)
        Find(absl::StrCat("writer ", i, " ended with ", statuses[i]));
    }
    reader_killed_ = WIFSIGNALED(reader_status) && WTERMSIG(reader_status) == SIGKILL;
    if (!reader_killed_ && reader_status != 0)
      Find(absl::StrCat("the reader ended with ", reader_status));
  }

  uint32_t EndOf(int reader_status) const {
    const std::vector<std::string> lines = reader_log_.Lines();
    const bool closed = std::find(lines.begin(), lines.end(), "F closed") != lines.end();
    return closed || WIFSIGNALED(reader_status) ? kEndedEarly : kEndedWell;
  }

  void Find(std::string text) { outcome_.findings.push_back(std::move(text)); }

  void Reach(const std::string& name) { outcome_.reached.insert(name); }

  void Judge() {
    std::map<Key, std::vector<Item>> delivered;
    for (const std::string& line : reader_log_.Lines()) {
      std::istringstream text(line);
      std::string what;
      Key key;
      text >> what;
      if (what == "X") Find("reader: " + line.substr(2));
      if (what == "F") Reach("reader " + line.substr(2));
      all_read_ &= line != "F closed";
      if (what != "D") continue;
      text >> key.first >> key.second;
      delivered[key].push_back(ItemOf(text));
    }
    if (reader_killed_) Reach("reader killed");
    all_read_ &= !reader_killed_;
    std::set<int32_t> senders;
    for (const auto& [key, items] : delivered) senders.insert(key.first);
    if (senders.size() > 1) Reach("several senders");
    for (size_t i = 0; i < writers_.size(); ++i) JudgeWriter(i, delivered);
    for (const auto& [key, items] : delivered) {
      Find(absl::StrCat("delivered from ", key.first, ", stream ", key.second,
                        ": nobody wrote there"));
    }
    Check();
  }

  // Takes out of `delivered` what the writer's streams are to have brought.
  void JudgeWriter(size_t i, std::map<Key, std::vector<Item>>& delivered) {
    const std::string name = absl::StrCat("writer ", i);
    const WriterReport report =
        WriterLog(writers_[i], name, killed_[i], outcome_.findings).Read(*writer_logs_[i]);
    if (killed_[i]) Reach("writer killed");
    if (report.threads.size() > 1) Reach("threads");
    for (const std::string& fact : report.facts) Reach(fact);
    for (const auto& [key, written] : report.by_stream) {
      for (const Written* const message : written) {
        if (message->failed) Reach("failed");
      }
      const std::vector<Item>& items = delivered[key];
      if (!Explains(written, items, all_read_)) {
        Find(absl::StrCat(name, ", stream ", key.second, ": ", written.size(), " written, ",
                          items.size(), " delivered; one is lost, or was not written so"));
      }
      delivered.erase(key);
    }
  }

  void Check() {
    const conversation::Setup& setup = run_.conversation.setup;
    std::map<uint64_t, std::string> events;
    const auto collect = [&](const SharedLog& log) {
      for (const std::string& line : log.Lines()) {
        if (line.rfind("T ", 0) != 0) continue;
        const size_t space = line.find(' ', 2);
        const uint64_t sequence = std::stoull(line.substr(2, space - 2));
        // The trace's clock counts events: what a process was killed in the middle of is
        // not "unfinished for long", however slow this machine is (FRG-5).
        std::string& event = events[sequence] = line.substr(space + 1);
        event.insert(event.size() - 1, absl::StrFormat(",\"time\":%.6f", double(sequence) * 1e-6));
      }
    };
    collect(reader_log_);
    for (const auto& log : writer_logs_) collect(*log);
    std::string& trace = outcome_.trace;
    trace = absl::StrCat(
        "{\"portproof\":1,\"profile\":\"", std::string(RealProfile(setup).newest),
        "\",\"byte_order\":\"little\"}\n{\"ev\":\"open\",\"port\":\"p\",\"max_size\":",
        sizes_.max_size, ",\"max_share\":", sizes_.max_share, ",\"kind\":\"seqpacket\"}\n");
    for (const auto& [sequence, event] : events) {
      absl::StrAppend(&trace, event, "\n");
      if (event.find("\"EPIPE\"") != std::string::npos) Reach("EPIPE");
      if (event.find("\"EAGAIN\"") != std::string::npos) Reach("socket full");
      if (event.find("\"fds\":2") != std::string::npos) Reach("two fds");
      if (event.find("\"segment_bytes\"") != std::string::npos) Reach("segment");
    }
    for (const pid_t pid : writers_) {
      absl::StrAppend(&trace, "{\"ev\":\"exit\",\"pid\":", pid, "}\n");
    }
    absl::StrAppend(&trace, "{\"ev\":\"exit\",\"pid\":", reader_, "}\n");
    const TraceReport report = JudgeText(trace);
    for (const std::string& rule : Broken(report)) Find("check says " + rule);
    if (report.result.counts.fragmented_streams != 0) {
      Reach(sizes_ == PortSizes() ? "fragmented, default sizes" : "fragmented");
    }
    if (report.result.counts.mmap_datagrams != 0) Reach("references");
  }

  const RealRun& run_;
  RealOutcome outcome_;
  PortSizes sizes_;
  SharedLog reader_log_;
  std::vector<std::unique_ptr<SharedLog>> writer_logs_;
  std::vector<pid_t> writers_;
  pid_t reader_ = 0;
  std::vector<bool> killed_;
  bool reader_killed_ = false;
  bool all_read_ = true;
};

}  // namespace

RealOutcome PlayForReal(const RealRun& run) { return Stage(run).Play(); }

}  // namespace portproof
