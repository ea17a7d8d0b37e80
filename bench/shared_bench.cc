#include "bench/shared_bench.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "bench/our_port.h"
#include "port/segment.h"

namespace portproof::bench {
namespace {

// So many messages of a size are under way at most, and so many are written to a flush.
struct Load {
  size_t bytes;
  size_t in_flight;
  size_t batch;
};

constexpr std::array<Load, 3> kLoads = {
    {{size_t{64} << 10, 32, 16}, {size_t{1} << 20, 4, 2}, {size_t{10} << 20, 2, 1}}};

uint64_t ReadAll(std::span<const uint8_t> bytes) {
  uint64_t sum = 0;
  for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, &bytes[at], 8);
    sum += word;
  }
  return sum;
}

// Chunks for a producer that never writes into what the consumer still has: it waits only
// when all are taken, and the consumer wakes it after a turn, as out-of-memory messages do.
class ChunkSource {
 public:
  ChunkSource(Sender& sender, size_t message_bytes, size_t in_flight)
      : bytes_(static_cast<uint32_t>(message_bytes)) {
    const size_t in_one = kUnitGeometry.chunk_count / ChunksFor(bytes_, kUnitGeometry);
    for (uint32_t id = 0; id * in_one < in_flight; ++id) {
      auto made = Segment::Create({.id = id, .source_pid = ::getpid(), .sent_over = kSentOverAny},
                                  Newest().segment_layout);
      if (!made.ok()) std::abort();
      segments_.push_back(std::make_shared<Segment>(*std::move(made)));
      sender.Announce(segments_.back());
    }
    if (in_flight < in_one) {  // the rest of the segment is taken for good
      const auto room = segments_[0]->Allocate(static_cast<uint32_t>(in_flight * message_bytes));
      while (segments_[0]->Allocate(1)) {
      }
      segments_[0]->Release(*room);
    }
    void* const memory = ::mmap(nullptr, sizeof(std::atomic<bool>), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    waiting_ = new (memory) std::atomic<bool>(false);
  }
  ~ChunkSource() { ::munmap(waiting_, sizeof *waiting_); }

  struct Place {
    Segment* segment = nullptr;
    ChunkRange range;
  };
  // `flush` sends what the consumer is to free.
  Place Take(const std::function<void()>& flush) {
    for (;;) {
      if (const auto place = TryTake()) return *place;
      flush();
      waiting_->store(true);
      if (const auto place = TryTake()) return *place;
      uint64_t freed = 0;
      if (::read(event_.get(), &freed, sizeof freed) < 0) std::abort();
    }
  }
  void AfterTurn() {  // of the consumer
    const uint64_t one = 1;
    if (waiting_->exchange(false) && ::write(event_.get(), &one, sizeof one) < 0) std::abort();
  }

 private:
  std::optional<Place> TryTake() {
    for (size_t i = 0; i < segments_.size(); ++i) {
      if (const auto range = segments_[next_]->Allocate(bytes_)) {
        return Place{segments_[next_].get(), *range};
      }
      next_ = (next_ + 1) % segments_.size();
    }
    return std::nullopt;
  }

  uint32_t bytes_;
  std::vector<std::shared_ptr<Segment>> segments_;
  size_t next_ = 0;
  OwnedFd event_ = OwnedFd(::eventfd(0, EFD_CLOEXEC));
  std::atomic<bool>* waiting_ = nullptr;
};

Cost SharedRun(const Load& load, uint64_t count, bool touched, bool one_cpu) {
  const size_t bytes = load.bytes;
  const SocketPair pair = NewPair();
  Workspace sending;
  Workspace receiving;
  OurSender sender(pair.send_end.get(), sending);
  ChunkSource chunks(*sender.sender, bytes, load.in_flight);
  const std::vector<uint8_t> source(bytes, 'x');
  std::unique_ptr<OurReceiver> receiver;
  uint64_t sum = 0;
  const auto look = [&](Message& message) {
    if (!touched) return;
    for (const Part& part : message.payload) sum += ReadAll(part.bytes());
  };
  return RunPair(
      [&] {
        std::vector<ChunkSource::Place> written;
        const auto flush = [&] {
          sender.sender->Flush();
          sender.Settle();
          for (const auto& [segment, range] : written) segment->Release(range);
          written.clear();
        };
        for (uint64_t i = 0; i < count; ++i) {
          written.push_back(chunks.Take(flush));
          const auto& [segment, range] = written.back();
          if (touched) std::memcpy(segment->Memory(range).data(), source.data(), bytes);
          const Buffer buffer =
              sender.sender->BufferIn(*segment, range, static_cast<uint32_t>(bytes), 0);
          sender.sender->Write({.type = kData, .batch = true, .chain = {&buffer, 1}});
          if (written.size() == load.batch) flush();
        }
        flush();
      },
      [&] {
        if (!receiver) {
          receiver = std::make_unique<OurReceiver>(pair.receive_end.get(), receiving,
                                                   ReassemblyLimits{}, look);
          receiver->after_turn = [&] { chunks.AfterTurn(); };
        }
        return receiver->Receive(count) + (sum == 1 ? 1 : 0);
      },
      one_cpu);
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

void SharedOf(const Load& load) {
  constexpr uint64_t kUntouched = 4000;
  const uint64_t count = std::max<uint64_t>(48, (size_t{256} << 20) / load.bytes);
  const auto messages = static_cast<double>(count);
  std::vector<double> above;
  std::vector<double> base;
  std::vector<double> least;
  std::vector<double> two_cpus;
  std::vector<double> one_cpu;
  for (int i = 0; i < kPairs; ++i) {
    const double raw = RawFlood(12, kUntouched, 1).cpu_ns / kUntouched;
    const double raw_batch = RawFlood(12, kUntouched, kBatchMax).cpu_ns / kUntouched;
    const Load untouched = {load.bytes, 64, 1};
    above.push_back(SharedRun(untouched, kUntouched, false, false).cpu_ns / kUntouched - raw);
    const double copy = CopyAndRead(load.bytes, count);
    base.push_back(copy);
    least.push_back(copy / (copy + raw_batch));
    two_cpus.push_back(copy / (SharedRun(load, count, true, false).wall_ns / messages));
    one_cpu.push_back(copy / (SharedRun(load, count, true, true).wall_ns / messages));
  }
  std::printf(
      "shared %26zu bytes  untouched + %6.0f ns  copied and read, raw %9.0f ns, rate x %.3f on "
      "two CPUs, x %.3f on one (with a raw datagram of a batch behind each x %.3f)\n",
      load.bytes, Median(above), Median(base), Median(two_cpus), Median(one_cpu), Median(least));
}

}  // namespace

void Shared() {
  std::printf("shared memory: above a raw datagram of 28 bytes; and beside a copy and a read\n");
  for (const Load& load : kLoads) SharedOf(load);
}

}  // namespace portproof::bench
