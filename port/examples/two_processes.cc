// A port between two processes: the parent sends, the child receives and says by its exit
// status whether all of it came.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "port/receiver.h"
#include "port/sender.h"

using namespace portproof;

constexpr uint32_t kMessages = 10;
constexpr size_t kBytes = 1'000'000;

bool Receive(const Profile& profile, OwnedFd socket, PortSizes sizes) {
  Workspace workspace;
  uint32_t messages = 0;
  auto receiver = Receiver::Adopt(
      workspace, std::move(socket), {.profile = &profile, .sizes = sizes}, [&](Message& message) {
        messages += message.bytes() == kBytes && message.sender == ::getppid();
      });
  if (!receiver.ok()) return false;
  Next next = Next::kCallAgain;
  while ((next = (*receiver)->Turn()) != Next::kEnd) {  // the end: nobody can send any more
    pollfd readable = {(*receiver)->fd(), POLLIN, 0};
    if (next == Next::kWait) ::poll(&readable, 1, -1);
    if (next == Next::kRetry) ::poll(nullptr, 0, 1);
  }
  std::printf("%u messages of %zu bytes\n", messages, kBytes);
  return messages == kMessages;
}

bool Send(const Profile& profile, OwnedFd socket, PortSizes sizes) {
  Workspace workspace;
  auto sender = Sender::Adopt(workspace, std::move(socket), {.profile = &profile, .sizes = sizes});
  if (!sender.ok()) return false;
  const std::string text(kBytes, 'x');  // stays until its buffers complete
  const Buffer buffer = PlainBuffer(text);
  const uint8_t type = *NumberOf(profile, Type::kData);
  for (uint32_t i = 0; i < kMessages; ++i) {
    const Outgoing message = {.type = type, .stream = i, .chain = {&buffer, 1}};
    if ((*sender)->Write(message) != WriteAnswer::kAccepted) return false;
  }
  while ((*sender)->queued_messages() != 0) {
    const short wanted = (*sender)->wants_writable() ? POLLOUT : 0;
    pollfd polled = {(*sender)->fd(), wanted, 0};
    const auto retry_ms = (*sender)->retry_ms();
    ::poll(&polled, 1, retry_ms ? static_cast<int>(*retry_ms) : -1);
    if (polled.revents == 0 && retry_ms) (*sender)->OnRetry();
    if ((polled.revents & POLLOUT) != 0) (*sender)->OnWritable();
    if ((polled.revents & (POLLERR | POLLHUP)) != 0) (*sender)->OnHangUp();
  }
  std::vector<Completion> completions;
  (*sender)->TakeCompletions(completions);
  size_t sent = 0;
  for (const Completion& completion : completions) sent += completion.ok;
  return sent == kMessages;
}

int main() {
  const Profile& profile = *ResolveProfile("unit-1.35.0")->profile;
  auto pair = SocketPair::Create(profile);
  if (!pair.ok()) return 1;
  const pid_t child = ::fork();
  if (child == 0) {
    pair->send_end.Close();
    return Receive(profile, std::move(pair->receive_end), pair->sizes) ? 0 : 1;
  }
  pair->receive_end.Close();
  const bool sent = Send(profile, std::move(pair->send_end), pair->sizes);
  int status = -1;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return 1;
  return sent && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}
