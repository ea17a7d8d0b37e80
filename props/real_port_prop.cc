// Conversations between real processes over port/: nothing is lost, doubled, leaked or
// stuck, and the traffic conforms by our own judge.
//   bazel test //props:real_port_prop
//   bazel run //props:real_port_prop -- 5000 [FIRST SEED]
// Each thousand is a test of its own, so that `bazel test` can give each its shard.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>

#include "oracle/conversation/generate.h"
#include "props/real_port.h"

namespace portproof {
namespace {

constexpr uint64_t kRunsPerTest = 1000;

// What must have happened, at least once in so many runs.
constexpr std::pair<const char*, uint64_t> kNeeded[] = {
    {"fragmented", 2},       {"fragmented, default sizes", 25},
    {"socket full", 2},      {"two fds", 3},
    {"segment", 2},          {"references", 3},
    {"failed", 5},           {"threads", 3},
    {"several senders", 5},  {"sendmmsg", 5},
    {"sendmmsg in part", 5}, {"writer killed", 20},
    {"reader slow", 20},     {"reader stopped", 20},
    {"reader killed", 20},   {"reader closed", 20},
    {"EPIPE", 25},
};

RealRun RunOf(uint64_t seed) {
  conversation::Dice dice(seed);
  RealRun run;
  run.default_sizes = dice.OneIn(10);
  run.conversation = conversation::Generate(dice, 10 + dice.Below(run.default_sizes ? 10 : 60));
  run.reader = static_cast<Reader>(dice.Below(5));
  run.threads = static_cast<uint8_t>(1 + dice.Below(3));
  run.reader_at = 1 + dice.Below(20);
  run.batches = dice.OneIn(2);
  run.tells_hang_up = dice.OneIn(2);
  if (dice.OneIn(4)) run.kill_writer_at = 1 + dice.Below(20);
  return run;
}

uint64_t runs = 4000;
uint64_t first_seed = 1;

// The parameter is a thousand's first seed.
class RealPortProp : public ::testing::TestWithParam<uint64_t> {};

// SND-4, SND-6, SND-7, SND-13, CMP-1, CMP-2, CMP-5, CMP-6, FRG-4, FDS-5, SHM-6, SOC-3
TEST_P(RealPortProp, NothingIsLostDoubledLeakedOrStuck) {
  const uint64_t count = std::min(kRunsPerTest, first_seed + runs - GetParam());
  std::map<std::string, uint64_t> reached;
  for (uint64_t seed = GetParam(); seed < GetParam() + count; ++seed) {
    const RealRun run = RunOf(seed);
    const RealOutcome outcome = PlayForReal(run);
    for (const std::string& name : outcome.reached) ++reached[name];
    for (const std::string& finding : outcome.findings) {
      ADD_FAILURE() << "seed " << seed << ": " << finding;
    }
    if (HasFailure()) {
      std::printf("%s\n%s\n", ToString(run.conversation).c_str(), outcome.trace.c_str());
      return;
    }
  }
  for (const auto& [name, one_in] : kNeeded) {
    std::printf("%-27s %zu of %zu\n", name, reached[name], count);
    EXPECT_GE(one_in * reached[name], count) << name;
  }
}

// Asked for by InitGoogleTest, when the arguments are known.
INSTANTIATE_TEST_SUITE_P(EachThousand, RealPortProp,
                         ::testing::Range(first_seed, first_seed + runs, kRunsPerTest));

}  // namespace
}  // namespace portproof

int main(int argc, char** argv) {
  if (argc > 1 && argv[1][0] != '-') portproof::runs = std::strtoull(argv[1], nullptr, 10);
  if (argc > 2 && argv[2][0] != '-') portproof::first_seed = std::strtoull(argv[2], nullptr, 10);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
