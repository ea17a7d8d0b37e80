// What a message costs over a real port, beside the bare system calls.
//   bazel run --config=opt //bench:port_bench --
//   [all|stub|flood|local|pingpong|large|shared|streams]
// Fifteen pairs of runs, the baseline and ours in turn; medians of the pairs' ratios.
// The processes are pinned, one to a CPU, but for pingpong: both on one.
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
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
  ssize_t ReceiveMessage(int fd, msghdr* message, int flags) override {
    mmsghdr batch = {*message, 0};
    const int received = ReceiveMessages(fd, &batch, 1, flags);
    *message = batch.msg_hdr;
    return received < 0 ? -1 : static_cast<ssize_t>(batch.msg_len);
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

// What the stubs themselves take for a message, in both directions.
double StubsAlone(StubKernel& kernel, std::span<uint8_t> payload, uint64_t count) {
  std::array<uint8_t, kHeaderBytes> header = {};
  std::array<iovec, 2> vectors = {{{header.data(), header.size()}, {payload.data(), 0}}};
  vectors[1].iov_len = payload.size();
  std::array<uint8_t, 64> control = {};
  std::array<mmsghdr, kBatchMax> messages = {};
  for (mmsghdr& message : messages) {
    message.msg_hdr.msg_iov = vectors.data();
    message.msg_hdr.msg_iovlen = payload.empty() ? 1 : 2;
    message.msg_hdr.msg_control = control.data();
  }
  kernel.left = count;
  const double begin = CpuNs();
  for (uint64_t i = 0; i < count; i += kBatchMax) {
    kernel.SendMessages(-1, messages.data(), kBatchMax, 0);
    kernel.ReceiveMessages(-1, messages.data(), kBatchMax, 0);
  }
  return (CpuNs() - begin) / static_cast<double>(count);
}

void Stub() {
  constexpr uint64_t kCount = 400'000;
  std::printf("user time with the system calls stubbed out\n");
  for (const unsigned bytes : {0U, 64U, 15360U}) {
    StubKernel kernel;
    kernel.payload_bytes = bytes;
    Workspace workspace(kernel);
    const SocketPair pair = NewPair();
    std::vector<uint8_t> payload(bytes, 'x');
    const Buffer buffer = PlainBuffer(payload);
    const std::span<const Buffer> chain(&buffer, bytes == 0 ? 0 : 1);
    OurSender sender(pair.send_end.get(), workspace);
    OurReceiver receiver(pair.receive_end.get(), workspace);
    std::vector<double> sending;
    std::vector<double> receiving;
    std::vector<double> stubs;
    for (int i = 0; i < kPairs; ++i) {
      double begin = CpuNs();
      sender.Send(kCount, chain, true);
      sending.push_back((CpuNs() - begin) / kCount);
      kernel.left = kCount;
      begin = CpuNs();
      receiver.Receive(kCount);
      receiving.push_back((CpuNs() - begin) / kCount);
      stubs.push_back(StubsAlone(kernel, payload, kCount));
    }
    std::printf(
        "stub %28u bytes  sender %5.1f ns  receiver %5.1f ns  together %5.1f ns"
        "  (the stubs alone %4.1f ns)\n",
        bytes, Median(sending), Median(receiving), Median(sending) + Median(receiving),
        Median(stubs));
  }
}

// ---- one process writes 8 messages, then reads them

double OurEight(size_t bytes, bool batch, uint64_t rounds) {
  const SocketPair pair = NewPair();
  Workspace workspace;
  const std::vector<uint8_t> payload(bytes, 'x');
  const Buffer buffer = PlainBuffer(payload);
  const std::span<const Buffer> chain(&buffer, bytes == 0 ? 0 : 1);
  OurSender sender(pair.send_end.get(), workspace);
  OurReceiver receiver(pair.receive_end.get(), workspace);
  const double begin = CpuNs();
  for (uint64_t round = 0; round < rounds; ++round) {
    for (uint32_t i = 0; i < 8; ++i) {
      sender.sender->Write({.type = kData, .stream = i, .batch = batch && i < 7, .chain = chain});
    }
    sender.Completed();
    while (receiver.receiver->Turn() == Next::kCallAgain) {
    }
  }
  if (receiver.count != 8 * rounds) std::abort();
  return (CpuNs() - begin) / static_cast<double>(8 * rounds);
}

double RawEight(size_t bytes, uint64_t rounds) {
  const SocketPair pair = NewPair();
  RawSender sender(pair.send_end.get(), bytes, 1);
  RawReceiver receiver(pair.receive_end.get(), kMaxSize + 16, 1);
  const double begin = CpuNs();
  for (uint64_t round = 0; round < rounds; ++round) {
    sender.Send(8);
    if (receiver.Drain() != 8) std::abort();
  }
  return (CpuNs() - begin) / static_cast<double>(8 * rounds);
}

void Local() {
  std::printf("one process writes 8 messages, then reads them; raw is sendmsg and recvmsg\n");
  for (const size_t bytes : {size_t{0}, size_t{64}, size_t{1024}, size_t{4096}, size_t{15360}}) {
    const uint64_t rounds = bytes < 2000 ? 4000 : 1500;
    std::vector<double> raw;
    std::vector<double> batched;
    std::vector<double> single;
    for (int i = 0; i < kPairs; ++i) {
      const double base = RawEight(bytes, rounds);
      raw.push_back(base);
      batched.push_back(OurEight(bytes, true, rounds) / base);
      single.push_back(OurEight(bytes, false, rounds) / base);
    }
    std::printf("local %27zu bytes  raw %6.0f ns  batched x %.3f  unbatched x %.3f\n", bytes,
                Median(raw), Median(batched), Median(single));
  }
}

// ---- one message alone, there and back, both processes on one CPU

constexpr uint64_t kRoundTrips = 10'000;

Cost RawPingPong() {
  const SocketPair there = NewPair();
  const SocketPair back = NewPair();
  const auto play = [](const SocketPair& out, const SocketPair& in, bool first) {
    RawSender sender(out.send_end.get(), 64, 1);
    RawReceiver receiver(in.receive_end.get(), kMaxSize + 16, 1);
    for (uint64_t i = 0; i < kRoundTrips; ++i) {
      if (first) sender.Send(1);
      WaitFor(in.receive_end.get(), POLLIN);
      if (receiver.Drain() != 1) std::abort();
      if (!first) sender.Send(1);
    }
  };
  return RunPair([&] { play(there, back, true); },
                 [&] {
                   play(back, there, false);
                   return uint64_t{0};
                 },
                 true);
}

Cost OurPingPong() {
  const SocketPair there = NewPair();
  const SocketPair back = NewPair();
  const std::vector<uint8_t> payload(64, 'x');
  const Buffer buffer = PlainBuffer(payload);
  const auto play = [&buffer](const SocketPair& out, const SocketPair& in, bool first) {
    Workspace workspace;
    OurSender sender(out.send_end.get(), workspace);
    OurReceiver receiver(in.receive_end.get(), workspace);
    const Outgoing message = {.type = kData, .stream = 1, .chain = {&buffer, 1}};
    for (uint64_t i = 0; i < kRoundTrips; ++i) {
      if (first) sender.sender->Write(message);
      WaitFor(in.receive_end.get(), POLLIN);
      while (receiver.receiver->Turn() == Next::kCallAgain) {
      }
      if (!first) sender.sender->Write(message);
      sender.Completed();
    }
    if (receiver.count != kRoundTrips) std::abort();
  };
  return RunPair([&] { play(there, back, true); },
                 [&] {
                   play(back, there, false);
                   return uint64_t{0};
                 },
                 true);
}

void PingPong() {
  std::printf("one message alone, there and back, both processes on one CPU\n");
  Ratios ratios;
  std::vector<double> wall;
  for (int i = 0; i < kPairs; ++i) {
    const Cost raw = RawPingPong();
    const Cost ours = OurPingPong();
    ratios.Add(raw, ours, kRoundTrips);
    wall.push_back(ours.wall_ns / raw.wall_ns);
  }
  ratios.Print("ping-pong", 64);
  std::printf("ping-pong wall time x %.3f\n", Median(wall));
}

// ---- fragmented plain messages

void Large() {
  constexpr size_t kTotal = size_t{64} << 20;
  constexpr size_t kPayload = 16368;
  std::printf("fragmented plain messages; raw is datagrams of 16 KiB in batches of 16\n");
  for (const size_t bytes : {size_t{64} << 10, size_t{1} << 20, size_t{16} << 20}) {
    Ratios ratios;
    for (int i = 0; i < kPairs; ++i) {
      const Cost raw = RawFlood(kPayload, kTotal / kPayload, kBatchMax);
      const SocketPair pair = NewPair();
      const std::vector<uint8_t> payload(bytes, 'x');
      const Buffer buffer = PlainBuffer(payload);
      Workspace sending;
      Workspace receiving;
      OurSender sender(pair.send_end.get(), sending);
      std::unique_ptr<OurReceiver> receiver;
      const uint64_t count = kTotal / bytes;
      const Cost ours = RunPair(
          [&] {
            for (uint64_t sent = 0; sent < count; ++sent) {
              sender.Send(1, {&buffer, 1}, false);
            }
          },
          [&] {
            if (!receiver) {
              receiver = std::make_unique<OurReceiver>(pair.receive_end.get(), receiving);
            }
            return receiver->Receive(count);
          });
      ratios.Add(raw, ours, static_cast<double>(kTotal) / 16384);
    }
    ratios.Print("large, per 16 KiB", bytes);
  }
}

// ---- shared memory

uint64_t ReadAll(std::span<const uint8_t> bytes) {
  uint64_t sum = 0;
  for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, &bytes[at], 8);
    sum += word;
  }
  return sum;
}

Cost SharedRun(size_t bytes, uint64_t count, bool touched) {
  const SocketPair pair = NewPair();
  Workspace sending;
  Workspace receiving;
  OurSender sender(pair.send_end.get(), sending);
  auto made = Segment::Create({.source_pid = ::getpid(), .sent_over = kSentOverAny},
                              Newest().segment_layout);
  if (!made.ok()) std::abort();
  const auto segment = std::make_shared<Segment>(*std::move(made));
  sender.sender->Announce(segment);
  const std::vector<uint8_t> source(bytes, 'x');
  const OwnedFd event(::eventfd(0, EFD_CLOEXEC));
  const int consumed = event.get();
  std::unique_ptr<OurReceiver> receiver;
  uint64_t sum = 0;
  return RunPair(
      [&] {
        for (uint64_t i = 0; i < count; ++i) {
          auto range = segment->Allocate(static_cast<uint32_t>(bytes));
          while (!range) {  // the receiver has them all
            uint64_t freed = 0;
            if (::read(consumed, &freed, sizeof freed) < 0) std::abort();
            range = segment->Allocate(static_cast<uint32_t>(bytes));
          }
          if (touched) std::memcpy(segment->Memory(*range).data(), source.data(), bytes);
          const Buffer buffer =
              sender.sender->BufferIn(*segment, *range, static_cast<uint32_t>(bytes), 0);
          sender.Send(1, {&buffer, 1}, false);
          segment->Release(*range);
        }
      },
      [&] {
        if (!receiver) {
          receiver = std::make_unique<OurReceiver>(pair.receive_end.get(), receiving,
                                                   ReassemblyLimits{}, [&](Message& message) {
                                                     if (touched) {
                                                       for (const Part& part : message.payload)
                                                         sum += ReadAll(part.bytes());
                                                     }
                                                     message.payload.clear();
                                                     const uint64_t one = 1;
                                                     if (::write(consumed, &one, sizeof one) < 0)
                                                       std::abort();
                                                   });
        }
        return receiver->Receive(count) + (sum == 1 ? 1 : 0);
      });
}

double CopyAndRead(size_t bytes, uint64_t count) {
  std::vector<uint8_t> source(bytes, 'x');
  std::vector<uint8_t> target(bytes);
  uint64_t sum = 0;
  const auto play = [&] {
    for (uint64_t i = 0; i < count; ++i) {
      source[0] = static_cast<uint8_t>(i);
      std::memcpy(target.data(), source.data(), bytes);
      sum += ReadAll(target);
    }
  };
  play();
  const double begin = CpuNs();
  play();
  const double took = CpuNs() - begin;
  return sum == 1 ? 0 : took / static_cast<double>(count);
}

void Shared() {
  std::printf("shared memory: above a raw datagram of 28 bytes; and beside a copy and a read\n");
  for (const size_t bytes : {size_t{64} << 10, size_t{1} << 20, size_t{10} << 20}) {
    const uint64_t count = std::max<uint64_t>(12, (size_t{256} << 20) / bytes / 8);
    std::vector<double> above;
    std::vector<double> ratio;
    for (int i = 0; i < kPairs; ++i) {
      const double raw = RawFlood(12, 5000, 1).cpu_ns / 5000;
      above.push_back(SharedRun(bytes, count, false).cpu_ns / static_cast<double>(count) - raw);
      const double copy = CopyAndRead(bytes, count);
      ratio.push_back(copy / (SharedRun(bytes, count, true).cpu_ns / static_cast<double>(count)));
    }
    std::printf("shared %26zu bytes  untouched + %6.0f ns  copied and read x %.3f\n", bytes,
                Median(above), Median(ratio));
  }
}

// ---- many streams open at once

Cost StreamsRun(uint32_t streams) {
  constexpr uint64_t kFragments = 100'000;
  const SocketPair pair = NewPair();
  std::unique_ptr<OurReceiver> receiver;
  Workspace receiving;
  const uint32_t rounds = static_cast<uint32_t>(kFragments / streams);
  return RunPair(
      [&] {
        std::array<uint8_t, 80> bytes = {};
        for (uint64_t i = 0; i < uint64_t{rounds} * streams; ++i) {
          const auto round = static_cast<uint32_t>(i / streams);
          const auto header = EncodeHeader({.stream = static_cast<uint32_t>(i % streams),
                                            .pid = 7,
                                            .type = kData,
                                            .nf = round != 0,
                                            .mf = round + 1 != rounds});
          std::copy(header.begin(), header.end(), bytes.begin());
          while (::send(pair.send_end.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) < 0) {
            WaitFor(pair.send_end.get(), POLLOUT);
          }
        }
      },
      [&] {
        if (!receiver) {
          receiver = std::make_unique<OurReceiver>(
              pair.receive_end.get(), receiving,
              ReassemblyLimits{.open_per_sender = 20'000, .open = 20'000});
        }
        return receiver->Receive(streams);
      });
}

void Streams() {
  std::vector<double> ratio;
  for (int i = 0; i < kPairs; ++i) {
    const double one = StreamsRun(1).cpu_ns;
    ratio.push_back(StreamsRun(10'000).cpu_ns / one);
  }
  std::printf("10,000 streams open at once, per datagram x %.3f of one\n", Median(ratio));
}

}  // namespace

int Main(std::string_view what) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const bool all = what == "all";
  if (all || what == "stub") Stub();
  if (all || what == "flood") Flood();
  if (all || what == "local") Local();
  if (all || what == "pingpong") PingPong();
  if (all || what == "large") Large();
  if (all || what == "shared") Shared();
  if (all || what == "streams") Streams();
  return 0;
}

}  // namespace portproof::bench

int main(int argc, char** argv) { return portproof::bench::Main(argc > 1 ? argv[1] : "all"); }
