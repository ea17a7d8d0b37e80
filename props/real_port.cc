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

struct WriterReport {
  std::map<Key, std::vector<Item>> accepted;
  std::map<Key, std::vector<Item>> begun;  // also what a kill left without an answer
  std::map<std::pair<uint32_t, uint64_t>, uint64_t> buffers;  // by thread and id
  bool any_failed = false;
};

void RunReader(const RealRun& run, OwnedFd socket, const PortSizes& sizes, SharedLog& log,
               std::atomic<uint64_t>& sequence) {
  const size_t before = CountDescriptors() - 1;  // the socket goes
  {
    const Profile& profile = RealProfile(run.conversation.setup);
    TraceKernel kernel(log, sequence, ::getpid(), *NumberOf(profile, Type::kMmap),
                       run.reader == Reader::kKilled ? run.kill_reader_at : 0);
    Workspace workspace(kernel);
    std::vector<Payload> kept;
    uint64_t count = 0;
    auto adopted = Receiver::Adopt(
        workspace, std::move(socket),
        {.profile = &profile,
         .sizes = sizes,
         .reads_per_turn = run.reader == Reader::kSlow ? 1U : 64U,
         .observer =
             [&log](const Refusal& refusal) {
               log.Write(absl::StrCat("X refused ", std::string(Id(refusal.rule)), ": ",
                                      refusal.header ? ToString(*refusal.header) : "no header"));
             }},
        [&](Message& message) {
          std::string text;
          for (const Part& part : message.payload) {
            text.append(part.bytes().begin(), part.bytes().end());
          }
          log.Write(absl::StrCat("D ", message.header.pid, " ", message.header.stream, " ",
                                 message.header.type, " ", message.header.last, " ", text.size(),
                                 " ", HashOf(text), " ", message.fds.size()));
          if (++count % 3 == 0) kept.push_back(std::move(message.payload));
          if (kept.size() > 5) kept.clear();
        });
    if (!adopted.ok()) return log.Write(absl::StrCat("X ", adopted.status().ToString()));
    Receiver& receiver = **adopted;
    for (;;) {
      const Next next = receiver.Turn();
      if (next == Next::kEnd) break;
      if (run.reader == Reader::kSlow) ::sched_yield();
      pollfd polled = {receiver.fd(), POLLIN, 0};
      if (next == Next::kWait) ::poll(&polled, 1, -1);
    }
  }
  if (CountDescriptors() != before) log.Write("X descriptors leaked");
}

Item ItemOf(std::istringstream& text) {
  Item item;
  text >> item.type >> item.last >> item.bytes >> item.hash >> item.fds;
  return item;
}

WriterReport Read(const SharedLog& log, int32_t pid, const std::string& name, bool killed,
                  std::vector<std::string>& findings) {
  WriterReport report;
  std::map<std::pair<uint32_t, uint64_t>, uint64_t> completed;
  for (const std::string& line : log.Lines()) {
    std::istringstream text(line);
    std::string what;
    text >> what;
    uint32_t thread = 0;
    uint64_t id = 0;
    if (what == "X") findings.push_back(absl::StrCat(name, ": ", line.substr(2)));
    if (what == "W" || what == "A") {
      uint32_t stream = 0;
      text >> thread >> stream;
      const Item item = ItemOf(text);
      uint64_t buffers = 0;
      text >> id >> buffers;
      if (what == "W") report.begun[{pid, stream}].push_back(item);
      if (what == "A") report.accepted[{pid, stream}].push_back(item);
      if (what == "A") report.buffers[{thread, id}] = buffers;
    } else if (what == "C") {
      bool ok = false;
      text >> thread >> id >> ok;
      ++completed[{thread, id}];
      report.any_failed |= !ok;
    }
  }
  for (const auto& [key, buffers] : report.buffers) {
    const uint64_t done = completed[key];
    if (done == buffers || (killed && done < buffers)) continue;
    findings.push_back(absl::StrCat(name, ": message ", key.second, " of thread ", key.first,
                                    " has ", buffers, " buffers, completed ", done));  // CMP-1
  }
  return report;
}

bool IsSubsequence(const std::vector<Item>& part, const std::vector<Item>& whole) {
  auto at = whole.begin();
  for (const Item& item : part) {
    at = std::find(at, whole.end(), item);
    if (at == whole.end()) return false;
    ++at;
  }
  return true;
}

class Stage {
 public:
  explicit Stage(const RealRun& run) : run_(run) {}

  RealOutcome Play() {
    const conversation::Setup& setup = run_.conversation.setup;
    const Profile& profile = RealProfile(setup);
    const uint32_t max_size = std::max(64U, setup.payload_bytes() + 16);
    auto pair =
        SocketPair::Create(profile, {.max_size = max_size, .max_share = setup.share_bytes()});
    if (!pair.ok()) return {{pair.status().ToString()}, "", {}};
    const int small = 1;  // the kernel's smallest: the socket is full again and again
    ::setsockopt(pair->send_end.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    sizes_ = pair->sizes;
    reader_ = Start([&] {
      pair->send_end.Close();
      RunReader(run_, std::move(pair->receive_end), sizes_, reader_log_, sequence());
    });
    if (run_.reader == Reader::kStopped) ::kill(reader_, SIGSTOP);
    for (uint8_t i = 0; i < setup.senders; ++i)
      writer_logs_.push_back(std::make_unique<SharedLog>());
    for (uint8_t i = 0; i < setup.senders; ++i) {
      writers_.push_back(Start([&, i] {
        pair->receive_end.Close();
        RunWriter({run_, i, pair->send_end.get(), sizes_, *writer_logs_[i], sequence(),
                   reader_log_.flag()});
      }));
    }
    pair->receive_end.Close();
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

  // Writers close the socket when they have sent all; the reader ends when it has read
  // all; then the writers check their segments.
  void Conduct() {
    bool stopped = run_.reader == Reader::kStopped;
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
    while (std::find(gone.begin(), gone.end(), false) != gone.end() || !reader_gone) {
      for (size_t i = 0; i < writers_.size(); ++i) {
        if (!gone[i]) gone[i] = ::waitpid(writers_[i], &statuses[i], WNOHANG) == writers_[i];
      }
      if (!reader_gone) reader_gone = ::waitpid(reader_, &reader_status, WNOHANG) == reader_;
      if (stopped && all(kBlocked)) {
        ::kill(reader_, SIGCONT);
        stopped = false;
      }
      if (reader_gone) reader_log_.flag() = WIFSIGNALED(reader_status) ? kEndedBadly : kEndedWell;
      ::sched_yield();
    }
    for (size_t i = 0; i < writers_.size(); ++i) {
      killed_.push_back(WIFSIGNALED(statuses[i]) && WTERMSIG(statuses[i]) == SIGKILL);
      if (!killed_.back() && statuses[i] != 0)
        Find(absl::StrCat("writer ", i, " ended with ", statuses[i]));
    }
    reader_killed_ = WIFSIGNALED(reader_status) && WTERMSIG(reader_status) == SIGKILL;
    if (!reader_killed_ && reader_status != 0)
      Find(absl::StrCat("the reader ended with ", reader_status));
  }

  void Find(std::string text) { outcome_.findings.push_back(std::move(text)); }

  void Judge() {
    std::map<Key, std::vector<Item>> delivered;
    for (const std::string& line : reader_log_.Lines()) {
      std::istringstream text(line);
      std::string what;
      Key key;
      text >> what;
      if (what == "X") Find("reader: " + line.substr(2));
      if (what != "D") continue;
      text >> key.first >> key.second;
      delivered[key].push_back(ItemOf(text));
    }
    for (size_t i = 0; i < writers_.size(); ++i) {
      const std::string name = absl::StrCat("writer ", i);
      const WriterReport report =
          Read(*writer_logs_[i], writers_[i], name, killed_[i], outcome_.findings);
      const bool whole = !killed_[i] && !reader_killed_ && !report.any_failed;
      if (report.any_failed) outcome_.reached.insert("failed");
      for (const auto& [key, items] : report.accepted) {
        if (whole && delivered[key] != items) {
          Find(absl::StrCat(name, ", stream ", key.second, ": ", items.size(), " accepted, ",
                            delivered[key].size(), " delivered, or others"));
        }
      }
      for (const auto& [key, items] : delivered) {
        if (key.first != writers_[i]) continue;
        const auto found = report.begun.find(key);
        if (found == report.begun.end() || !IsSubsequence(items, found->second)) {
          Find(absl::StrCat(name, ", stream ", key.second, ": delivered what was not written"));
        }
      }
    }
    Check();
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
      if (event.find("\"EAGAIN\"") != std::string::npos) outcome_.reached.insert("socket full");
      if (event.find("\"fds\":2") != std::string::npos) outcome_.reached.insert("two fds");
      if (event.find("\"segment_bytes\"") != std::string::npos) outcome_.reached.insert("segment");
    }
    for (const pid_t pid : writers_) {
      absl::StrAppend(&trace, "{\"ev\":\"exit\",\"pid\":", pid, "}\n");
    }
    absl::StrAppend(&trace, "{\"ev\":\"exit\",\"pid\":", reader_, "}\n");
    const TraceReport report = JudgeText(trace);
    for (const std::string& rule : Broken(report)) Find("check says " + rule);
    if (report.result.counts.fragmented_streams != 0) outcome_.reached.insert("fragmented");
    if (report.result.counts.mmap_datagrams != 0) outcome_.reached.insert("references");
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
};

}  // namespace

RealOutcome PlayForReal(const RealRun& run) { return Stage(run).Play(); }

}  // namespace portproof
