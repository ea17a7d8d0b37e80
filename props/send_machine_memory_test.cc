// What a send machine holds and allocates, counted.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "props/allocation_count.h"
#include "protocol/send_machine.h"

namespace portproof {
namespace {

constexpr uint32_t kLimit = 16368;

TEST(SendMachineTest, TheSteadyStateAllocatesNothing) {
  SendMachine machine({.payload_bytes = kLimit});
  SendPlan plan;
  SendActions actions;
  const std::vector<Buffer> small = {{.address = 1, .bytes = 10}};
  const std::vector<Buffer> large = {{.address = 1, .bytes = 100000}};
  const auto round = [&] {
    for (uint32_t i = 0; i < 100; ++i) {
      Step(machine, WriteRequest{.stream = i, .chain = i % 7 == 0 ? large : small}, actions);
    }
    for (;;) {
      machine.Plan(plan);
      if (plan.datagrams().empty()) return;
      Step(machine, Sent{plan, plan.datagrams().size()}, actions);
    }
  };
  for (int i = 0; i < 3; ++i) round();
  const uint64_t before = AllocationCount();
  for (int i = 0; i < 10; ++i) round();
  EXPECT_EQ(AllocationCount(), before);
}

TEST(SendMachineTest, AnIdleMachineHoldsNothing) {
  const uint64_t before = AllocationCount();
  const SendMachine machine({.payload_bytes = kLimit});
  EXPECT_EQ(AllocationCount(), before);
  EXPECT_LE(sizeof(SendMachine), 512u);
}

}  // namespace
}  // namespace portproof
