// One loop with both ends of a port, by epoll, edge- or level-triggered. It sends messages
// larger than the socket holds, and counts its calls of epoll_ctl.
//   epoll_loop edge|level          nothing goes wrong
//   epoll_loop edge|level short    the system is short of memory now and then
//   epoll_loop edge|level gone     the receive end goes away, with messages queued and without
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "port/examples/short_of_memory.h"
#include "port/receiver.h"
#include "port/sender.h"

using namespace portproof;

namespace {

constexpr size_t kMessages = 50;
constexpr size_t kBytes = 300'000;
constexpr uint32_t kReads = 4;  // less than the socket holds: turns end before it is empty
constexpr int kControlsShortMax = 300;
constexpr int kRoundsGoneMax = 3;  // a loop that spins has more

class Loop {
 public:
  Loop(bool edge, Sender& sender, Receiver& receiver)
      : edge_(edge), sender_(sender), receiver_(receiver), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    const uint32_t edge_flag = edge_ ? uint32_t{EPOLLET} : 0;
    Control(EPOLL_CTL_ADD, receiver_.fd(), EPOLLIN | edge_flag);
    // Edge-triggered, writability is watched all the time, and nothing need be changed.
    // EPOLLERR and EPOLLHUP are told whether asked for or not.
    Control(EPOLL_CTL_ADD, sender_.fd(), edge_ ? EPOLLOUT | edge_flag : 0);
  }
  ~Loop() { ::close(epoll_); }

  // One wait and what follows. False: both ends are closed.
  bool Turn() {
    epoll_event events[4] = {};
    const int count = ::epoll_wait(epoll_, events, 4, Timeout());
    ++rounds_;
    // No event will tell (RCV-7, RCV-6).
    bool readable = next_ == Next::kCallAgain || (next_ == Next::kRetry && count == 0);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd == receiver_.fd()) readable = true;
      if (events[i].data.fd == sender_.fd()) OnSenderEvent(events[i].events);
    }
    if (count == 0 && sender_.retry_ms()) sender_.OnRetry();
    if (readable) next_ = receiver_.Turn();
    Watch();
    return sender_.fd() >= 0 || receiver_.open();
  }

  // Level-triggered: what the ends ask for, where that changed. A receiver that is to be
  // called later is not watched meanwhile: what it left in the socket would end each wait.
  void Watch() {
    if (edge_) return;
    Want(sender_.fd(), sender_.wants_writable() ? uint32_t{EPOLLOUT} : 0, sender_events_);
    Want(receiver_.fd(), next_ == Next::kRetry ? 0 : uint32_t{EPOLLIN}, receiver_events_);
  }
  int controls() const { return controls_; }
  int rounds() const { return rounds_; }

 private:
  // On a send end they mean that the receive end is gone. Level-triggered they would be
  // told for ever: the socket leaves the loop, and what was queued fails.
  void OnSenderEvent(uint32_t events) {
    if ((events & (EPOLLERR | EPOLLHUP)) == 0) {
      sender_.OnWritable();
      return;
    }
    sender_.OnHangUp();
    Control(EPOLL_CTL_DEL, sender_.fd(), 0);
    sender_.Close();
  }
  void Want(int fd, uint32_t events, uint32_t& watched) {
    if (fd < 0 || events == watched) return;
    watched = events;
    Control(EPOLL_CTL_MOD, fd, events);
  }
  int Timeout() const {
    if (next_ == Next::kCallAgain) return 0;
    if (next_ == Next::kRetry) return 1;
    return sender_.retry_ms() ? static_cast<int>(*sender_.retry_ms()) : -1;
  }
  void Control(int operation, int fd, uint32_t events) {
    epoll_event event = {};
    event.events = events;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_, operation, fd, &event) != 0) {  // nobody would ever call the port again
      std::perror("epoll_ctl");
      std::exit(1);
    }
    ++controls_;
  }

  bool edge_;
  Sender& sender_;
  Receiver& receiver_;
  int epoll_;
  uint32_t sender_events_ = 0;
  uint32_t receiver_events_ = EPOLLIN;
  Next next_ = Next::kWait;
  int controls_ = 0;
  int rounds_ = 0;
};

struct Port {
  explicit Port(Kernel& kernel = Kernel::Real()) : workspace(kernel) {}

  Workspace workspace;
  std::unique_ptr<Receiver> receiver;
  std::unique_ptr<Sender> sender;
  size_t delivered = 0;
  std::vector<uint8_t> bytes = std::vector<uint8_t>(kBytes, 'x');

  bool Open() {
    const Profile& profile = *ResolveProfile("unit-1.35.0")->profile;
    auto pair = SocketPair::Create(profile);
    if (!pair.ok()) return false;
    auto receive_end =
        Receiver::Adopt(workspace, std::move(pair->receive_end),
                        {.profile = &profile, .sizes = pair->sizes, .reads_per_turn = kReads},
                        [this](Message& message) { delivered += message.bytes() == kBytes; });
    auto send_end = Sender::Adopt(workspace, std::move(pair->send_end),
                                  {.profile = &profile, .sizes = pair->sizes});
    if (!receive_end.ok() || !send_end.ok()) return false;
    receiver = *std::move(receive_end);
    sender = *std::move(send_end);
    return true;
  }

  bool Write() {
    const Buffer buffer = PlainBuffer(bytes);
    for (uint32_t i = 0; i < kMessages; ++i) {
      const Outgoing message = {.type = 27, .stream = i, .chain = {&buffer, 1}};
      if (sender->Write(message) != WriteAnswer::kAccepted) return false;
    }
    return true;
  }

  // How many messages completed, well or not.
  size_t Completed(bool ok) const {
    std::vector<Completion> completions;
    sender->TakeCompletions(completions);
    size_t count = 0;
    for (const Completion& completion : completions) count += completion.ok == ok;
    return count;
  }
};

bool Converse(bool edge, Kernel& kernel, int controls_max) {
  Port port(kernel);
  if (!port.Open()) return false;
  Loop loop(edge, *port.sender, *port.receiver);
  if (!port.Write()) return false;
  loop.Watch();
  while (port.delivered < kMessages) {
    if (!loop.Turn()) return false;
  }
  const int controls = loop.controls();
  const size_t sent = port.Completed(true);
  port.sender->Close();  // the loop hears of it by the receive end
  while (loop.Turn()) {
  }
  std::printf("%zu messages, %d calls of epoll_ctl\n", port.delivered, controls);
  return sent == kMessages && controls <= controls_max;
}

bool Gone(bool edge, bool queued) {
  Port port;
  if (!port.Open()) return false;
  Loop loop(edge, *port.sender, *port.receiver);
  if (queued && !port.Write()) return false;
  loop.Watch();
  port.receiver->Close();
  while (loop.Turn()) {
    if (loop.rounds() > kRoundsGoneMax) return false;
  }
  const size_t failed = port.Completed(false);
  std::printf("%zu messages failed, %d rounds\n", failed, loop.rounds());
  return failed == (queued ? kMessages : 0);
}

}  // namespace

int main(int argc, char** argv) {
  const bool edge = argc < 2 || std::string_view(argv[1]) == "edge";
  const std::string_view mode = argc > 2 ? argv[2] : "";
  examples::ShortOfMemory short_of_memory;
  if (mode == "gone") return Gone(edge, true) && Gone(edge, false) ? 0 : 1;
  if (mode == "short") return Converse(edge, short_of_memory, edge ? 2 : kControlsShortMax) ? 0 : 1;
  return Converse(edge, Kernel::Real(), edge ? 2 : 4) ? 0 : 1;
}
