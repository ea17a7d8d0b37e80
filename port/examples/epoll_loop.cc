// One loop with both ends of a port, by epoll, edge- or level-triggered. It sends messages
// larger than the socket holds, and counts its calls of epoll_ctl.
//   epoll_loop edge|level
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "port/receiver.h"
#include "port/sender.h"

using namespace portproof;

namespace {

constexpr int kMessages = 50;
constexpr size_t kBytes = 300'000;

class Loop {
 public:
  Loop(bool edge, Sender& sender, Receiver& receiver)
      : edge_(edge), sender_(sender), receiver_(receiver), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    const uint32_t edge_flag = edge_ ? uint32_t{EPOLLET} : 0;
    Control(EPOLL_CTL_ADD, receiver_.fd(), EPOLLIN | edge_flag);
    // Edge-triggered, writability is watched all the time, and nothing need be changed.
    Control(EPOLL_CTL_ADD, sender_.fd(), edge_ ? EPOLLOUT | edge_flag : 0);
  }
  ~Loop() { ::close(epoll_); }

  // One wait and what follows. False: the port is closed.
  bool Turn() {
    epoll_event events[4] = {};
    const int count = ::epoll_wait(epoll_, events, 4, Timeout());
    again_ = false;
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd == receiver_.fd()) again_ = true;
      if (events[i].data.fd == sender_.fd()) sender_.OnWritable();
    }
    if (count == 0 && sender_.retry_ms()) sender_.OnRetry();
    if (again_ || call_again_) {
      const Next next = receiver_.Turn();
      call_again_ = next == Next::kCallAgain;  // RCV-7: no event will tell
      retry_ = next == Next::kRetry;
      if (next == Next::kEnd) return false;
    }
    Watch();
    return true;
  }

  // What the sender asks for, where that changed.
  void Watch() {
    if (edge_ || sender_.fd() < 0 || sender_.wants_writable() == watching_) return;
    watching_ = !watching_;
    Control(EPOLL_CTL_MOD, sender_.fd(), watching_ ? uint32_t{EPOLLOUT} : 0);
  }
  int controls() const { return controls_; }

 private:
  int Timeout() const {
    if (call_again_) return 0;
    if (retry_) return 1;
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
  bool watching_ = false;
  bool again_ = false;
  bool call_again_ = false;
  bool retry_ = false;
  int controls_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const bool edge = argc < 2 || std::string_view(argv[1]) == "edge";
  const Profile& profile = *ResolveProfile("unit-1.35.0")->profile;
  auto pair = SocketPair::Create(profile);
  if (!pair.ok()) return 1;
  Workspace workspace;
  int delivered = 0;
  auto receiver =
      Receiver::Adopt(workspace, std::move(pair->receive_end), {.profile = &profile},
                      [&](Message& message) { delivered += message.bytes() == kBytes; });
  auto sender = Sender::Adopt(workspace, std::move(pair->send_end), {.profile = &profile});
  if (!receiver.ok() || !sender.ok()) return 1;
  Loop loop(edge, **sender, **receiver);
  const std::vector<uint8_t> bytes(kBytes, 'x');
  const Buffer buffer = PlainBuffer(bytes);
  for (uint32_t i = 0; i < kMessages; ++i) {
    const Outgoing message = {.type = 27, .stream = i, .chain = {&buffer, 1}};
    if ((*sender)->Write(message) != WriteAnswer::kAccepted) return 1;
  }
  loop.Watch();
  while (delivered < kMessages) {
    if (!loop.Turn()) return 1;
  }
  const int controls = loop.controls();
  (*sender)->Close();
  while (loop.Turn()) {
  }
  std::printf("%d messages, %d calls of epoll_ctl\n", delivered, controls);
  return controls <= 4 ? 0 : 1;
}
