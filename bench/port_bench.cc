// What a message costs over a real port, beside the bare system calls.
//   bazel run --config=opt //bench:port_bench --
//   [all|stub|flood|local|pingpong|large|shared|streams]
// Fifteen pairs of runs, the baseline and ours in turn; medians of the pairs' ratios.
// The processes are pinned, one to a CPU, but for pingpong: both on one.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/raw_port.h"
#include "bench/two_processes.h"
#include "port/receiver.h"
#include "port/sender.h"

namespace portproof::bench {
namespace {

constexpr int kPairs = 15;
constexpr uint8_t kData = 27;
constexpr uint32_t kMaxSize = 16384;

const Profile& Newest() { return *ResolveProfile("unit-1.35.0")->profile; }

SocketPair NewPair() {
  auto pair = SocketPair::Create(Newest(), {.max_size = kMaxSize});
  if (!pair.ok()) std::abort();
  return *std::move(pair);
}

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
      if (next == Next::kWait && count < wanted) WaitFor(receiver->fd(), POLLIN);
      if (next == Next::kEnd) std::abort();
    }
    return bytes;
  }

  std::unique_ptr<Receiver> receiver;
  Look look;
  uint64_t count = 0;
  uint64_t bytes = 0;
};

struct Ratios {
  std::vector<double> cpu;
  std::vector<double> rate;
  std::vector<double> raw_cpu;
  std::vector<double> our_cpu;

  void Add(const Cost& raw, const Cost& ours, double units) {
    cpu.push_back(ours.cpu_ns / raw.cpu_ns);
    rate.push_back(raw.wall_ns / ours.wall_ns);
    raw_cpu.push_back(raw.cpu_ns / units);
    our_cpu.push_back(ours.cpu_ns / units);
  }
  void Print(const char* name, size_t bytes) const {
    std::printf("%-24s %9zu bytes  raw %9.0f ns  ours %9.0f ns  CPU x %.3f  rate x %.3f\n", name,
                bytes, Median(raw_cpu), Median(our_cpu), Median(cpu), Median(rate));
    std::fflush(stdout);
  }
};

Cost RawFlood(size_t payload_bytes, uint64_t count, unsigned batch) {
  const SocketPair pair = NewPair();
  return RunPair(
      [&] { RawSender(pair.send_end.get(), payload_bytes, batch).Send(count); },
      [&] { return RawReceiver(pair.receive_end.get(), kMaxSize + 16, batch).Receive(count); });
}

Cost OurFlood(size_t payload_bytes, uint64_t count) {
  const SocketPair pair = NewPair();
  const std::vector<uint8_t> payload(payload_bytes, 'x');
  const Buffer buffer = PlainBuffer(payload);
  const std::span<const Buffer> chain(&buffer, payload_bytes == 0 ? 0 : 1);
  Workspace sending;
  Workspace receiving;
  OurSender sender(pair.send_end.get(), sending);
  std::unique_ptr<OurReceiver> receiver;  // adopted in its own process
  return RunPair([&] { sender.Send(count, chain, true); },
                 [&] {
                   if (!receiver) {
                     receiver = std::make_unique<OurReceiver>(pair.receive_end.get(), receiving);
                   }
                   return receiver->Receive(count) + count * kHeaderBytes;
                 });
}

void Flood() {
  std::printf("many in flight, two processes; raw is sendmmsg and recvmmsg, 16 a call\n");
  for (const size_t bytes : {size_t{0}, size_t{64}, size_t{1024}, size_t{4096}, size_t{15360}}) {
    const uint64_t count = bytes < 2000 ? 60'000 : 20'000;
    Ratios ratios;
    for (int i = 0; i < kPairs; ++i) {
      const Cost raw = RawFlood(bytes, count, kBatchMax);
      const Cost ours = OurFlood(bytes, count);
      if (raw.bytes != ours.bytes) std::abort();
      ratios.Add(raw, ours, static_cast<double>(count));
    }
    ratios.Print("flood", bytes);
  }
}

// System calls that do nothing: what is left is ours.
class StubKernel : public RealKernel {
 public:
  ssize_t SendMessage(int, const msghdr* message, int) override { return Bytes(*message); }
  int SendMessages(int, mmsghdr* messages, unsigned count, int) override {
    for (unsigned i = 0; i < count; ++i) {
      messages[i].msg_len = static_cast<unsigned>(Bytes(messages[i].msg_hdr));
    }
    return static_cast<int>(count);
  }
  int ReceiveMessages(int, mmsghdr* messages, unsigned count, int) override {
    if (left == 0) {
      errno = EAGAIN;
      return -1;
    }
    const unsigned here = static_cast<unsigned>(std::min<uint64_t>(count, left));
    for (unsigned i = 0; i < here; ++i) Fill(messages[i]);
    left -= here;
    return static_cast<int>(here);
  }

  uint64_t left = 0;
  unsigned payload_bytes = 0;

 private:
  static ssize_t Bytes(const msghdr& message) {
    size_t bytes = 0;
    for (size_t i = 0; i < message.msg_iovlen; ++i) bytes += message.msg_iov[i].iov_len;
    return static_cast<ssize_t>(bytes);
  }
  void Fill(mmsghdr& message) const {
    const auto header = EncodeHeader({.stream = 1, .pid = 7, .type = kData});
    std::memcpy(message.msg_hdr.msg_iov->iov_base, header.data(), header.size());
    message.msg_len = static_cast<unsigned>(kHeaderBytes) + payload_bytes;
    const ucred credentials = {7, 0, 0};
    cmsghdr* const control = static_cast<cmsghdr*>(message.msg_hdr.msg_control);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_CREDENTIALS;
    control->cmsg_len = CMSG_LEN(sizeof credentials);
    std::memcpy(CMSG_DATA(control), &credentials, sizeof credentials);
    message.msg_hdr.msg_controllen = CMSG_SPACE(sizeof credentials);
  }
};

void Stub() {
  constexpr uint64_t kCount = 400'000;
  std::printf("user time with the system calls stubbed out\n");
  for (const unsigned bytes : {0U, 64U, 15360U}) {
    StubKernel kernel;
    kernel.payload_bytes = bytes;
    Workspace workspace(kernel);
    const SocketPair pair = NewPair();
    const std::vector<uint8_t> payload(bytes, 'x');
    const Buffer buffer = PlainBuffer(payload);
    const std::span<const Buffer> chain(&buffer, bytes == 0 ? 0 : 1);
    OurSender sender(pair.send_end.get(), workspace);
    OurReceiver receiver(pair.receive_end.get(), workspace);
    std::vector<double> sending;
    std::vector<double> receiving;
    for (int i = 0; i < kPairs; ++i) {
      double begin = CpuNs();
      sender.Send(kCount, chain, true);
      sending.push_back((CpuNs() - begin) / kCount);
      kernel.left = kCount;
      begin = CpuNs();
      receiver.Receive(kCount);
      receiving.push_back((CpuNs() - begin) / kCount);
    }
    std::printf("stub %28u bytes  sender %5.1f ns  receiver %5.1f ns  together %5.1f ns\n", bytes,
                Median(sending), Median(receiving), Median(sending) + Median(receiving));
  }
}

}  // namespace

int Main(std::string_view what) {
  const bool all = what == "all";
  if (all || what == "stub") Stub();
  if (all || what == "flood") Flood();
  return 0;
}

}  // namespace portproof::bench

int main(int argc, char** argv) { return portproof::bench::Main(argc > 1 ? argv[1] : "all"); }
