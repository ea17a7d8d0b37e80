// A port between two processes: the child receives, the parent sends.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <utility>

#include "port/receiver.h"
#include "port/sender.h"

using namespace portproof;

int main() {
  const Profile& profile = *ResolveProfile("unit-1.35.0")->profile;
  const uint8_t data = *NumberOf(profile, Type::kData);
  auto pair = SocketPair::Create(profile);
  if (!pair.ok()) return 1;
  Workspace workspace;

  if (::fork() == 0) {
    pair->send_end.Close();
    auto receiver = Receiver::Adopt(
        workspace, std::move(pair->receive_end), {.profile = &profile}, [](Message& message) {
          std::printf("%llu bytes on stream %u from %s\n",
                      static_cast<unsigned long long>(message.bytes()), message.header.stream,
                      message.sender == ::getppid() ? "my parent" : "?");
        });
    if (!receiver.ok()) return 1;
    while ((*receiver)->Turn() != Next::kEnd) {
      pollfd readable = {(*receiver)->fd(), POLLIN, 0};
      if ((*receiver)->open()) ::poll(&readable, 1, -1);
    }
    return 0;
  }

  pair->receive_end.Close();
  auto sender = Sender::Adopt(workspace, std::move(pair->send_end), {.profile = &profile});
  if (!sender.ok()) return 1;
  const std::string text(1'000'000, 'x');
  const Buffer buffer = PlainBuffer({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  if ((*sender)->Write({.type = data, .stream = 7, .chain = {&buffer, 1}}) !=
      WriteAnswer::kAccepted) {
    return 1;
  }
  while ((*sender)->queued_messages() != 0) {
    pollfd writable = {(*sender)->fd(), POLLOUT, 0};
    ::poll(&writable, 1, (*sender)->retry_ms() ? static_cast<int>(*(*sender)->retry_ms()) : -1);
    (*sender)->retry_ms() ? (*sender)->OnRetry() : (*sender)->OnWritable();
  }
  (*sender)->Close();
  int status = 1;
  ::wait(&status);
  return status;
}
