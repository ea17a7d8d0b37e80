// Runs a sender and a receiver in a process each, pinned, and says what it cost.
#ifndef PORTPROOF_BENCH_TWO_PROCESSES_H_
#define PORTPROOF_BENCH_TWO_PROCESSES_H_

#include <cstdint>
#include <functional>
#include <vector>

namespace portproof::bench {

struct Cost {
  double cpu_ns = 0;   // of both processes, user and system
  double wall_ns = 0;  // from the first datagram to the last one's receipt
  uint64_t bytes = 0;  // that the receiver saw
};

void PinTo(int cpu);
double CpuNs();  // of this process
double WallNs();

// `send` and `receive` are each run twice in their process, the first time to warm up;
// `receive` returns the bytes it got. One CPU each, or both on one.
Cost RunPair(const std::function<void()>& send, const std::function<uint64_t()>& receive,
             bool one_cpu = false);

double Median(std::vector<double> values);

}  // namespace portproof::bench

#endif  // PORTPROOF_BENCH_TWO_PROCESSES_H_
