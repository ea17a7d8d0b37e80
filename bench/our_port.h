// Our ports as port_bench uses them, each with its loop, which is poll; and the baseline's
// flood over the same sockets.
#ifndef PORTPROOF_BENCH_OUR_PORT_H_
#define PORTPROOF_BENCH_OUR_PORT_H_

#include <poll.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "bench/raw_port.h"
#include "bench/two_processes.h"
#include "port/receiver.h"
#include "port/sender.h"

namespace portproof::bench {

inline constexpr int kPairs = 15;
inline constexpr uint8_t kData = 27;
inline constexpr uint32_t kMaxSize = 16384;

const Profile& Newest();
SocketPair NewPair();

// Our send end with its loop, which is poll.
struct OurSender {
  explicit OurSender(int fd, Workspace& workspace) : workspace(workspace) {
    auto adopted = Sender::Adopt(workspace, OwnedFd(::dup(fd)), {.profile = &Newest()});
    if (!adopted.ok()) std::abort();
    sender = *std::move(adopted);
  }
  void Settle() {
    while (sender->queued_messages() != 0) {
      WaitFor(sender->fd(), POLLOUT);
      sender->OnWritable();
    }
    completed += Completed();
  }
  uint64_t Completed() {
    completions.clear();
    sender->TakeCompletions(completions);
    return completions.size();
  }
  // Sixteen messages to a flush; what does not fit waits for room.
  void Send(uint64_t count, std::span<const Buffer> chain, bool batch) {
    for (uint64_t i = 0; i < count; ++i) {
      const bool wait = batch && i % 16 != 15 && i + 1 != count;
      const Outgoing message = {
          .type = kData, .stream = static_cast<uint32_t>(i), .batch = wait, .chain = chain};
      if (sender->Write(message) != WriteAnswer::kAccepted) std::abort();
      if (!wait) {
        if (sender->wants_writable()) Settle();
        completed += Completed();
      }
    }
    Settle();
  }

  Workspace& workspace;
  std::unique_ptr<Sender> sender;
  std::vector<Completion> completions;
  uint64_t completed = 0;
};

struct OurReceiver {
  using Look = std::function<void(Message&)>;

  OurReceiver(int fd, Workspace& workspace, ReassemblyLimits limits = {}, Look look = nullptr)
      : look(std::move(look)) {
    auto adopted =
        Receiver::Adopt(workspace, OwnedFd(::dup(fd)), {.profile = &Newest(), .limits = limits},
                        [this](Message& message) {
                          ++count;
                          bytes += message.bytes();
                          if (this->look) this->look(message);
                        });
    if (!adopted.ok()) std::abort();
    receiver = *std::move(adopted);
  }
  uint64_t Receive(uint64_t wanted) {
    count = bytes = 0;
    while (count < wanted) {
      const Next next = receiver->Turn();
      if (after_turn) after_turn();
      if (next == Next::kWait && count < wanted) WaitFor(receiver->fd(), POLLIN);
      if (next == Next::kEnd) std::abort();
    }
    return bytes;
  }

  std::unique_ptr<Receiver> receiver;
  Look look;
  std::function<void()> after_turn;
  uint64_t count = 0;
  uint64_t bytes = 0;
};

// `count` datagrams by sendmsg and recvmsg, or so many a call by their batch forms. With
// `memory_bytes` sender and receiver walk through so much memory, else they use the same
// few buffers again.
Cost RawFlood(size_t payload_bytes, uint64_t count, unsigned batch, size_t memory_bytes = 0);

}  // namespace portproof::bench

#endif  // PORTPROOF_BENCH_OUR_PORT_H_
