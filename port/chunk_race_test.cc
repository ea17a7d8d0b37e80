// Two allocators on one segment, threads or processes: SHM-6, SHM-7. Each chunk has a
// word in shared memory that its owner claims and gives up, so that a second owner is
// seen by both. Argument: operations in all, a million without it.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "port/atomic_words.h"
#include "protocol/chunk_map.h"

namespace portproof {
namespace {

uint64_t operations = 1'000'000;

struct Shared {
  std::array<uint64_t, kMapWordsMax + 1> bits;  // and the end stop
  std::array<std::atomic<uint32_t>, kUnitGeometry.chunk_count> owner;
  std::atomic<uint32_t> ready;
  std::atomic<uint64_t> doubled, refused, allocated;
};

struct Range {
  uint32_t first = 0;
  uint32_t count = 0;
};

uint64_t Next(uint64_t& state) {  // xorshift64
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

// Requests that fill the segment, so that both allocators fight for the same words.
uint32_t Count(uint64_t dice) {
  if (dice % 16 == 0) return static_cast<uint32_t>(60 + dice / 16 % 80);
  return static_cast<uint32_t>(1 + (dice % 4 == 0 ? dice / 16 % 12 : 0));
}

class Contender {
 public:
  Contender(Shared& shared, uint32_t name) : shared_(shared), name_(name) {}

  void Run(uint64_t steps) {
    shared_.ready.fetch_add(1);
    while (shared_.ready.load() < 2) std::this_thread::yield();
    uint64_t dice = 0x9e3779b97f4a7c15 * name_;
    for (uint64_t i = 0; i < steps; ++i) {
      const uint64_t roll = Next(dice);
      if (held_.size() >= 48 || (roll >> 40 & 1) != 0) {
        GiveUp(roll >> 20);
      } else {
        Claim(Count(roll >> 20 & 0xffff));
      }
    }
    while (!held_.empty()) GiveUp(0);
  }

 private:
  void Claim(uint32_t count) {
    const auto first = AllocateChunks(words_, kUnitGeometry, count);
    if (!first) {
      shared_.refused.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    shared_.allocated.fetch_add(1, std::memory_order_relaxed);
    held_.push_back({*first, count});
    for (uint32_t i = 0; i < count; ++i) Change(*first + i, 0, name_);
  }
  void GiveUp(uint64_t dice) {
    if (held_.empty()) return;
    std::swap(held_[dice % held_.size()], held_.back());
    const Range range = held_.back();
    held_.pop_back();
    for (uint32_t i = 0; i < range.count; ++i) Change(range.first + i, name_, 0);
    FreeChunks(words_, range.first, range.count);
  }
  void Change(uint32_t chunk, uint32_t from, uint32_t to) {
    if (shared_.owner[chunk].exchange(to, std::memory_order_relaxed) != from) {
      shared_.doubled.fetch_add(1, std::memory_order_relaxed);
    }
  }

  Shared& shared_;
  uint32_t name_;
  AtomicWords words_{shared_.bits.data()};
  std::vector<Range> held_;
};

class ChunkRace : public testing::Test {
 protected:
  void SetUp() override {
    void* const memory =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    shared_ = new (memory) Shared();
    AtomicWords words(shared_->bits.data());
    FreeChunks(words, 0, kUnitGeometry.chunk_count);
  }
  void TearDown() override { munmap(shared_, sizeof(Shared)); }

  void ExpectIdle() {
    EXPECT_EQ(shared_->doubled.load(), 0U);
    for (size_t word = 0; word < kMapWordsMax; ++word) EXPECT_EQ(shared_->bits[word], ~uint64_t{0});
    EXPECT_EQ(shared_->bits[kMapWordsMax], 0U);
    for (const auto& owner : shared_->owner) EXPECT_EQ(owner.load(), 0U);
    EXPECT_GT(shared_->allocated.load(), operations / 4);
    EXPECT_GT(shared_->refused.load(), operations / 1000);
  }

  Shared* shared_ = nullptr;
};

TEST_F(ChunkRace, SHM_7_TwoThreadsNeverOwnOneChunk) {
  std::thread other([this] { Contender(*shared_, 2).Run(operations / 2); });
  Contender(*shared_, 1).Run(operations / 2);
  other.join();
  ExpectIdle();
}

TEST_F(ChunkRace, SHM_7_TwoProcessesNeverOwnOneChunk) {
  const pid_t other = fork();
  ASSERT_GE(other, 0);
  if (other == 0) {
    Contender(*shared_, 2).Run(operations / 2);
    _exit(0);
  }
  Contender(*shared_, 1).Run(operations / 2);
  int status = -1;
  ASSERT_EQ(waitpid(other, &status, 0), other);
  EXPECT_EQ(status, 0);
  ExpectIdle();
}

}  // namespace
}  // namespace portproof

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc > 1) portproof::operations = std::strtoull(argv[1], nullptr, 10);
  return RUN_ALL_TESTS();
}
