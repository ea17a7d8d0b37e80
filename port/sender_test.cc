// What a sender tells its loop and its writer, when the kernel or the caller says no.
#include "port/sender.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "port/fault_kernel.h"
#include "port/testing.h"

namespace portproof {
namespace {

using testing::Call;
using testing::FaultKernel;
using testing::LocalPort;
using testing::Newest;
using testing::ProfileOf;
using testing::TextBuffer;

std::shared_ptr<Segment> NewSegment() {
  auto segment = Segment::Create({.source_pid = ::getpid(), .sent_over = kSentOverAny},
                                 Newest().segment_layout);
  EXPECT_TRUE(segment.ok()) << segment.status();
  return std::make_shared<Segment>(*std::move(segment));
}

class FlagKernel : public RealKernel {
 public:
  ssize_t SendMessage(int fd, const msghdr* message, int flags) override {
    sent = flags;
    return RealKernel::SendMessage(fd, message, flags);
  }
  ssize_t ReceiveMessage(int fd, msghdr* message, int flags) override {
    received = flags;
    return RealKernel::ReceiveMessage(fd, message, flags);
  }
  int ReceiveMessages(int fd, mmsghdr* messages, unsigned count, int flags) override {
    received = flags;
    return RealKernel::ReceiveMessages(fd, messages, count, flags);
  }
  int sent = 0;
  int received = 0;
};

// SOC-5, SND-10, FDS-3
TEST(SenderTest, SOC_5_EveryCallHasItsFlags) {
  FlagKernel kernel;
  LocalPort port(Newest(), {}, {}, {}, kernel);
  EXPECT_EQ(port.Write("x"), WriteAnswer::kAccepted);
  port.Drain();
  EXPECT_EQ(kernel.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
  EXPECT_EQ(kernel.received, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  kernel.received = 0;
  port.BeginBatches();
  EXPECT_EQ(kernel.received, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
}

// SND-2: a delay is asked for, not an event, and it is over once it came.
TEST(SenderTest, SND_2_ABusyKernelIsAskedAgainLater) {
  FaultKernel kernel({.call = Call::kSend, .number = 0, .error = ENOBUFS});
  LocalPort port(Newest(), {}, {}, {}, kernel);
  EXPECT_EQ(port.Write("later"), WriteAnswer::kAccepted);
  EXPECT_EQ(port.sender->retry_ms(), std::optional(kRetryFirstMs));
  EXPECT_FALSE(port.sender->wants_writable());
  EXPECT_EQ(port.sender->last_error(), ENOBUFS);
  port.sender->Flush();  // in vain before
  EXPECT_EQ(port.sender->queued_messages(), 1U);
  port.sender->OnRetry();
  EXPECT_EQ(port.sender->retry_ms(), std::nullopt);
  EXPECT_EQ(port.sender->queued_messages(), 0U);
}

TEST(SenderTest, SND_2_AClosedSenderAsksForNothing) {
  FaultKernel kernel({.call = Call::kSend, .number = 0, .error = ENOMEM});
  LocalPort port(Newest(), {}, {}, {}, kernel);
  EXPECT_EQ(port.Write("never"), WriteAnswer::kAccepted);
  port.sender->Close();
  EXPECT_EQ(port.sender->retry_ms(), std::nullopt);
  EXPECT_FALSE(port.sender->wants_writable());
}

// SND-4
TEST(SenderTest, SND_4_AMessageFailsAlone) {
  FaultKernel kernel({.call = Call::kSend, .number = 0, .error = EMSGSIZE});
  LocalPort port(Newest(), {}, {}, {}, kernel);
  EXPECT_EQ(port.Write("bad"), WriteAnswer::kAccepted);
  EXPECT_EQ(port.sender->last_error(), EMSGSIZE);
  EXPECT_TRUE(port.sender->open());
  std::vector<Completion> completions;
  port.sender->TakeCompletions(completions);
  EXPECT_EQ(port.Write("good"), WriteAnswer::kAccepted);
  port.sender->TakeCompletions(completions);  // behind what lies there
  port.sender->TakeCompletions(completions);  // CMP-1: once
  ASSERT_EQ(completions.size(), 2U);
  EXPECT_FALSE(completions[0].ok);
  EXPECT_TRUE(completions[1].ok);
}

TEST(SenderTest, SND_4_AHangUpFailsThePort) {
  LocalPort port;
  port.sender->OnHangUp();
  EXPECT_FALSE(port.sender->open());
  EXPECT_EQ(port.Write("more"), WriteAnswer::kFailed);
}

// SND-2: a failed port asks for nothing.
TEST(SenderTest, SND_4_AHangUpEndsTheRetry) {
  FaultKernel kernel({.call = Call::kSend, .number = 0, .error = ENOBUFS});
  LocalPort port(Newest(), {}, {}, {}, kernel);
  EXPECT_EQ(port.Write("later"), WriteAnswer::kAccepted);
  port.sender->OnHangUp();
  EXPECT_EQ(port.sender->retry_ms(), std::nullopt);
}

TEST(SenderTest, FDS_6_TypesHaveTheirDescriptors) {
  LocalPort port;
  const std::array<int, 2> fds = {port.sender->fd(), port.receiver->fd()};
  struct Case {
    Type type;
    std::array<bool, 3> accepted;  // with none, one, two
  };
  for (const Case& one : {Case{Type::kMmap, {false, true, false}},
                          {Type::kChangeFile, {false, true, false}},
                          {Type::kNewPort, {false, true, true}},
                          {Type::kStartProcess, {true, false, true}},
                          {Type::kProcessReady, {true, true, false}},
                          {Type::kWhoami, {true, true, false}},
                          {Type::kReqBody, {true, true, false}},
                          {Type::kSocket, {true, true, true}}}) {
    for (size_t count = 0; count <= fds.size(); ++count) {
      EXPECT_EQ(port.sender->Write({.type = testing::TypeNumber(Newest(), one.type),
                                    .batch = true,
                                    .fds = {fds.data(), count}}),
                one.accepted[count] ? WriteAnswer::kAccepted : WriteAnswer::kFds)
          << Name(one.type) << " with " << count;
    }
  }
}

// HDR-5, SHM-1: where byte 15 is padding it is sent as 0, and nothing stands before the
// references.
TEST(SenderTest, HDR_5_TrackingGoesWhereItIsAFlag) {
  for (const char* const name : {"unit-1.8.0", "unit-1.20.0", "unit-1.35.0"}) {
    const Profile& profile = ProfileOf(name);
    LocalPort port(profile);
    const auto segment = testing::NewSegment(0, profile);
    EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
    const auto range = segment->Allocate(100);
    ASSERT_TRUE(range.has_value());
    const Buffer buffer = port.sender->BufferIn(*segment, *range, 100, 0);
    EXPECT_EQ(port.sender->Write({.type = port.data_type,
                                  .stream = 1,
                                  .chain = {&buffer, 1},
                                  .tracking = Tracking{0, 2}}),
              WriteAnswer::kAccepted);
    port.Drain();
    EXPECT_EQ(port.receiver->refusals(), 0U) << name;
    ASSERT_EQ(port.delivered.size(), 1U) << name;
    EXPECT_EQ(port.delivered[0].header.byte15, profile.byte15 == Byte15::kTracking ? 1 : 0);
  }
}

// CMP-4: what a write did is told when it has returned and the loop asks, and not before;
// nothing of the caller's runs inside it.
TEST(SenderTest, CMP_4_CompletionsAreHandedBackAsData) {
  LocalPort port;
  const std::array<Buffer, 2> chain = {TextBuffer("one", 1), TextBuffer("two", 2)};
  std::vector<Completion> completions;
  for (const bool batch : {false, true}) {
    EXPECT_EQ(port.sender->Write({.type = port.data_type, .batch = batch, .chain = chain}),
              WriteAnswer::kAccepted);
    EXPECT_TRUE(completions.empty());
    EXPECT_EQ(port.sender->has_completions(), !batch);
    port.sender->Flush();
    EXPECT_TRUE(port.sender->has_completions());
    port.sender->TakeCompletions(completions);
    ASSERT_EQ(completions.size(), 2U);
    EXPECT_FALSE(port.sender->has_completions());
    completions.clear();
  }
}

// CMP-1: an idle sender gives its memory back, and nothing that nobody took.
TEST(SenderTest, CMP_1_AnIdleSenderKeepsCompletions) {
  LocalPort port;
  EXPECT_EQ(port.Write("done"), WriteAnswer::kAccepted);
  port.sender->OnWritable();
  EXPECT_TRUE(port.sender->has_completions());
}

// HDR-6
TEST(SenderTest, HDR_6_ThePidIsTheOneTheProcessKnows) {
  LocalPort port(ProfileOf("unit-0.2"), {}, {.pid = 4711});
  EXPECT_EQ(port.Write("x"), WriteAnswer::kAccepted);
  port.Drain();
  ASSERT_EQ(port.delivered.size(), 1U);
  EXPECT_EQ(port.delivered[0].header.pid, 4711);
}

// SHM-10: known once its announcement was accepted, and announced once.
TEST(SenderTest, SHM_10_ASegmentIsAnnouncedOnce) {
  LocalPort port(Newest(), {}, {.messages_max = 1});
  const auto segment = NewSegment();
  ASSERT_EQ(port.sender->Write({.type = port.data_type, .batch = true}), WriteAnswer::kAccepted);
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kMessagesFull);
  EXPECT_FALSE(port.sender->announced(segment->id()));
  EXPECT_EQ(segment.use_count(), 1);
  port.sender->Flush();
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kNoSegment);
  EXPECT_EQ(port.sender->queued_messages(), 0U);
}

// SHM-10, SND-4: a segment whose announcement failed was not announced. What names it
// fails with it, what does not goes on, and it may be announced again.
TEST(SenderTest, SHM_10_AFailedAnnouncementIsNone) {
  FaultKernel kernel({.call = Call::kSendBatch, .number = 0, .error = EBADF});
  LocalPort port(Newest(), {}, {}, {}, kernel);
  const auto segment = NewSegment();
  const auto range = segment->Allocate(100);
  ASSERT_TRUE(range.has_value());
  const Buffer shared = port.sender->BufferIn(*segment, *range, 100, 1);
  const Outgoing naming = {
      .type = port.data_type, .batch = true, .chain = {&shared, 1}, .id = 1, .writer = 5};
  EXPECT_EQ(port.sender->Announce(segment, true), WriteAnswer::kAccepted);
  EXPECT_EQ(port.sender->Write(naming), WriteAnswer::kAccepted);
  EXPECT_EQ(port.sender->Write({.type = port.data_type, .batch = true, .id = 2}),
            WriteAnswer::kAccepted);
  port.sender->Flush();
  std::vector<Completion> completions;
  port.sender->TakeCompletions(completions);
  const std::vector<Completion> expected = {
      {}, {1, 1, 5, true, false}, {.message_id = 2, .ok = true}};
  EXPECT_EQ(completions, expected);
  EXPECT_FALSE(port.sender->announced(segment->id()));
  EXPECT_EQ(segment.use_count(), 1);
  EXPECT_EQ(port.sender->Write(naming), WriteAnswer::kNoSegment);
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  EXPECT_EQ(port.sender->Write(naming), WriteAnswer::kAccepted);
  port.sender->Flush();
  EXPECT_EQ(segment->Release(*range), 0U);
  port.Drain();
  ASSERT_EQ(port.delivered.size(), 2U);
  EXPECT_EQ(port.delivered[1].text.size(), 100U);
}

// SHM-10: the answer to get_mmap, on the asker's stream.
TEST(SenderTest, SHM_10_WhatTheReceiverAsksForIsAnnouncedAgain) {
  LocalPort port;
  const auto segment = NewSegment();
  ASSERT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  port.Drain();
  EXPECT_EQ(port.sender->AnswerGetMmap(segment->id(), 7), WriteAnswer::kAccepted);
  EXPECT_EQ(port.sender->AnswerGetMmap(segment->id() + 1, 8), WriteAnswer::kAccepted);
  port.Drain();
  EXPECT_EQ(port.receiver->refusals(Rule::kShm8), 1U);  // it has that one already
  EXPECT_EQ(port.told.back().header->stream, 7U);
  ASSERT_EQ(port.delivered.size(), 1U);
  EXPECT_EQ(port.delivered[0].header.type, *NumberOf(Newest(), Type::kRpcError));
  EXPECT_EQ(port.delivered[0].header.stream, 8U);
  EXPECT_TRUE(port.delivered[0].header.last);
  port.sender->Close();
  EXPECT_EQ(port.sender->AnswerGetMmap(segment->id(), 7), WriteAnswer::kClosed);
}

// The same where it leaves at once.
TEST(SenderTest, SHM_10_AnAnnouncementThatFailsAtOnceIsNone) {
  FaultKernel kernel({.call = Call::kSend, .number = 0, .error = EBADF});
  LocalPort port(Newest(), {}, {}, {}, kernel);
  const auto segment = NewSegment();
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  EXPECT_FALSE(port.sender->announced(segment->id()));
  EXPECT_EQ(segment.use_count(), 1);
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  EXPECT_TRUE(port.sender->announced(segment->id()));
  EXPECT_EQ(segment.use_count(), 2);
}

// SHM-3, SHM-10: what cannot go by reference is copied, and needs no announcement.
TEST(SenderTest, SHM_3_WhatIsCopiedNeedsNoAnnouncement) {
  LocalPort port;
  const auto segment = NewSegment();
  const auto range = segment->Allocate(100);
  ASSERT_TRUE(range.has_value());
  Buffer copied = port.sender->BufferIn(*segment, *range, 100, 0);
  copied.usable = false;
  EXPECT_EQ(port.sender->Write({.type = port.data_type, .chain = {&copied, 1}}),
            WriteAnswer::kAccepted);
  const Buffer empty = port.sender->BufferIn(*segment, *range, 0, 0);
  EXPECT_EQ(port.sender->Write({.type = port.data_type, .chain = {&empty, 1}}),
            WriteAnswer::kAccepted);
  port.Drain();
  ASSERT_EQ(port.delivered.size(), 2U);
  EXPECT_EQ(port.delivered[0].text.size(), 100U);
}

// PRT-1: nothing that a parent queued leaves from its child.
TEST(SenderTest, PRT_1_AChildSendsNothingOfItsParents) {
  LocalPort port;
  EXPECT_EQ(port.sender->Write({.type = port.data_type, .batch = true}), WriteAnswer::kAccepted);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool open = port.sender->open();
    port.sender->Flush();
    ::_exit(open ? 1 : 0);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  port.Drain();
  EXPECT_TRUE(port.delivered.empty());
}

}  // namespace
}  // namespace portproof
