// How many system calls the ends make when nothing goes wrong. Each call through Kernel is
// counted; what a test does not name must not be made.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "port/fault_kernel.h"
#include "port/testing.h"

namespace portproof {
namespace {

using testing::Call;
using testing::FaultKernel;
using testing::kCalls;
using testing::LocalPort;
using testing::Newest;
using testing::TextBuffer;

using Counts = std::map<Call, uint64_t>;  // those that are not 0

constexpr uint32_t kBatch = ReceiveBatch::kDatagramsMax;

uint64_t CallsFor(uint64_t datagrams) { return (datagrams + kBatch - 1) / kBatch; }

class CallCountTest : public ::testing::Test {
 protected:
  // The port has got so many datagrams without descriptors that it reads in batches (RCV-5).
  CallCountTest() : port_(Newest(), {}, {}, {}, kernel_) {
    port_.BeginBatches();
    Calls();
  }

  // Those made since it was asked last.
  Counts Calls() {
    Counts made;
    for (size_t i = 0; i < kCalls; ++i) {
      const auto call = static_cast<Call>(i);
      const uint64_t count = kernel_.count(call);
      if (count != counted_[i]) made[call] = count - counted_[i];
      counted_[i] = count;
    }
    return made;
  }
  void Write(uint32_t count, bool batch, std::span<const int> fds = {}, bool close_fds = false) {
    const Buffer buffer = TextBuffer("text");
    for (uint32_t i = 0; i < count; ++i) {
      const Outgoing message = {.type = port_.data_type,
                                .stream = i,
                                .batch = batch,
                                .close_fds = close_fds,
                                .fds = fds,
                                .chain = {&buffer, 1}};
      ASSERT_EQ(port_.sender->Write(message), WriteAnswer::kAccepted);
    }
  }

  FaultKernel kernel_;
  LocalPort port_;
  std::array<uint64_t, kCalls> counted_ = {};
};

const std::vector<uint32_t> kMessages = {0, 1, 2, 15, 16, 17, 32, 64, 65, 100};

// RCV-6: the call that comes short has found the socket empty; only behind full ones is
// there one that brings nothing.
TEST_F(CallCountTest, ADrainHasOneExtraCallAtMost) {
  for (const uint32_t messages : kMessages) {
    Write(messages, false);
    Calls();
    port_.delivered.clear();
    EXPECT_EQ(port_.Drain(), Next::kWait);
    EXPECT_EQ(port_.delivered.size(), messages);
    EXPECT_EQ(Calls(), (Counts{{Call::kReceive, messages / kBatch + 1}})) << messages;
  }
}

// One less than a loop of recvmsg that reads until EAGAIN has.
TEST_F(CallCountTest, PingPongHasOneCallOnEachSide) {
  for (int i = 0; i < 100; ++i) {
    Write(1, false);
    EXPECT_EQ(Calls(), (Counts{{Call::kSend, 1}}));
    EXPECT_EQ(port_.receiver->Turn(), Next::kWait);
    EXPECT_EQ(Calls(), (Counts{{Call::kReceive, 1}}));
  }
}

TEST_F(CallCountTest, BatchesLeaveSixteenInACall) {
  for (const uint32_t messages : kMessages) {
    Write(messages, true);
    EXPECT_EQ(Calls(), Counts()) << messages;  // SND-1: until the flush
    port_.sender->Flush();
    Counts expected;
    const bool one_left = messages % kBatch == 1;  // alone, it goes by sendmsg
    if (const uint64_t batches = CallsFor(messages) - (one_left ? 1 : 0); batches != 0) {
      expected[Call::kSendBatch] = batches;
    }
    if (one_left) expected[Call::kSend] = 1;
    EXPECT_EQ(Calls(), expected) << messages;
    port_.Drain();
    Calls();
  }
}

TEST_F(CallCountTest, EightBatchedAreOneCall) {
  Write(8, true);
  port_.sender->Flush();
  EXPECT_EQ(Calls(), (Counts{{Call::kSendBatch, 1}}));
  EXPECT_EQ(kernel_.batches().back(), 8U);
}

// SND-2: what is written to a full socket costs no call, and leaves with the others.
TEST_F(CallCountTest, WhatWaitsCostsNothing) {
  while (!port_.sender->wants_writable()) Write(1, false);
  Calls();
  Write(10, false);
  EXPECT_EQ(Calls(), Counts());
  port_.Drain();
  Calls();
  port_.sender->OnWritable();
  EXPECT_EQ(Calls(), (Counts{{Call::kSendBatch, 1}}));
  EXPECT_EQ(kernel_.batches().back(), 11U);  // and the one that found it full
  port_.sender->OnWritable();
  EXPECT_EQ(Calls(), Counts());
  EXPECT_FALSE(port_.sender->wants_writable());
}

// SND-8, SND-9: a descriptor that leaves at once is not copied.
TEST_F(CallCountTest, DescriptorsThatLeaveAtOnceAreNotCopied) {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  Write(1, false, {&fd, 1});
  EXPECT_EQ(Calls(), (Counts{{Call::kSend, 1}}));
  Write(1, false, {&fd, 1}, true);
  EXPECT_EQ(Calls(), (Counts{{Call::kSend, 1}, {Call::kClose, 1}}));
}

}  // namespace
}  // namespace portproof
