// Stories of the send machine: what is written, what the kernel answers, what leaves.
// A Desk is a machine with its shell played by the test; it writes down what happens.
#include "protocol/send_machine.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "testdata/vectors/compose_vectors.h"

namespace portproof {
namespace {

constexpr uint32_t kLimit = 16368;

struct WriteResult {
  WriteAnswer answer = WriteAnswer::kAccepted;
  bool flush_now = false;
  bool tracked = false;
};

// A message is named by a letter; its id is the letter.
class Desk {
 public:
  explicit Desk(SendLimits limits = {.pid = 7, .payload_bytes = kLimit}) : machine(limits) {
    for (uint32_t id = 0; id < 20; ++id) {
      Step(machine, AnnounceSegment{.segment_id = id, .tracking_slots = 10}, actions);
      machine.Plan(plan);
      Step(machine, Sent{plan, 1}, actions);
    }
    actions.clear();
  }

  WriteResult Write(char name, uint32_t bytes, WriteRequest request = {}) {
    const std::vector<Buffer> chain = {{.address = 1 << 20, .bytes = bytes}};
    return WriteChain(name, chain, request);
  }
  WriteResult WriteChain(char name, const std::vector<Buffer>& chain, WriteRequest request = {}) {
    if (request.stream == 0) request.stream = static_cast<uint8_t>(name);
    request.message_id = static_cast<uint8_t>(name);
    request.chain = chain;
    return After(request);
  }

  // What the event led to; what the shell was asked to do is kept.
  template <typename Event>
  WriteResult After(const Event& event) {
    WriteResult result;
    SendActions step;
    Step(machine, event, step);
    for (const SendAction& action : step) {
      if (action.kind == SendAction::Kind::kRefuse) result.answer = action.answer;
      if (action.kind == SendAction::Kind::kFlush) result.flush_now = true;
      if (action.kind == SendAction::Kind::kTrack) result.tracked = true;
      const bool told = action.kind == SendAction::Kind::kRefuse ||
                        action.kind == SendAction::Kind::kFlush ||
                        action.kind == SendAction::Kind::kTrack;
      if (!told) actions.push_back(action);
    }
    return result;
  }
  void Answer(SendAnswer answer, size_t count = 0) {
    machine.Plan(plan);
    After(Sent{plan, count, answer});
  }
  bool Writable() { return After(BecameWritable()).flush_now; }

  // The kernel takes up to `room` datagrams; "A A B" is what left.
  std::string Take(size_t room = 1000) {
    std::vector<std::string> left;
    while (room > 0) {
      machine.Plan(plan);
      if (plan.datagrams().empty()) break;
      const size_t count = std::min(room, plan.datagrams().size());
      for (size_t i = 0; i < count; ++i) {
        left.push_back(std::string(1, static_cast<char>(plan.datagrams()[i].header.stream)));
      }
      After(Sent{plan, count});
      room -= count;
    }
    return absl::StrJoin(left, " ");
  }

  // "(payload,last,nf,mf)" of everything that is left to send, which then leaves.
  std::string TakeShapes() {
    std::string text;
    for (machine.Plan(plan); !plan.datagrams().empty(); machine.Plan(plan)) {
      for (const PlannedDatagram& d : plan.datagrams()) {
        absl::StrAppend(&text, "(", d.payload_bytes, ",", d.header.last, ",", d.header.nf, ",",
                        d.header.mf, ")", d.header.mmap ? "s" : "");
      }
      After(Sent{plan, plan.datagrams().size()});
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

  SendPlan plan;
  SendMachine machine;
  SendActions actions;
};

WriteRequest OnStream(uint32_t stream) { return {.stream = stream}; }

WriteRequest WithFd(FdSlot fd, bool close_fds) {
  return {.close_fds = close_fds, .fd_count = 1, .fds = {fd, 0}};
}

// ------------------------------------------------------- order and fairness

TEST(SendMachineTest, TheExampleOfSectionFour) {  // SND-5, SND-6, CMP-2
  Desk desk;
  desk.Write('A', 150000);
  desk.Write('B', 150000);
  desk.Write('C', 10);
  EXPECT_EQ(desk.Take(), "A A A A B B B B C A A A A B B B B A A B B");
  EXPECT_EQ(desk.Actions(), "C, A, B");
}

TEST(SendMachineTest, TheExampleTakenOneByOne) {  // a batch changes nothing
  Desk desk;
  desk.Write('A', 150000);
  desk.Write('B', 150000);
  desk.Write('C', 10);
  std::string left;
  for (int i = 0; i < 21; ++i) absl::StrAppend(&left, desk.Take(1));
  EXPECT_EQ(left, "AAAABBBBCAAAABBBBAABB");
  EXPECT_TRUE(desk.machine.empty());
}

TEST(SendMachineTest, TwoMessagesOfOneStreamNeverMix) {  // SND-6
  Desk desk;
  desk.Write('A', 100000, OnStream('S'));
  desk.Write('B', 100000, OnStream('S'));
  desk.Write('C', 10);  // held back too: messages begin in the order written
  EXPECT_EQ(desk.Take(7), "S S S S S S S");
  EXPECT_EQ(desk.Actions(), "A");
  EXPECT_EQ(desk.Take(), "S S S S C S S S");
  EXPECT_EQ(desk.Actions(), "C, B");
}

TEST(SendMachineTest, StreamZeroIsAStream) {  // SND-6
  Desk desk;
  const std::vector<Buffer> chain = {{.address = 4096, .bytes = 100000}};
  desk.After(WriteRequest{.message_id = 'A', .chain = chain});
  desk.After(WriteRequest{.message_id = 'B', .chain = chain});
  desk.Take(8);
  EXPECT_EQ(desk.Actions(), "A");
}

TEST(SendMachineTest, OneThatWaitsForItsStreamLetsBegunOnesPass) {  // SND-6
  Desk desk;
  desk.Write('A', 100000);
  desk.Write('B', 100000);
  desk.Write('C', 10, OnStream('A'));
  EXPECT_EQ(desk.Take(8), "A A A A B B B B");
  EXPECT_EQ(desk.Take(), "A A A A B B B");  // C is the fourth of the second four
  EXPECT_EQ(desk.Actions(), "A, C, B");
}

TEST(SendMachineTest, AStreamIsFreeAgainWhenItsMessageEnded) {  // SND-6
  Desk desk;
  desk.Write('A', 20000);
  desk.Write('B', 150000);
  desk.Write('C', 10, OnStream('A'));
  EXPECT_EQ(desk.Take(6), "A A B B B B");
  EXPECT_EQ(desk.Take(2), "A B");
}

TEST(SendMachineTest, ShareSurvivesWouldBlock) {  // SND-5
  Desk desk;
  desk.Write('A', 150000);
  desk.Write('B', 150000);
  EXPECT_EQ(desk.Take(3), "A A A");
  desk.Answer(SendAnswer::kWouldBlock);
  desk.Writable();
  EXPECT_EQ(desk.Take(2), "A B");
}

TEST(SendMachineTest, SharedMemoryRotatesAfterSixtyEightFullDatagrams) {  // SND-5, SHM-11
  Desk desk({.pid = 7, .payload_bytes = kLimit, .bytes_max = uint64_t{1} << 40});
  std::vector<Buffer> chain;
  for (uint32_t i = 0; i < 70 * kSharedRunsMax; ++i) {
    chain.push_back({.bytes = 16384,
                     .segment_id = i / 320,
                     .segment_offset = (i % 320) * 2 * 16384,
                     .kind = BufferKind::kShared,
                     .usable = true});
  }
  desk.WriteChain('A', chain);
  desk.Write('B', 10);
  EXPECT_EQ(desk.Take(68).size(), 2 * 68u - 1);
  EXPECT_EQ(desk.Take(), "B A A");
}

TEST(SendMachineTest, APlanStopsAtARotation) {
  Desk desk;
  desk.Write('A', 150000);
  desk.machine.Plan(desk.plan);
  EXPECT_EQ(desk.plan.datagrams().size(), 4u);
}

TEST(SendMachineTest, APlanHoldsAtMostSixteen) {
  Desk desk;
  for (int i = 0; i < 20; ++i) desk.Write(static_cast<char>('A' + i), 10);
  desk.machine.Plan(desk.plan);
  EXPECT_EQ(desk.plan.datagrams().size(), kPlanDatagramsMax);
}

TEST(SendMachineTest, APlanStaysGoodWhileMoreIsWritten) {  // never mixed with what is committed
  Desk desk;
  desk.Write('A', 20000);
  desk.Write('B', 10);
  desk.machine.Plan(desk.plan);
  desk.Write('C', 10);
  desk.After(Sent{desk.plan, 2});
  EXPECT_EQ(desk.Actions(), "A");
  EXPECT_EQ(desk.Take(), "B C");
}

// --------------------------------------------------------------- the shapes

TEST(SendMachineTest, TheGoldenTable) {  // IOV-5, IOV-6, IOV-7 in the headers
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

TEST(SendMachineTest, ASmallRestOfASharedMessageGoesPlain) {  // SHM-4, SHM-5
  Desk desk({.pid = 7, .payload_bytes = 48});                 // four references
  std::vector<Buffer> chain;
  for (uint32_t i = 0; i < 5; ++i) {
    chain.push_back({.address = uint64_t{1} << 30 | uint64_t{i} * 40000,
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

TEST(SendMachineTest, TrackingStandsBeforeTheReferences) {  // SHM-1
  Desk desk;
  const std::vector<Buffer> chain = {{.address = 1,
                                      .bytes = 100,
                                      .segment_id = 2,
                                      .segment_offset = 3 * 16384,
                                      .kind = BufferKind::kShared,
                                      .usable = true}};
  desk.WriteChain('A', chain, {.tracking = Tracking{5, 6}});
  desk.machine.Plan(desk.plan);
  ASSERT_EQ(desk.plan.datagrams().size(), 1u);
  const PlannedDatagram& datagram = desk.plan.datagrams()[0];
  EXPECT_EQ(datagram.payload_bytes, 20u);
  EXPECT_EQ(datagram.header.byte15, 1);
  EXPECT_EQ(datagram.tracking, (Tracking{5, 6}));
  EXPECT_EQ(ReferenceOf(desk.plan.RunsOf(datagram)[0], 16384), (Reference{2, 3, 100}));
  EXPECT_EQ(ToString(datagram.header), "stream 65 pid 7 reply 0 type 0 mmap");
}

// In the first datagram alone: 48 bytes hold 3 references behind tracking, and 4 else.
TEST(SendMachineTest, SHM_15_OnlyTheFirstDatagramCarriesTracking) {
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
  desk.machine.Plan(desk.plan);
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
TEST(SendMachineTest, SHM_15_OnlyWhatBeginsWithReferencesIsTracked) {
  const auto tracked = [](uint32_t stream, uint32_t bytes, bool usable, bool asked) {
    Desk desk;
    const std::vector<Buffer> chain = {
        {.address = 1, .bytes = bytes, .kind = BufferKind::kShared, .usable = usable}};
    WriteRequest request = {.stream = stream, .chain = chain};
    if (asked) request.tracking = Tracking{5, 6};
    const WriteResult result = desk.After(request);
    EXPECT_EQ(result.answer, WriteAnswer::kAccepted);
    desk.machine.Plan(desk.plan);
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

TEST(SendMachineTest, WouldBlockArmsOnceAndLosesNothing) {  // SND-2, SND-7
  Desk desk;
  EXPECT_TRUE(desk.Write('A', 10).flush_now);
  desk.Answer(SendAnswer::kWouldBlock);
  EXPECT_EQ(desk.Actions(), "arm");
  EXPECT_FALSE(desk.Write('B', 10).flush_now);  // appended
  EXPECT_TRUE(desk.Writable());
  desk.Answer(SendAnswer::kWouldBlock);
  EXPECT_EQ(desk.Actions(), "");
  EXPECT_TRUE(desk.Writable());
  EXPECT_EQ(desk.Take(), "A B");
}

TEST(SendMachineTest, TheEventIsDisarmedByTheWakeupThatFindsNothing) {
  Desk desk;
  desk.Write('A', 10);
  desk.Answer(SendAnswer::kWouldBlock);
  desk.Writable();
  desk.Take();
  EXPECT_EQ(desk.Actions(), "arm, A");
  EXPECT_FALSE(desk.Writable());
  EXPECT_EQ(desk.Actions(), "disarm");
}

TEST(SendMachineTest, BusyAsksAgainLaterAndLater) {  // SND-2
  Desk desk;
  desk.Write('A', 10);
  std::string delays;
  for (int i = 0; i < 9; ++i) {
    desk.Answer(SendAnswer::kBusy);
    absl::StrAppend(&delays, desk.Actions(), "; ");
    EXPECT_FALSE(desk.Write('B', 0).flush_now);
    EXPECT_TRUE(desk.After(RetryDue()).flush_now);
  }
  EXPECT_EQ(delays,
            "retry in 1 ms; retry in 2 ms; retry in 4 ms; retry in 8 ms; retry in 16 ms; "
            "retry in 32 ms; retry in 64 ms; retry in 100 ms; retry in 100 ms; ");
  EXPECT_EQ(desk.Take(1), "A");
  desk.Actions();
  desk.Answer(SendAnswer::kBusy);
  EXPECT_EQ(desk.Actions(), "retry in 1 ms");
}

TEST(SendMachineTest, ABusyKernelIsNotAskedAgainBecauseItIsWritable) {  // SND-2
  Desk desk;
  desk.Write('A', 10);
  desk.Answer(SendAnswer::kWouldBlock);
  desk.Writable();
  desk.Answer(SendAnswer::kBusy);
  EXPECT_EQ(desk.Actions(), "arm, disarm, retry in 1 ms");
  EXPECT_FALSE(desk.Writable());
}

TEST(SendMachineTest, AMessageErrorFailsTheUnbegunMessageAlone) {  // SND-4
  Desk desk;
  desk.Write('A', 10, WithFd(5, true));
  desk.Write('B', 10);
  desk.Answer(SendAnswer::kMessageError);
  EXPECT_EQ(desk.Actions(), "close fd 5, !A");
  EXPECT_EQ(desk.Take(), "B");
}

TEST(SendMachineTest, AMessageErrorOnABegunMessageFailsThePort) {  // SND-4, CMP-5
  Desk desk;
  desk.Write('A', 150000);
  desk.Write('B', 150000);
  desk.Write('C', 10, WithFd(5, true));
  desk.Take(5);
  desk.Actions();
  desk.Answer(SendAnswer::kMessageError);
  EXPECT_EQ(desk.Actions(), "!B, close fd 5, !C, !A");  // A had rotated to the end
  EXPECT_EQ(desk.Write('D', 1).answer, WriteAnswer::kFailed);
}

TEST(SendMachineTest, APortErrorFailsSyncBuffersToo) {  // CMP-5
  Desk desk;
  desk.WriteChain('A', {{.address = 1, .bytes = 20000},
                        {.kind = BufferKind::kSync, .last = true},
                        {.address = 1, .bytes = 0}});
  desk.Take(1);
  desk.Answer(SendAnswer::kWouldBlock);
  desk.Actions();
  desk.After(HungUp());
  EXPECT_EQ(desk.Actions(), "!A, !A, !A, disarm");
}

TEST(SendMachineTest, ClosingFailsWhatIsQueued) {  // PRT-2
  Desk desk;
  desk.Write('A', 10);
  desk.After(SenderClosed());
  EXPECT_EQ(desk.Actions(), "!A");
  EXPECT_EQ(desk.Write('B', 1).answer, WriteAnswer::kClosed);
}

// ------------------------------------------------------------- completions

TEST(SendMachineTest, ABufferCompletesWithItsLastByte) {  // CMP-3
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

TEST(SendMachineTest, AMessageThatLeavesAtOnceOnlyBorrows) {  // SND-8, SND-9
  Desk desk;
  desk.Write('A', 20000, WithFd(5, false));
  desk.machine.Plan(desk.plan);
  EXPECT_EQ(desk.plan.datagrams()[0].fd_count, 1);
  EXPECT_EQ(desk.plan.datagrams()[1].fd_count, 0);
  desk.Take();
  EXPECT_EQ(desk.Actions(), "release fd 5, A");
}

TEST(SendMachineTest, AMessageThatMustWaitOwnsCopies) {  // SND-8
  Desk desk;
  desk.Write('A', 10, WithFd(5, false));
  desk.Answer(SendAnswer::kWouldBlock);
  EXPECT_EQ(desk.Actions(), "arm, duplicate fd 5");
  desk.Write('B', 10, WithFd(6, false));
  EXPECT_EQ(desk.Actions(), "duplicate fd 6");
  desk.Answer(SendAnswer::kWouldBlock);
  EXPECT_EQ(desk.Actions(), "");
  desk.Writable();
  desk.Take();
  EXPECT_EQ(desk.Actions(), "close fd 5, A, close fd 6, B");
}

TEST(SendMachineTest, BatchingWaitsSoItOwnsCopies) {  // SND-1, SND-8
  Desk desk;
  WriteRequest request = WithFd(5, false);
  request.batch = true;
  EXPECT_FALSE(desk.Write('A', 10, request).flush_now);
  EXPECT_EQ(desk.Actions(), "duplicate fd 5");
  EXPECT_TRUE(desk.Write('B', 10).flush_now);
  EXPECT_EQ(desk.Take(), "A B");
}

TEST(SendMachineTest, AWriteCanBeTakenBack) {  // SND-1, SND-8: the copy could not be made
  Desk desk;
  desk.Write('A', 10);
  desk.Answer(SendAnswer::kWouldBlock);
  const SendMachine before = desk.machine;
  desk.Write('B', 10, WithFd(5, false));
  EXPECT_FALSE(desk.machine == before);
  EXPECT_EQ(desk.After(NotDuplicated{5}).answer, WriteAnswer::kNoDescriptor);
  EXPECT_TRUE(desk.machine == before) << ToString(desk.machine);
}

// SHM-10: announced once, again where the receiver asks, and refused where nobody has it.
TEST(SendMachineTest, SHM_10_AnnouncesAgainWhatTheReceiverAsksFor) {
  Desk desk;
  EXPECT_EQ(desk.After(SegmentAsked{.segment_id = 3, .stream = 'Q', .fd = 8}).answer,
            WriteAnswer::kAccepted);
  EXPECT_EQ(desk.After(SegmentAsked{.segment_id = 99, .stream = 'R'}).answer,
            WriteAnswer::kAccepted);
  desk.machine.Plan(desk.plan);
  ASSERT_EQ(desk.plan.datagrams().size(), 2U);
  const PlannedDatagram& announcement = desk.plan.datagrams()[0];
  EXPECT_EQ(announcement.header.stream, uint32_t{'Q'});
  EXPECT_EQ(announcement.header.type, desk.machine.limits().mmap_type);
  EXPECT_EQ(announcement.fd_count, 1);
  const PlannedDatagram& error = desk.plan.datagrams()[1];
  EXPECT_EQ(error.header.type, desk.machine.limits().rpc_error_type);
  EXPECT_TRUE(error.header.last);
  EXPECT_EQ(error.fd_count, 0);
  EXPECT_EQ(desk.After(SegmentAsked{.segment_id = 99, .stream = 'R', .fd = 7}).answer,
            WriteAnswer::kAccepted);
  EXPECT_EQ(desk.Actions(), "release fd 7");
}

// SHM-10: a chain that goes as references names what was announced.
TEST(SendMachineTest, SHM_10_RefusesASegmentThatWasNotAnnounced) {
  Desk desk;
  const Buffer shared{.address = 1 << 20,
                      .bytes = 100,
                      .segment_id = 77,
                      .kind = BufferKind::kShared,
                      .usable = true};
  const SendMachine before = desk.machine;
  EXPECT_EQ(desk.WriteChain('A', {shared}).answer, WriteAnswer::kNoSegment);
  EXPECT_EQ(desk.Write('A', 5, {.tracking = Tracking{77, 0}}).answer, WriteAnswer::kNoSegment);
  EXPECT_EQ(desk.Write('A', 5, {.tracking = Tracking{3, 10}}).answer, WriteAnswer::kNoSegment);
  EXPECT_TRUE(desk.machine == before);
  EXPECT_EQ(desk.WriteChain('A', {shared, {.address = 64, .bytes = 5}}).answer,
            WriteAnswer::kAccepted);  // it is copied
}

// SHM-6: given away before the call, and taken back where its datagram did not go.
TEST(SendMachineTest, SHM_6_ChunksAreHandedOverAndTakenBack) {
  Desk desk;
  const auto shared = [](uint32_t offset) {
    return Buffer{.address = 1 << 20,
                  .bytes = 100,
                  .segment_id = 2,
                  .segment_offset = offset,
                  .kind = BufferKind::kShared,
                  .usable = true};
  };
  desk.WriteChain('A', {shared(0)});
  desk.WriteChain('B', {shared(5 * 16384)});
  desk.machine.Plan(desk.plan);
  desk.After(Sending{desk.plan});
  EXPECT_EQ(desk.Actions(),
            "hand over segment 2 chunk 0 bytes 100, hand over segment 2 chunk 5 bytes 100");
  desk.After(Sent{desk.plan, 1, SendAnswer::kWouldBlock});
  EXPECT_EQ(desk.Actions(), "A, take back segment 2 chunk 5 bytes 100, arm");
}

// SHM-15: the word is stored before anything is sent, and given up with its message.
TEST(SendMachineTest, SHM_15_ATrackedMessageThatIsTakenBackIsUntracked) {
  Desk desk;
  desk.Write('A', 10);
  const std::vector<Buffer> chain = {
      {.address = 1, .bytes = 100, .segment_id = 2, .kind = BufferKind::kShared, .usable = true}};
  desk.actions.clear();
  const WriteResult result =
      desk.WriteChain('B', chain, {.fd_count = 2, .fds = {5, 6}, .tracking = Tracking{2, 4}});
  EXPECT_TRUE(result.tracked);
  EXPECT_EQ(desk.Actions(), "duplicate fd 5, duplicate fd 6");
  desk.After(NotDuplicated{6});
  EXPECT_EQ(desk.Actions(), "close fd 5, release fd 6, untrack stream 66 word 4 of segment 2");
}

// FDS-6: as the profile says of each type.
TEST(SendMachineTest, FDS_6_ATypeGoesWithTheDescriptorsItNeeds) {
  const Profile& newest = Profiles().back();
  Desk desk(SendLimitsOf(newest, 16384));
  const uint8_t change_file = *NumberOf(newest, Type::kChangeFile);
  EXPECT_EQ(desk.Write('A', 0, {.type = change_file}).answer, WriteAnswer::kFds);
  EXPECT_EQ(desk.Write('A', 0, {.type = change_file, .close_fds = true, .fd_count = 1}).answer,
            WriteAnswer::kAccepted);
  EXPECT_EQ(desk.Write('A', 0, {.type = change_file, .close_fds = true, .fd_count = 2}).answer,
            WriteAnswer::kFds);
}

// SHM-10: the announcement of segment 30 failed. What would name it goes, in its order; not
// what is copied from it, nor what names another.
TEST(SendMachineTest, SHM_10_WhatNamesALostSegmentFails) {
  const auto shared = [](uint32_t segment_id) {
    return Buffer{.address = 1 << 20,
                  .bytes = 100,
                  .segment_id = segment_id,
                  .kind = BufferKind::kShared,
                  .usable = true};
  };
  Desk desk;
  const SendMachine before = desk.machine;
  EXPECT_EQ(desk.After(AnnounceSegment{.segment_id = 3}).answer, WriteAnswer::kNoSegment);
  EXPECT_TRUE(desk.machine == before);
  EXPECT_EQ(desk.After(AnnounceSegment{.segment_id = 30, .fd = 9, .message_id = 'z'}).answer,
            WriteAnswer::kAccepted);
  desk.actions.clear();
  desk.WriteChain('a', {shared(30)}, {.close_fds = true, .fd_count = 1, .fds = {4}});
  desk.WriteChain('b', {shared(2)});
  desk.WriteChain('c', {shared(2), shared(30)});
  desk.WriteChain('d', {shared(30), {.address = 64, .bytes = 5}});
  Buffer empty = shared(30);
  empty.bytes = 0;  // becomes no reference
  desk.WriteChain('e', {shared(2), empty});
  desk.Answer(SendAnswer::kMessageError);
  const std::string back = " chunk 0 bytes 100, ";  // what the same call would have sent
  EXPECT_EQ(desk.Actions(), "take back segment 30" + back + "take back segment 2" + back +
                                "take back segment 2" + back + "take back segment 30" + back +
                                "take back segment 2" + back +
                                "release fd 9, !z, forget segment 30, close fd 4, !a, !c, !c");
  EXPECT_FALSE(desk.machine.announced(30));
  EXPECT_EQ(desk.machine.queued_bytes(), 305U);
  EXPECT_EQ(desk.machine.queued_fds(), 0U);
  EXPECT_EQ(desk.TakeShapes(), "(12,0,0,0)s(105,0,0,0)(12,0,0,0)s");
}

// SND-8: one writer's flush is under way when another's descriptor cannot be copied.
TEST(SendMachineTest, SND_8_AWithdrawnMessageDisturbsNoPlan) {
  Desk desk;
  desk.Write('a', 10);
  desk.machine.Plan(desk.plan);
  desk.Write('b', 10, {.batch = true, .fd_count = 1, .fds = {4}});
  desk.After(NotDuplicated{4});
  desk.After(Sent{desk.plan, 1});
  EXPECT_EQ(desk.Actions(), "duplicate fd 4, release fd 4, a");
  EXPECT_TRUE(desk.machine.empty());
}

// ------------------------------------------------------------------ bounds

TEST(SendMachineTest, TheLimitIsAllowedOneMoreIsRefused) {  // SND-12
  Desk desk({.payload_bytes = kLimit, .messages_max = 2, .bytes_max = 100, .fds_max = 1});
  EXPECT_EQ(desk.Write('A', 100, WithFd(5, true)).answer, WriteAnswer::kAccepted);
  const SendMachine before = desk.machine;
  EXPECT_EQ(desk.Write('B', 1).answer, WriteAnswer::kBytesFull);
  EXPECT_EQ(desk.Write('B', 0, WithFd(6, true)).answer, WriteAnswer::kFdsFull);
  EXPECT_TRUE(desk.machine == before) << ToString(desk.machine);
  EXPECT_EQ(desk.Write('B', 0).answer, WriteAnswer::kAccepted);
  EXPECT_EQ(desk.Write('C', 0).answer, WriteAnswer::kMessagesFull);
  EXPECT_EQ(desk.Actions(), "release fd 6");
  EXPECT_EQ(desk.Take(), "A B");
  EXPECT_EQ(desk.Write('C', 100, WithFd(6, true)).answer, WriteAnswer::kAccepted);
}

TEST(SendMachineTest, WhatTheProfileLacksIsRefused) {  // HDR-4, FDS-2, FRG-10
  Desk desk(
      {.payload_bytes = kLimit, .type_count = 13, .fds_per_message = 1, .takes_fragments = false});
  EXPECT_EQ(desk.Write('A', 1, {.type = 13}).answer, WriteAnswer::kType);
  EXPECT_EQ(desk.Write('A', 1, {.fd_count = 2}).answer, WriteAnswer::kFds);
  EXPECT_EQ(desk.Write('A', kLimit + 1).answer, WriteAnswer::kFragments);
  EXPECT_EQ(desk.Write('A', kLimit, {.type = 12, .fd_count = 1}).answer, WriteAnswer::kAccepted);
}

TEST(SendMachineTest, PortParameters) {  // SND-11
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
