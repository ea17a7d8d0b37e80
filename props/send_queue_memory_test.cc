// What a send queue holds and allocates, counted.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "props/allocation_count.h"
#include "protocol/send_queue.h"

namespace portproof {
namespace {

constexpr uint32_t kLimit = 16368;

TEST(SendQueueTest, TheSteadyStateAllocatesNothing) {
  SendQueue queue({.payload_bytes = kLimit});
  SendPlan plan;
  SendActions actions;
  const std::vector<Buffer> small = {{.address = 1, .bytes = 10}};
  const std::vector<Buffer> large = {{.address = 1, .bytes = 100000}};
  const auto round = [&] {
    for (uint32_t i = 0; i < 100; ++i) {
      queue.Write({.stream = i, .chain = i % 7 == 0 ? large : small}, actions);
    }
    for (;;) {
      queue.Plan(plan);
      if (plan.datagrams().empty()) return;
      actions.clear();
      queue.Commit(plan, plan.datagrams().size(), actions);
    }
  };
  for (int i = 0; i < 3; ++i) round();
  const uint64_t before = AllocationCount();
  for (int i = 0; i < 10; ++i) round();
  EXPECT_EQ(AllocationCount(), before);
}

TEST(SendQueueTest, AnIdleQueueHoldsNothing) {
  const uint64_t before = AllocationCount();
  SendQueue queue({.payload_bytes = kLimit});
  EXPECT_EQ(AllocationCount(), before);
  EXPECT_LE(sizeof(SendQueue), 512u);
}

}  // namespace
}  // namespace portproof
