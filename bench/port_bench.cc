// What a message costs over a real port, beside the bare system calls.
//   bazel run --config=opt //bench:port_bench --
//   [all|stub|flood|local|pingpong|large|shared|streams]
// Fifteen pairs of runs, the baseline and ours in turn; medians of the pairs' ratios.
// The processes are pinned, one to a CPU, but for pingpong: both on one.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "bench/our_port.h"
#include "bench/raw_port.h"
#include "bench/shared_bench.h"
#include "bench/stub_bench.h"
#include "bench/two_processes.h"
#include "port/receiver.h"
#include "port/sender.h"

namespace portproof::bench {
namespace {

struct Ratios {
  std::vector<double> cpu;
  std::vector<double> rate;
  std::vector<double> raw_cpu;
  std::vector<double> our_cpu;
  uint64_t moved = 0;  // bytes that the receiver saw, as raw's did

  void Add(const Cost& raw, const Cost& ours, double units) {
    cpu.push_back(ours.cpu_ns / raw.cpu_ns);
    rate.push_back(raw.wall_ns / ours.wall_ns);
    raw_cpu.push_back(raw.cpu_ns / units);
    our_cpu.push_back(ours.cpu_ns / units);
    moved = ours.bytes;
  }
  void Print(const char* name, size_t bytes) const {
    std::printf("%-24s %9zu bytes  raw %9.0f ns  ours %9.0f ns  CPU x %.3f  rate x %.3f", name,
                bytes, Median(raw_cpu), Median(our_cpu), Median(cpu), Median(rate));
    if (moved != 0) std::printf("  (%.1f MB moved in each run)", static_cast<double>(moved) / 1e6);
    std::printf("\n");
  }
};

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

// `batch`: of the receiver, 1 for recvmsg.
Cost RawPingPong(unsigned batch) {
  const SocketPair there = NewPair();
  const SocketPair back = NewPair();
  const auto play = [batch](const SocketPair& out, const SocketPair& in, bool first) {
    RawSender sender(out.send_end.get(), 64, 1);
    RawReceiver receiver(in.receive_end.get(), kMaxSize + 16, batch);
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

// Beside recvmsg until the socket is empty, and beside a recvmmsg that came short, as ours.
void PingPong() {
  std::printf("one message alone, there and back, both processes on one CPU\n");
  for (const unsigned batch : {1U, kBatchMax}) {
    Ratios ratios;
    std::vector<double> wall;
    for (int i = 0; i < kPairs; ++i) {
      const Cost raw = RawPingPong(batch);
      const Cost ours = OurPingPong();
      ratios.Add(raw, ours, kRoundTrips);
      wall.push_back(ours.wall_ns / raw.wall_ns);
    }
    ratios.Print(batch == 1 ? "ping-pong, recvmsg" : "ping-pong, recvmmsg", 64);
    std::printf("%-24s wall time x %.3f\n", "", Median(wall));
  }
}

// ---- fragmented plain messages

Cost OurLarge(size_t bytes, uint64_t count) {
  const SocketPair pair = NewPair();
  const std::vector<uint8_t> payload(bytes, 'x');
  const Buffer buffer = PlainBuffer(payload);
  Workspace sending;
  Workspace receiving;
  OurSender sender(pair.send_end.get(), sending);
  std::unique_ptr<OurReceiver> receiver;
  return RunPair(
      [&] {
        for (uint64_t sent = 0; sent < count; ++sent) sender.Send(1, {&buffer, 1}, false);
      },
      [&] {
        if (!receiver) {
          receiver = std::make_unique<OurReceiver>(pair.receive_end.get(), receiving);
        }
        return receiver->Receive(count);
      });
}

void Large() {
  constexpr size_t kTotal = size_t{64} << 20;
  constexpr size_t kPayload = 16368;
  std::printf(
      "fragmented plain messages; raw is datagrams of 16 KiB in batches of 16 from and into the\n"
      "same few buffers, and the message's own datagrams from and into as much memory as it has\n");
  for (const size_t bytes : {size_t{64} << 10, size_t{1} << 20, size_t{16} << 20}) {
    Ratios ratios;
    std::vector<double> same_datagrams;
    for (int i = 0; i < kPairs; ++i) {
      const Cost raw = RawFlood(kPayload, kTotal / kPayload, kBatchMax);
      const uint64_t pieces = kTotal / bytes * ((bytes + kPayload - 1) / kPayload);
      const Cost same = RawFlood(kPayload, pieces, kBatchMax, bytes);
      const Cost ours = OurLarge(bytes, kTotal / bytes);
      ratios.Add(raw, ours, static_cast<double>(kTotal) / 16384);
      if (ours.bytes + pieces * kHeaderBytes != same.bytes) std::abort();
      same_datagrams.push_back(same.wall_ns / ours.wall_ns);
    }
    ratios.Print("large, per 16 KiB", bytes);
    std::printf("%24s %9zu bytes  beside the same datagrams and memory: rate x %.3f\n", "", bytes,
                Median(same_datagrams));
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
