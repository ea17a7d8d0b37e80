// Nanoseconds per small message through its write, Plan, Sent and its completion.
//   bazel run --config=opt //bench:send_machine_bench
// A million messages a round, fifteen rounds, lower quartile; allocations counted in
// all of them. `depth` messages are written before the machine is flushed.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "props/allocation_count.h"
#include "protocol/send_machine.h"

namespace portproof {
namespace {

constexpr uint64_t kMessages = 1'000'000;
constexpr int kRounds = 15;

struct Load {
  SendPlan plan;
  SendMachine machine{{.pid = 1, .payload_bytes = 16368}};
  SendActions actions;
  uint64_t completed = 0;

  void Flush() {
    for (;;) {
      machine.Plan(plan);
      if (plan.datagrams().empty()) return;
      Step(machine, Sent{plan, plan.datagrams().size()}, actions);
      for (const SendAction& action : actions) completed += action.ok;
    }
  }

  void Run(uint64_t messages, uint64_t depth, uint32_t bytes) {
    const Buffer buffer{.address = 4096, .bytes = bytes};
    WriteRequest request{.chain = {&buffer, 1}};
    for (uint64_t sent = 0; sent < messages; sent += depth) {
      for (uint64_t i = 0; i < depth; ++i) {
        request.stream = static_cast<uint32_t>(sent + i);
        request.message_id = sent + i;
        Step(machine, request, actions);
      }
      Flush();
    }
  }
};

void Report(const char* name, uint64_t depth, uint32_t bytes) {
  Load load;
  load.Run(10 * depth, depth, bytes);  // into the steady state
  std::vector<double> rounds;
  const uint64_t allocations_before = AllocationCount();
  rounds.reserve(kRounds);
  const uint64_t allocations_own = AllocationCount() - allocations_before;
  load.completed = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    load.Run(kMessages, depth, bytes);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
    rounds.push_back(took.count() / static_cast<double>(kMessages));
  }
  const uint64_t allocations = AllocationCount() - allocations_before - allocations_own;
  std::sort(rounds.begin(), rounds.end());
  std::printf("%-22s %8.1f ns  median %6.1f ns  %llu allocations  %llu completions\n", name,
              rounds[kRounds / 4], rounds[kRounds / 2],
              static_cast<unsigned long long>(allocations),
              static_cast<unsigned long long>(load.completed));
}

}  // namespace
}  // namespace portproof

int main() {
  portproof::Report("depth 1, 64 bytes", 1, 64);
  portproof::Report("depth 16, 64 bytes", 16, 64);
  portproof::Report("depth 256, 64 bytes", 256, 64);
  portproof::Report("depth 4000, 64 bytes", 4000, 64);
  return 0;
}
