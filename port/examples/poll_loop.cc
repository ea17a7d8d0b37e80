// Many ports in one loop, by poll: each message is sent on to the next port, descriptor
// and all, until it has gone round; then the ring is closed port by port.
//   poll_loop          nothing goes wrong
//   poll_loop short    the system is short of memory now and then
//   poll_loop gone     the first receive end goes away while messages are queued for it
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "port/examples/short_of_memory.h"
#include "port/receiver.h"
#include "port/sender.h"

using namespace portproof;

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kPorts = 8;
constexpr size_t kMessages = 20;
constexpr size_t kBytes = 100'000;
constexpr uint32_t kReads = 4;    // less than a socket holds: turns end before it is empty
constexpr int kRoundsMax = 1000;  // a loop that spins has more

struct Port {
  std::unique_ptr<Sender> sender;
  std::unique_ptr<Receiver> receiver;
  Next next = Next::kWait;                    // what the receiver asked for
  std::optional<Clock::time_point> retry_at;  // when the sender is to be called again
  std::map<uint64_t, Part> sending;           // by buffer id: kept until it completes
  uint64_t next_buffer_id = 0;
  size_t completed = 0;
  size_t failed = 0;
  bool ending = false;  // no more is written to it
};

class Ring {
 public:
  Ring(Kernel& kernel, bool gone) : workspace_(kernel), ports_(kPorts), gone_(gone) {}

  bool Open() {
    for (size_t i = 0; i < kPorts; ++i) {
      if (!OpenPort(i)) return false;
    }
    return true;
  }

  bool Begin() {
    const Buffer buffer = PlainBuffer(bytes_);
    for (uint32_t i = 0; i < kMessages; ++i) {
      const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
      const Outgoing message = {
          .type = 27, .stream = i, .close_fds = true, .fds = {&fd, 1}, .chain = {&buffer, 1}};
      if (ports_[0].sender->Write(message) != WriteAnswer::kAccepted) return false;
    }
    ports_[0].ending = !gone_;  // there, the hang-up ends it
    return true;
  }

  // One wait and what follows. False: all is closed.
  bool Turn() {
    std::vector<pollfd> polled;
    int timeout_ms = -1;
    for (Port& port : ports_) Ask(port, polled, timeout_ms);
    ::poll(polled.data(), polled.size(), timeout_ms);
    bool open = false;
    for (size_t i = 0; i < kPorts; ++i) {
      Receive(i, polled[2 * i].revents);
      Send(ports_[i], polled[2 * i + 1].revents);
      open |= ports_[i].receiver->open() || ports_[i].sender->fd() >= 0;
    }
    return open;
  }

  // Whether all went round, or all were failed, and nothing is kept.
  bool Good() const {
    for (const Port& port : ports_) {
      if (!port.sending.empty()) return false;
    }
    const Port& first = ports_.front();
    std::printf("%zu messages went round, %zu of %zu failed\n", round_, first.failed,
                first.completed);
    if (gone_) return first.completed == kMessages && first.failed > 0 && round_ == 0;
    return first.completed == kMessages && first.failed == 0 && round_ == kMessages;
  }

 private:
  bool OpenPort(size_t i) {
    const Profile& profile = *ResolveProfile("unit-1.35.0")->profile;
    auto pair = SocketPair::Create(profile);
    if (!pair.ok()) return false;
    auto receiver =
        Receiver::Adopt(workspace_, std::move(pair->receive_end),
                        {.profile = &profile, .sizes = pair->sizes, .reads_per_turn = kReads},
                        [this, i](Message& message) { OnMessage(i, message); });
    auto sender = Sender::Adopt(workspace_, std::move(pair->send_end),
                                {.profile = &profile, .sizes = pair->sizes});
    if (!receiver.ok() || !sender.ok()) return false;
    ports_[i].receiver = *std::move(receiver);
    ports_[i].sender = *std::move(sender);
    return true;
  }

  void OnMessage(size_t i, Message& message) {
    if (gone_ && i == 0) {
      ports_[0].receiver->Close();
    } else if (i + 1 == kPorts) {
      round_ += message.bytes() == kBytes && message.fds.size() == 1;
    } else {
      SendOn(ports_[i + 1], message);
    }
  }

  // Takes the message's parts and its descriptor: they are ours now.
  static void SendOn(Port& port, Message& message) {
    std::vector<Buffer> chain;
    for (Part& part : message.payload) {
      chain.push_back(PlainBuffer(part.bytes(), port.next_buffer_id));
      port.sending.emplace(port.next_buffer_id++, std::move(part));
    }
    const int fd = message.fds.front().Release();
    const Outgoing on = {.type = 27,
                         .stream = message.header.stream,
                         .close_fds = true,
                         .fds = {&fd, 1},
                         .chain = chain};
    if (port.sender->Write(on) == WriteAnswer::kAccepted) return;
    ::close(fd);  // refused: all is ours still
    for (const Buffer& buffer : chain) port.sending.erase(buffer.id);
  }

  // What is closed has the descriptor -1, which poll passes over. A receiver that is to be
  // called later is not watched meanwhile: what it left in the socket would end each wait.
  static void Ask(Port& port, std::vector<pollfd>& polled, int& timeout_ms) {
    const auto at_most = [&timeout_ms](int64_t ms) {
      const int limit = static_cast<int>(std::max<int64_t>(ms, 0));
      timeout_ms = timeout_ms < 0 ? limit : std::min(timeout_ms, limit);
    };
    if (port.next == Next::kCallAgain) at_most(0);
    if (port.next == Next::kRetry) at_most(1);
    if (const auto retry_ms = port.sender->retry_ms()) {
      if (!port.retry_at) port.retry_at = Clock::now() + std::chrono::milliseconds(*retry_ms);
      at_most(std::chrono::ceil<std::chrono::milliseconds>(*port.retry_at - Clock::now()).count());
    }
    const short readable = port.next == Next::kWait ? POLLIN : 0;
    const short writable = port.sender->wants_writable() ? POLLOUT : 0;
    polled.push_back({port.receiver->fd(), readable, 0});
    polled.push_back({port.sender->fd(), writable, 0});
  }

  void Receive(size_t i, short events) {
    Port& port = ports_[i];
    if (events == 0 && port.next == Next::kWait) return;
    port.next = port.receiver->Turn();
    if (port.next != Next::kEnd) return;
    port.next = Next::kWait;
    if (i + 1 < kPorts) ports_[i + 1].ending = true;
  }

  static void Send(Port& port, short events) {
    Sender& sender = *port.sender;
    const bool hung_up = (events & (POLLERR | POLLHUP)) != 0;
    if (hung_up) {
      sender.OnHangUp();  // fails what is queued
    } else if ((events & POLLOUT) != 0) {
      sender.OnWritable();
    }
    if (port.retry_at && Clock::now() >= *port.retry_at) {
      port.retry_at.reset();
      sender.OnRetry();
    }
    std::vector<Completion> completions;
    sender.TakeCompletions(completions);
    for (const Completion& completion : completions) {
      ++port.completed;
      port.failed += !completion.ok;
      port.sending.erase(completion.buffer_id);
    }
    // A socket that hung up says so for ever.
    if (hung_up || (port.ending && sender.queued_messages() == 0)) sender.Close();
  }

  Workspace workspace_;  // one for all
  std::vector<Port> ports_;
  std::vector<uint8_t> bytes_ = std::vector<uint8_t>(kBytes, 'x');
  size_t round_ = 0;
  bool gone_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  examples::ShortOfMemory short_of_memory;
  Ring ring(mode == "short" ? short_of_memory : Kernel::Real(), mode == "gone");
  if (!ring.Open() || !ring.Begin()) return 1;
  int rounds = 1;
  while (ring.Turn()) {
    if (++rounds > kRoundsMax) return 1;
  }
  std::printf("%d rounds\n", rounds);
  return ring.Good() ? 0 : 1;
}
