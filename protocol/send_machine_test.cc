// Stories of a send queue: what is written, what the kernel answers, what leaves.
// A Desk is a queue with its shell played by the test; it writes down what happens.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "protocol/send_queue.h"
#include "testdata/vectors/compose_vectors.h"

namespace portproof {
namespace {

constexpr uint32_t kLimit = 16368;

// A message is named by a letter; its id is the letter.
class Desk {
 public:
  explicit Desk(SendLimits limits = {.pid = 7, .payload_bytes = kLimit}) : queue(limits) {}

  WriteResult Write(char name, uint32_t bytes, WriteRequest request = {}) {
    const std::vector<Buffer> chain = {{.address = 1 << 20, .bytes = bytes}};
    return WriteChain(name, chain, request);
  }
  WriteResult WriteChain(char name, const std::vector<Buffer>& chain, WriteRequest request = {}) {
    if (request.stream == 0) request.stream = static_cast<uint32_t>(name);
    request.message_id = static_cast<uint64_t>(name);
    request.chain = chain;
    return queue.Write(request, actions);
  }

  // The kernel takes up to `room` datagrams; "A A B" is what left.
  std::string Take(size_t room = 1000) {
    std::vector<std::string> left;
    while (room > 0) {
      queue.Plan(plan);
      if (plan.datagrams().empty()) break;
      const size_t count = std::min(room, plan.datagrams().size());
      for (size_t i = 0; i < count; ++i) {
        left.push_back(std::string(1, static_cast<char>(plan.datagrams()[i].header.stream)));
      }
      queue.Commit(plan, count, actions);
      room -= count;
    }
    return absl::StrJoin(left, " ");
  }

  // "(payload,last,nf,mf)" of everything that is left to send, which then leaves.
  std::string TakeShapes() {
    std::string text;
    for (queue.Plan(plan); !plan.datagrams().empty(); queue.Plan(plan)) {
      for (const PlannedDatagram& d : plan.datagrams()) {
        absl::StrAppend(&text, "(", d.payload_bytes, ",", d.header.last, ",", d.header.nf, ",",
                        d.header.mf, ")", d.header.mmap ? "s" : "");
      }
      queue.Commit(plan, plan.datagrams().size(), actions);
    }
    return text;
  }

  // What the shell was asked to do since the last call, briefly.
  std::string Actions() {
    std::vector<std::string> texts;
    for (const SendAction& action : actions) {
      if (action.kind == SendAction::Kind::kComplete) {
        texts.push_back(absl::StrCat(action.ok ? "" : "!",
                                     std::string(1, static_cast<char>(action.message_id))));
      } else {
        texts.push_back(ToString(action));
      }
    }
    actions.clear();
    return absl::StrJoin(texts, ", ");
  }

  SendQueue queue;
  SendPlan plan;
  SendActions actions;
};

WriteRequest OnStream(uint32_t stream) { return {.stream = stream}; }

WriteRequest WithFd(FdSlot fd, bool close_fds) {
  return {.close_fds = close_fds, .fd_count = 1, .fds = {fd, 0}};
}

// ------------------------------------------------------- order and fairness

TEST(SendQueueTest, TheExampleOfSectionFour) {  // SND-5, SND-6, CMP-2
  Desk desk;
  desk.Write('A', 150000);
  desk.Write('B', 150000);
  desk.Write('C', 10);
  EXPECT_EQ(desk.Take(), "A A A A B B B B C A A A A B B B B A A B B");
  EXPECT_EQ(desk.Actions(), "C, A, B");
}

TEST(SendQueueTest, TheExampleTakenOneByOne) {  // a batch changes nothing
  Desk desk;
  desk.Write('A', 150000);
  desk.Write('B', 150000);
  desk.Write('C', 10);
  std::string left;
  for (int i = 0; i < 21; ++i) absl::StrAppend(&left, desk.Take(1));
  EXPECT_EQ(left, "AAAABBBBCAAAABBBBAABB");
  EXPECT_TRUE(desk.queue.empty());
}

TEST(SendQueueTest, TwoMessagesOfOneStreamNeverMix) {  // SND-6
  Desk desk;
  desk.Write('A', 100000, OnStream('S'));
  desk.Write('B', 100000, OnStream('S'));
  desk.Write('C', 10);  // held back too: messages begin in the order written
  EXPECT_EQ(desk.Take(7), "S S S S S S S");
  EXPECT_EQ(desk.Actions(), "A");
  EXPECT_EQ(desk.Take(), "S S S S C S S S");
  EXPECT_EQ(desk.Actions(), "C, B");
}

TEST(SendQueueTest, StreamZeroIsAStream) {  // SND-6
  Desk desk;
  const std::vector<Buffer> chain = {{.address = 4096, .bytes = 100000}};
  SendActions actions;
  desk.queue.Write({.message_id = 'A', .chain = chain}, actions);
  desk.queue.Write({.message_id = 'B', .chain = chain}, actions);
  desk.Take(8);
  EXPECT_EQ(desk.Actions(), "A");
}

TEST(SendQueueTest, OneThatWaitsForItsStreamLetsBegunOnesPass) {  // SND-6
  Desk desk;
  desk.Write('A', 100000);
  desk.Write('B', 100000);
  desk.Write('C', 10, OnStream('A'));
  EXPECT_EQ(desk.Take(8), "A A A A B B B B");
  EXPECT_EQ(desk.Take(), "A A A A B B B");  // C is the fourth of the second four
  EXPECT_EQ(desk.Actions(), "A, C, B");
}

TEST(SendQueueTest, AStreamIsFreeAgainWhenItsMessageEnded) {  // SND-6
  Desk desk;
  desk.Write('A', 20000);
  desk.Write('B', 150000);
  desk.Write('C', 10, OnStream('A'));
  EXPECT_EQ(desk.Take(6), "A A B B B B");
  EXPECT_EQ(desk.Take(2), "A B");
}

TEST(SendQueueTest, ShareSurvivesWouldBlock) {  // SND-5
  Desk desk;
  desk.Write('A', 150000);
  desk.Write('B', 150000);
  EXPECT_EQ(desk.Take(3), "A A A");
  desk.queue.WouldBlock(desk.actions);
  desk.queue.Writable(desk.actions);
  EXPECT_EQ(desk.Take(2), "A B");
}

TEST(SendQueueTest, SharedMemoryRotatesAfterSixtyEightFullDatagrams) {  // SND-5, SHM-11
  Desk desk;
  std::vector<Buffer> chain;
  for (uint32_t i = 0; i < 70 * kSharedRunsMax; ++i) {
    chain.push_back({.bytes = 16384,
                     .segment_id = i / 320,
                     .segment_offset = (i % 320) * 2 * 16384,
                     .kind = BufferKind::kShared,
                     .usable = true});
  }
  desk.queue = SendQueue({.pid = 7, .payload_bytes = kLimit, .bytes_max = uint64_t{1} << 40});
  desk.WriteChain('A', chain);
  desk.Write('B', 10);
  EXPECT_EQ(desk.Take(68).size(), 2 * 68u - 1);
  EXPECT_EQ(desk.Take(), "B A A");
}

TEST(SendQueueTest, APlanStopsAtARotation) {
  Desk desk;
  desk.Write('A', 150000);
  desk.queue.Plan(desk.plan);
  EXPECT_EQ(desk.plan.datagrams().size(), 4u);
}

TEST(SendQueueTest, APlanHoldsAtMostSixteen) {
  Desk desk;
  for (int i = 0; i < 20; ++i) desk.Write(static_cast<char>('A' + i), 10);
  desk.queue.Plan(desk.plan);
  EXPECT_EQ(desk.plan.datagrams().size(), kPlanDatagramsMax);
}

TEST(SendQueueTest, APlanStaysGoodWhileMoreIsWritten) {  // never mixed with what is committed
  Desk desk;
  desk.Write('A', 20000);
  desk.Write('B', 10);
  desk.queue.Plan(desk.plan);
  desk.Write('C', 10);
  desk.queue.Commit(desk.plan, 2, desk.actions);
  EXPECT_EQ(desk.Actions(), "A");
  EXPECT_EQ(desk.Take(), "B C");
}

// --------------------------------------------------------------- the shapes

TEST(SendQueueTest, TheGoldenTable) {  // IOV-5, IOV-6, IOV-7 in the headers
  for (const GoldenCase& golden : LoadComposeVectors().golden) {
    Desk desk({.pid = 7, .payload_bytes = golden.payload_bytes_max});
    desk.WriteChain('A', golden.chain, {.last = golden.last_flag});
    std::string expected;
    for (const GoldenDatagram& d : golden.datagrams) {
      absl::StrAppend(&expected, "(", d.payload_bytes, ",", d.last, ",", d.nf, ",", d.mf, ")");
    }
    EXPECT_EQ(desk.TakeShapes(), expected) << golden.chain_is;
    EXPECT_EQ(desk.actions.size(), std::max<size_t>(1, golden.chain.size())) << golden.chain_is;
  }
}

TEST(SendQueueTest, ASmallRestOfASharedMessageGoesPlain) {  // SHM-4, SHM-5
  Desk desk({.pid = 7, .payload_bytes = 48});               // four references
  std::vector<Buffer> chain;
  for (uint32_t i = 0; i < 5; ++i) {
    chain.push_back({.address = uint64_t{1} << 30 | i * 40000,
                     .bytes = i == 4 ? 12u : 100u,
                     .segment_offset = i * 16384,
                     .kind = BufferKind::kShared,
                     .usable = true});
  }
  desk.WriteChain('A', chain);
  EXPECT_EQ(desk.TakeShapes(), "(48,0,0,1)s(12,0,1,0)");
  chain.back().bytes = 13;
  desk.WriteChain('B', chain);
  EXPECT_EQ(desk.TakeShapes(), "(48,0,0,1)s(12,0,1,0)s");
}

TEST(SendQueueTest, TrackingStandsBeforeTheReferences) {  // SHM-1
  Desk desk;
  const std::vector<Buffer> chain = {{.address = 1,
                                      .bytes = 100,
                                      .segment_id = 2,
                                      .segment_offset = 3 * 16384,
                                      .kind = BufferKind::kShared,
                                      .usable = true}};
  desk.WriteChain('A', chain, {.tracking = Tracking{5, 6}});
  desk.queue.Plan(desk.plan);
  ASSERT_EQ(desk.plan.datagrams().size(), 1u);
  const PlannedDatagram& datagram = desk.plan.datagrams()[0];
  EXPECT_EQ(datagram.payload_bytes, 20u);
  EXPECT_EQ(datagram.header.byte15, 1);
  EXPECT_EQ(datagram.tracking, (Tracking{5, 6}));
  EXPECT_EQ(ReferenceOf(desk.plan.RunsOf(datagram)[0], 16384), (Reference{2, 3, 100}));
  EXPECT_EQ(ToString(datagram.header), "stream 65 pid 7 reply 0 type 0 mmap");
}

// In the first datagram alone: 48 bytes hold 3 references behind tracking, and 4 else.
TEST(SendQueueTest, SHM_15_OnlyTheFirstDatagramCarriesTracking) {
  Desk desk({.payload_bytes = 48});
  std::vector<Buffer> chain;
  for (uint32_t i = 0; i < 8; ++i) {
    chain.push_back({.address = 1 + i * uint64_t{1000},
                     .bytes = 100,
                     .segment_offset = 2 * i * 16384,
                     .kind = BufferKind::kShared,
                     .usable = true});
  }
  desk.WriteChain('A', chain, {.tracking = Tracking{5, 6}});
  desk.queue.Plan(desk.plan);
  ASSERT_EQ(desk.plan.datagrams().size(), 3u);
  const std::array<uint32_t, 3> bytes = {8 + 3 * 12, 4 * 12, 12};
  for (size_t i = 0; i < 3; ++i) {
    const PlannedDatagram& datagram = desk.plan.datagrams()[i];
    EXPECT_EQ(datagram.tracking.has_value(), i == 0) << i;
    EXPECT_EQ(datagram.header.byte15, i == 0 ? 1 : 0) << i;
    EXPECT_EQ(datagram.payload_bytes, bytes[i]) << i;
  }
}

// The write says whether there is something to cancel.
TEST(SendQueueTest, SHM_15_OnlyWhatBeginsWithReferencesIsTracked) {
  const auto tracked = [](uint32_t stream, uint32_t bytes, bool usable, bool asked) {
    Desk desk;
    const std::vector<Buffer> chain = {
        {.address = 1, .bytes = bytes, .kind = BufferKind::kShared, .usable = usable}};
    WriteRequest request = {.stream = stream, .chain = chain};
    if (asked) request.tracking = Tracking{5, 6};
    SendActions actions;
    const WriteResult result = desk.queue.Write(request, actions);
    EXPECT_EQ(result.answer, WriteAnswer::kAccepted);
    desk.queue.Plan(desk.plan);
    EXPECT_EQ(desk.plan.datagrams()[0].tracking.has_value(), result.tracked);
    EXPECT_EQ(desk.plan.datagrams()[0].header.byte15, result.tracked ? 1 : 0);
    return result.tracked;
  };
  EXPECT_TRUE(tracked(1, 13, true, true));
  EXPECT_FALSE(tracked(1, 12, true, true));   // SHM-4
  EXPECT_FALSE(tracked(1, 13, false, true));  // SHM-3
  EXPECT_FALSE(tracked(0, 13, true, true));   // 0 says that nothing is tracked
  EXPECT_FALSE(tracked(1, 13, true, false));
}

// ------------------------------------------------------- the kernel says no

TEST(SendQueueTest, WouldBlockArmsOnceAndLosesNothing) {  // SND-2, SND-7
  Desk desk;
  EXPECT_TRUE(desk.Write('A', 10).flush_now);
  desk.queue.WouldBlock(desk.actions);
  EXPECT_EQ(desk.Actions(), "arm");
  EXPECT_FALSE(desk.Write('B', 10).flush_now);  // appended
  EXPECT_TRUE(desk.queue.Writable(desk.actions));
  desk.queue.WouldBlock(desk.actions);
  EXPECT_EQ(desk.Actions(), "");
  EXPECT_TRUE(desk.queue.Writable(desk.actions));
  EXPECT_EQ(desk.Take(), "A B");
}

TEST(SendQueueTest, TheEventIsDisarmedByTheWakeupThatFindsNothing) {
  Desk desk;
  desk.Write('A', 10);
  desk.queue.WouldBlock(desk.actions);
  desk.queue.Writable(desk.actions);
  desk.Take();
  EXPECT_EQ(desk.Actions(), "arm, A");
  EXPECT_FALSE(desk.queue.Writable(desk.actions));
  EXPECT_EQ(desk.Actions(), "disarm");
}

TEST(SendQueueTest, BusyAsksAgainLaterAndLater) {  // SND-2
  Desk desk;
  desk.Write('A', 10);
  std::string delays;
  for (int i = 0; i < 9; ++i) {
    desk.queue.Busy(desk.actions);
    absl::StrAppend(&delays, desk.Actions(), "; ");
    EXPECT_FALSE(desk.Write('B', 0).flush_now);
    EXPECT_TRUE(desk.queue.Retry());
  }
  EXPECT_EQ(delays,
            "retry in 1 ms; retry in 2 ms; retry in 4 ms; retry in 8 ms; retry in 16 ms; "
            "retry in 32 ms; retry in 64 ms; retry in 100 ms; retry in 100 ms; ");
  EXPECT_EQ(desk.Take(1), "A");
  desk.Actions();
  desk.queue.Busy(desk.actions);
  EXPECT_EQ(desk.Actions(), "retry in 1 ms");
}

TEST(SendQueueTest, ABusyKernelIsNotAskedAgainBecauseItIsWritable) {  // SND-2
  Desk desk;
  desk.Write('A', 10);
  desk.queue.WouldBlock(desk.actions);
  desk.queue.Writable(desk.actions);
  desk.queue.Busy(desk.actions);
  EXPECT_EQ(desk.Actions(), "arm, disarm, retry in 1 ms");
  EXPECT_FALSE(desk.queue.Writable(desk.actions));
}

TEST(SendQueueTest, AMessageErrorFailsTheUnbegunMessageAlone) {  // SND-4
  Desk desk;
  desk.Write('A', 10, WithFd(5, true));
  desk.Write('B', 10);
  desk.queue.MessageError(desk.actions);
  EXPECT_EQ(desk.Actions(), "close fd 5, !A");
  EXPECT_EQ(desk.Take(), "B");
}

TEST(SendQueueTest, AMessageErrorOnABegunMessageFailsThePort) {  // SND-4, CMP-5
  Desk desk;
  desk.Write('A', 150000);
  desk.Write('B', 150000);
  desk.Write('C', 10, WithFd(5, true));
  desk.Take(5);
  desk.Actions();
  desk.queue.MessageError(desk.actions);
  EXPECT_EQ(desk.Actions(), "!B, close fd 5, !C, !A");  // A had rotated to the end
  EXPECT_EQ(desk.Write('D', 1).answer, WriteAnswer::kFailed);
}

TEST(SendQueueTest, APortErrorFailsSyncBuffersToo) {  // CMP-5
  Desk desk;
  desk.WriteChain('A', {{.address = 1, .bytes = 20000},
                        {.kind = BufferKind::kSync, .last = true},
                        {.address = 1, .bytes = 0}});
  desk.Take(1);
  desk.queue.WouldBlock(desk.actions);
  desk.Actions();
  desk.queue.PortError(desk.actions);
  EXPECT_EQ(desk.Actions(), "!A, !A, !A, disarm");
}

TEST(SendQueueTest, ClosingFailsWhatIsQueued) {  // PRT-2
  Desk desk;
  desk.Write('A', 10);
  desk.queue.Close(desk.actions);
  EXPECT_EQ(desk.Actions(), "!A");
  EXPECT_EQ(desk.Write('B', 1).answer, WriteAnswer::kClosed);
}

// ------------------------------------------------------------- completions

TEST(SendQueueTest, ABufferCompletesWithItsLastByte) {  // CMP-3
  Desk desk({.pid = 7, .payload_bytes = 48});
  desk.WriteChain('A', {{.address = 1, .id = 1},
                        {.address = 100, .id = 2, .bytes = 50},
                        {.id = 3, .kind = BufferKind::kSync},
                        {.address = 200, .id = 4, .bytes = 60}});
  const auto completed = [&desk] {
    std::string ids;
    for (const SendAction& action : desk.actions) absl::StrAppend(&ids, action.buffer_id);
    desk.actions.clear();
    return ids;
  };
  desk.Take(1);
  EXPECT_EQ(completed(), "1");
  desk.Take(1);
  EXPECT_EQ(completed(), "23");
  desk.Take(1);
  EXPECT_EQ(completed(), "4");
}

// ------------------------------------------------------------- descriptors

TEST(SendQueueTest, AMessageThatLeavesAtOnceOnlyBorrows) {  // SND-8, SND-9
  Desk desk;
  desk.Write('A', 20000, WithFd(5, false));
  desk.queue.Plan(desk.plan);
  EXPECT_EQ(desk.plan.datagrams()[0].fd_count, 1);
  EXPECT_EQ(desk.plan.datagrams()[1].fd_count, 0);
  desk.Take();
  EXPECT_EQ(desk.Actions(), "A");
}

TEST(SendQueueTest, AMessageThatMustWaitOwnsCopies) {  // SND-8
  Desk desk;
  desk.Write('A', 10, WithFd(5, false));
  desk.queue.WouldBlock(desk.actions);
  EXPECT_EQ(desk.Actions(), "duplicate fd 5, arm");
  desk.Write('B', 10, WithFd(6, false));
  EXPECT_EQ(desk.Actions(), "duplicate fd 6");
  desk.queue.WouldBlock(desk.actions);
  EXPECT_EQ(desk.Actions(), "");
  desk.queue.Writable(desk.actions);
  desk.Take();
  EXPECT_EQ(desk.Actions(), "close fd 5, A, close fd 6, B");
}

TEST(SendQueueTest, BatchingWaitsSoItOwnsCopies) {  // SND-1, SND-8
  Desk desk;
  WriteRequest request = WithFd(5, false);
  request.batch = true;
  EXPECT_FALSE(desk.Write('A', 10, request).flush_now);
  EXPECT_EQ(desk.Actions(), "duplicate fd 5");
  EXPECT_TRUE(desk.Write('B', 10).flush_now);
  EXPECT_EQ(desk.Take(), "A B");
}

TEST(SendQueueTest, AWriteCanBeTakenBack) {  // SND-1, SND-8: the copy could not be made
  Desk desk;
  desk.Write('A', 10);
  desk.queue.WouldBlock(desk.actions);
  const SendQueue before = desk.queue;
  desk.Write('B', 10, WithFd(5, false));
  EXPECT_FALSE(desk.queue == before);
  desk.queue.WithdrawLast();
  EXPECT_EQ(desk.queue, before) << ToString(desk.queue);
}

// SHM-10: the announcement of segment 3 failed. What would name it goes, in its order; not
// what is copied from it, nor what names another.
TEST(SendQueueTest, SHM_10_WhatNamesALostSegmentFails) {
  const auto shared = [](uint32_t segment_id) {
    return Buffer{.address = 1 << 20,
                  .bytes = 100,
                  .segment_id = segment_id,
                  .kind = BufferKind::kShared,
                  .usable = true};
  };
  Desk desk;
  desk.WriteChain('a', {shared(3)}, {.close_fds = true, .fd_count = 1, .fds = {4}});
  desk.WriteChain('b', {shared(2)});
  desk.WriteChain('c', {shared(2), shared(3)});
  desk.WriteChain('d', {shared(3), {.address = 64, .bytes = 5}});
  Buffer empty = shared(3);
  empty.bytes = 0;  // becomes no reference
  desk.WriteChain('e', {shared(2), empty});
  desk.queue.FailNaming(3, desk.actions);
  EXPECT_EQ(desk.Actions(), "close fd 4, !a, !c, !c");
  EXPECT_EQ(desk.queue.queued_bytes(), 305U);
  EXPECT_EQ(desk.queue.queued_fds(), 0U);
  EXPECT_EQ(desk.TakeShapes(), "(12,0,0,0)s(105,0,0,0)(12,0,0,0)s");
}

// SND-8: one writer's flush is under way when another's descriptor cannot be copied.
TEST(SendQueueTest, SND_8_AWithdrawnMessageDisturbsNoPlan) {
  Desk desk;
  desk.Write('a', 10);
  desk.queue.Plan(desk.plan);
  desk.Write('b', 10, {.batch = true, .fd_count = 1, .fds = {4}});
  desk.queue.WithdrawLast();
  desk.queue.Commit(desk.plan, 1, desk.actions);
  EXPECT_EQ(desk.Actions(), "duplicate fd 4, a");
  EXPECT_TRUE(desk.queue.empty());
}

// ------------------------------------------------------------------ bounds

TEST(SendQueueTest, TheLimitIsAllowedOneMoreIsRefused) {  // SND-12
  Desk desk({.payload_bytes = kLimit, .messages_max = 2, .bytes_max = 100, .fds_max = 1});
  EXPECT_EQ(desk.Write('A', 100, WithFd(5, true)).answer, WriteAnswer::kAccepted);
  const SendQueue before = desk.queue;
  EXPECT_EQ(desk.Write('B', 1).answer, WriteAnswer::kBytesFull);
  EXPECT_EQ(desk.Write('B', 0, WithFd(6, true)).answer, WriteAnswer::kFdsFull);
  EXPECT_EQ(desk.queue, before);
  EXPECT_EQ(desk.Write('B', 0).answer, WriteAnswer::kAccepted);
  EXPECT_EQ(desk.Write('C', 0).answer, WriteAnswer::kMessagesFull);
  EXPECT_EQ(desk.Actions(), "");
  EXPECT_EQ(desk.Take(), "A B");
  EXPECT_EQ(desk.Write('C', 100, WithFd(6, true)).answer, WriteAnswer::kAccepted);
}

TEST(SendQueueTest, WhatTheProfileLacksIsRefused) {  // HDR-4, FDS-2, FRG-10
  Desk desk(
      {.payload_bytes = kLimit, .type_count = 13, .fds_per_message = 1, .takes_fragments = false});
  EXPECT_EQ(desk.Write('A', 1, {.type = 13}).answer, WriteAnswer::kType);
  EXPECT_EQ(desk.Write('A', 1, {.fd_count = 2}).answer, WriteAnswer::kFds);
  EXPECT_EQ(desk.Write('A', kLimit + 1).answer, WriteAnswer::kFragments);
  EXPECT_EQ(desk.Write('A', kLimit, {.type = 12, .fd_count = 1}).answer, WriteAnswer::kAccepted);
}

TEST(SendQueueTest, PortParameters) {  // SND-11
  const Profile& newest = Profiles().back();
  EXPECT_TRUE(SendParametersAllowed(newest, 16384, 65536, 16384 + 32));
  EXPECT_FALSE(SendParametersAllowed(newest, 16384, 65536, 16384 + 31));
  EXPECT_FALSE(SendParametersAllowed(newest, 16384, 0, 1 << 20));
  EXPECT_FALSE(SendParametersAllowed(newest, 63, 1, 1 << 20));
  EXPECT_TRUE(SendParametersAllowed(newest, 64, 1, 1 << 20));
  EXPECT_FALSE(SendParametersAllowed(newest, (1 << 20) + 1, 1, 1 << 30));
  const Profile& oldest = *ResolveProfile("unit-0.2")->profile;
  EXPECT_FALSE(SendParametersAllowed(oldest, 16384, 65536, 16384 + 47));
  EXPECT_TRUE(SendParametersAllowed(oldest, 16384, 65536, 16384 + 48));
}

}  // namespace
}  // namespace portproof
