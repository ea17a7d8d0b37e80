// Many ports in one loop, by poll: each message is sent on to the next port, descriptor
// and all, until it has gone round.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "port/receiver.h"
#include "port/sender.h"

using namespace portproof;

namespace {

constexpr size_t kPorts = 8;

struct Port {
  std::unique_ptr<Sender> sender;
  std::unique_ptr<Receiver> receiver;
  std::vector<Payload> sending;  // kept until it completes
};

}  // namespace

int main() {
  const Profile& profile = *ResolveProfile("unit-1.35.0")->profile;
  Workspace workspace;  // one for all
  std::vector<Port> ports(kPorts);
  bool round = false;
  for (size_t i = 0; i < kPorts; ++i) {
    auto pair = SocketPair::Create(profile);
    if (!pair.ok()) return 1;
    auto receiver = Receiver::Adopt(
        workspace, std::move(pair->receive_end), {.profile = &profile}, [&, i](Message& message) {
          if (i + 1 == kPorts) {
            round = message.bytes() == 100'000 && message.fds.size() == 1;
            return;
          }
          Port& next = ports[i + 1];
          next.sending.push_back(std::move(message.payload));  // taken: it is ours now
          std::vector<Buffer> chain;
          for (const Part& part : next.sending.back()) chain.push_back(PlainBuffer(part.bytes()));
          const int fd = message.fds.front().Release();
          const Outgoing on = {.type = 27, .close_fds = true, .fds = {&fd, 1}, .chain = chain};
          if (next.sender->Write(on) != WriteAnswer::kAccepted) ::close(fd);
        });
    auto sender = Sender::Adopt(workspace, std::move(pair->send_end), {.profile = &profile});
    if (!receiver.ok() || !sender.ok()) return 1;
    ports[i].receiver = *std::move(receiver);
    ports[i].sender = *std::move(sender);
  }
  const std::vector<uint8_t> bytes(100'000, 'x');
  const Buffer buffer = PlainBuffer(bytes);
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const Outgoing first = {.type = 27, .close_fds = true, .fds = {&fd, 1}, .chain = {&buffer, 1}};
  if (ports[0].sender->Write(first) != WriteAnswer::kAccepted) return 1;
  while (!round) {
    std::vector<pollfd> polled;
    for (const Port& port : ports) {
      polled.push_back({port.receiver->fd(), POLLIN, 0});
      const short room = port.sender->wants_writable() ? POLLOUT : 0;
      polled.push_back({port.sender->fd(), room, 0});
    }
    ::poll(polled.data(), polled.size(), -1);
    for (size_t i = 0; i < kPorts; ++i) {
      if (polled[2 * i].revents != 0) ports[i].receiver->Turn();
      if (polled[2 * i + 1].revents != 0) ports[i].sender->OnWritable();
    }
  }
  std::printf("round\n");
  return 0;
}
