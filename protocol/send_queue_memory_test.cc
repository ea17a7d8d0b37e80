// What a send queue holds and allocates, counted.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "protocol/send_queue.h"

namespace {
uint64_t allocation_count = 0;
}  // namespace

void* operator new(size_t bytes) {
  ++allocation_count;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

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
  const uint64_t before = allocation_count;
  for (int i = 0; i < 10; ++i) round();
  EXPECT_EQ(allocation_count, before);
}

TEST(SendQueueTest, AnIdleQueueHoldsNothing) {
  const uint64_t before = allocation_count;
  SendQueue queue({.payload_bytes = kLimit});
  EXPECT_EQ(allocation_count, before);
  EXPECT_LE(sizeof(SendQueue), 512u);
}

}  // namespace
}  // namespace portproof
