// Conversations between real processes over port/: nothing is lost, doubled, leaked or
// stuck, and the traffic conforms by our own judge.
//   bazel test //props:real_port_prop
//   bazel run //props:real_port_prop -- 5000 [FIRST SEED]
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>

#include "oracle/conversation/generate.h"
#include "props/real_port.h"

namespace portproof {
namespace {

int runs = 1000;
uint64_t first_seed = 1;

// What must have happened, at least once in so many runs.
constexpr std::pair<const char*, int> kNeeded[] = {
    {"fragmented", 2},       {"fragmented, default sizes", 20},
    {"socket full", 2},      {"two fds", 3},
    {"segment", 2},          {"references", 3},
    {"failed", 5},           {"threads", 3},
    {"several senders", 5},  {"sendmmsg", 5},
    {"sendmmsg in part", 5}, {"writer killed", 10},
    {"reader slow", 10},     {"reader stopped", 10},
    {"reader killed", 10},   {"reader closed", 10},
    {"EPIPE", 20},
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
  if (dice.OneIn(4)) run.kill_writer_at = 1 + dice.Below(30);
  return run;
}

TEST(RealPortProp, NothingIsLostDoubledLeakedOrStuck) {
  std::map<std::string, int> reached;
  for (int i = 0; i < runs; ++i) {
    const uint64_t seed = first_seed + static_cast<uint64_t>(i);
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
    std::printf("%-27s %d of %d\n", name, reached[name], runs);
    EXPECT_GE(one_in * reached[name], runs) << name;
  }
}

}  // namespace
}  // namespace portproof

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (argc > 1) portproof::runs = std::atoi(argv[1]);
  if (argc > 2) portproof::first_seed = std::strtoull(argv[2], nullptr, 10);
  return RUN_ALL_TESTS();
}
