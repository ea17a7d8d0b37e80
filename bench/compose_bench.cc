// Nanoseconds per buffer of Compose, beside a plain loop that only sums the sizes.
//   bazel run --config=opt //bench:compose_bench
// Fifteen rounds a case; the column to read is `lower_quartile`, since a shared
// machine only ever adds. "limits" are the real ones: 7 runs, 16368 bytes.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

#include "protocol/compose.h"

namespace portproof {
namespace {

constexpr uint32_t kBufferBytes = 100;

std::vector<Buffer> Chain(int64_t count, bool adjacent) {
  std::vector<Buffer> chain;
  uint64_t address = 4096;
  for (int64_t i = 0; i < count; ++i) {
    chain.push_back({.address = address, .bytes = kBufferBytes});
    address += kBufferBytes + (adjacent ? 0 : 64);
  }
  return chain;
}

void Sum(benchmark::State& state) {
  const std::vector<Buffer> chain = Chain(state.range(0), true);
  for ([[maybe_unused]] auto _ : state) {
    benchmark::DoNotOptimize(chain.data());
    uint64_t bytes = 0;
    for (const Buffer& buffer : chain) {
      bytes += buffer.bytes;
      benchmark::DoNotOptimize(bytes);  // one at a time, as a walk that may stop anywhere
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// The whole chain is composed: one datagram with the limits wide open, else as many as needed.
void ComposeAll(benchmark::State& state, bool adjacent, ComposeLimits limits) {
  const std::vector<Buffer> chain = Chain(state.range(0), adjacent);
  std::vector<ByteRun> runs(limits.runs);
  for ([[maybe_unused]] auto _ : state) {
    benchmark::DoNotOptimize(chain.data());
    ChainCursor from;
    Composed composed;
    do {
      composed = Compose(chain, from, limits, runs);
      from = composed.next;
      benchmark::DoNotOptimize(runs.data());
      benchmark::ClobberMemory();
    } while (composed.more);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

double LowerQuartile(const std::vector<double>& rounds) {
  std::vector<double> sorted = rounds;
  std::sort(sorted.begin(), sorted.end());
  return sorted[sorted.size() / 4];
}

void Rounds(benchmark::internal::Benchmark* bench) {
  for (const int64_t count : {8, 64, 512}) bench->Arg(count);
  bench->Repetitions(15)->MinTime(0.02);
}

constexpr ComposeLimits kOpen{1u << 30, 512};
constexpr ComposeLimits kReal{16368, kPlainRunsMax};

BENCHMARK(Sum)->Name("sum")->Apply(Rounds);
BENCHMARK_CAPTURE(ComposeAll, adjacent, true, kOpen)->Name("adjacent")->Apply(Rounds);
BENCHMARK_CAPTURE(ComposeAll, separate, false, kOpen)->Name("separate")->Apply(Rounds);
BENCHMARK_CAPTURE(ComposeAll, adjacent_limits, true, kReal)->Name("adjacent_limits")->Apply(Rounds);
BENCHMARK_CAPTURE(ComposeAll, separate_limits, false, kReal)
    ->Name("separate_limits")
    ->Apply(Rounds);

// Reports nanoseconds per buffer, from the time of one iteration over the chain.
class PerBuffer : public benchmark::ConsoleReporter {
 public:
  bool ReportContext(const Context&) override {
    std::printf("%-28s %15s %9s\n", "case/buffers", "lower_quartile", "median");
    return true;
  }
  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<double> rounds;
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      const double items = run.counters.at("items_per_second");
      rounds.push_back(1e9 / items);
    }
    if (rounds.empty()) return;
    std::vector<double> sorted = rounds;
    std::sort(sorted.begin(), sorted.end());
    const std::string name = runs[0].run_name.function_name + "/" + runs[0].run_name.args;
    std::printf("%-28s %12.2f ns %6.2f ns\n", name.c_str(), LowerQuartile(rounds),
                sorted[sorted.size() / 2]);
  }
};

}  // namespace
}  // namespace portproof

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  portproof::PerBuffer reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  return 0;
}
