// A port with both ends in one process: a message in, the same message out.
#include <cstdio>

#include "port/receiver.h"
#include "port/sender.h"

using namespace portproof;

int main() {
  const Profile& profile = *ResolveProfile("unit-1.35.0")->profile;
  Workspace workspace;  // what a loop lends to its ports
  auto pair = SocketPair::Create(profile);
  if (!pair.ok()) return 1;
  uint64_t received = 0;
  const auto print = [&received](Message& message) {
    const std::span<const uint8_t> text = message.payload.front().bytes();
    std::printf("stream %u: ", message.header.stream);
    received += std::fwrite(text.data(), 1, text.size(), stdout);
  };
  auto receiver = Receiver::Adopt(workspace, std::move(pair->receive_end),
                                  {.profile = &profile, .sizes = pair->sizes}, print);
  auto sender = Sender::Adopt(workspace, std::move(pair->send_end),
                              {.profile = &profile, .sizes = pair->sizes});
  if (!receiver.ok() || !sender.ok()) return 1;

  const Buffer hello = PlainBuffer("Hello, port\n");
  const uint8_t type = *NumberOf(profile, Type::kData);
  const Outgoing message = {.type = type, .stream = 7, .chain = {&hello, 1}};
  if ((*sender)->Write(message) != WriteAnswer::kAccepted) return 1;
  (*receiver)->Turn();
  return received == hello.bytes ? 0 : 1;
}
