// What a receiver tells its observer, and what its options and its owner make it do.
#include "port/receiver.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
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
using testing::OpenDescriptors;
using testing::ProfileOf;
using testing::SendRaw;
using testing::TypeNumber;

std::string PidText(int32_t pid) { return {reinterpret_cast<const char*>(&pid), sizeof pid}; }

// RCV-5, FRG-6: what was accepted is told and not counted, what was refused both.
TEST(ReceiverTest, RCV_5_TheObserverIsTold) {
  LocalPort port;
  const int32_t pid = ::getpid();
  SendRaw(port, {.stream = 1, .pid = pid, .type = port.data_type, .mf = true}, "begun");
  SendRaw(port, {.stream = 1, .pid = pid, .type = port.data_type}, "between");
  SendRaw(port, {.stream = 2, .pid = pid + 1, .type = 99}, "refused");
  port.Drain();
  ASSERT_EQ(port.told.size(), 2U);
  EXPECT_EQ(port.told[0].rule, Rule::kFrg6);
  EXPECT_TRUE(port.told[0].accepted);
  EXPECT_EQ(port.told[1].rule, Rule::kHdr4);
  EXPECT_FALSE(port.told[1].accepted);
  ASSERT_TRUE(port.told[1].header.has_value());
  EXPECT_EQ(port.told[1].header->stream, 2U);
  EXPECT_EQ(port.told[1].sender, pid);
  EXPECT_EQ(port.receiver->refusals(), 1U);
}

// FRG-8: as the README says.
TEST(ReceiverTest, FRG_8_TheBoundIsAsStated) {
  constexpr uint64_t kMiB = 1 << 20;
  const ReassemblyLimits limits;
  EXPECT_EQ(limits.bytes, 64 * kMiB);
  EXPECT_EQ(limits.assembly_bytes, 32 * kMiB);
  EXPECT_EQ(ReceiveBytesMax(limits) / kMiB, 30 * 64U + 1);
}

// FRG-3, RCV-5: a refusal with a discard behind it is one.
TEST(ReceiverTest, RCV_5_ARefusalIsCountedOnce) {
  LocalPort port;
  const int32_t pid = ::getpid();
  SendRaw(port, {.stream = 1, .pid = pid, .type = port.data_type, .mf = true}, "begun");
  SendRaw(port, {.stream = 1, .pid = pid, .type = 0, .nf = true}, "torn");
  port.Drain();
  EXPECT_EQ(port.receiver->refusals(Rule::kFrg3), 1U);
  EXPECT_EQ(port.told.size(), 1U);
}

// HDR-7: once for each pair of header and credentials.
TEST(ReceiverTest, HDR_7_AForeignPidIsToldOnce) {
  LocalPort port;
  const int32_t pid = ::getpid();
  for (const int32_t other : {pid + 1, pid + 1, pid + 2, pid}) {
    SendRaw(port, {.stream = 1, .pid = other, .type = port.data_type}, "x");
  }
  port.Drain();
  EXPECT_EQ(port.delivered.size(), 4U);
  ASSERT_EQ(port.told.size(), 2U);
  EXPECT_EQ(port.told[0].rule, Rule::kHdr7);
  EXPECT_EQ(port.told[0].header->pid, pid + 1);
  EXPECT_EQ(port.told[1].header->pid, pid + 2);
}

// HDR-7: once for each, however they take turns.
TEST(ReceiverTest, HDR_7_SendersThatTakeTurnsAreToldOnceEach) {
  LocalPort port;
  for (int round = 0; round < 3; ++round) {
    for (int32_t other = 1; other <= 5; ++other) {
      SendRaw(port, {.stream = 1, .pid = ::getpid() + other, .type = port.data_type}, "x");
    }
  }
  port.Drain();
  EXPECT_EQ(port.delivered.size(), 15U);
  EXPECT_EQ(port.told.size(), 5U);
}

TEST(ReceiverTest, FRG_10_OneThatTakesNoFragments) {
  LocalPort port(Newest(), {.takes_fragments = false});
  SendRaw(port, {.stream = 1, .pid = ::getpid(), .type = port.data_type, .mf = true}, "begun");
  port.Drain();
  EXPECT_EQ(port.receiver->refusals(Rule::kFrg10), 1U);
  EXPECT_EQ(port.receiver->open_assemblies(), 0U);
}

// FRG-9: only a whole number, and only where the owner wants it; before the handler runs.
TEST(ReceiverTest, FRG_9_RemovePidIsObeyedOrNot) {
  for (const bool obeys : {true, false}) {
    LocalPort port(ProfileOf("unit-1.25.0"), {.obeys_remove_pid = obeys});
    const uint8_t remove_pid = TypeNumber(ProfileOf("unit-1.25.0"), Type::kRemovePid);
    SendRaw(port, {.stream = 1, .pid = 7, .type = port.data_type, .mf = true}, "begun");
    SendRaw(port, {.pid = 8, .type = remove_pid}, PidText(7) + "x");
    port.Drain();
    EXPECT_EQ(port.receiver->open_assemblies(), 1U);
    size_t left = 1;
    port.handler = [&](Message&) { left = port.receiver->open_assemblies(); };
    SendRaw(port, {.pid = 8, .type = remove_pid}, PidText(7));
    port.Drain();
    EXPECT_EQ(left, obeys ? 0U : 1U);
    EXPECT_EQ(port.delivered.size(), 2U);
  }
}

// SHM-8: the seed's layout has no source; that a segment is for this process must be right.
TEST(ReceiverTest, SHM_8_TheSeedsSegmentsNameTheirReceiver) {
  const Profile& seed = ProfileOf("unit-seed");
  LocalPort port(seed);
  uint32_t id = 0;
  for (const int32_t destination : {0, ::getpid(), ::getpid() + 1}) {
    auto segment =
        Segment::Create({.id = id++, .destination_pid = destination, .sent_over = kSentOverAny},
                        seed.segment_layout);
    ASSERT_TRUE(segment.ok()) << segment.status();
    EXPECT_EQ(port.sender->Announce(std::make_shared<Segment>(*std::move(segment))),
              WriteAnswer::kAccepted);
    port.Drain();
  }
  EXPECT_EQ(port.receiver->refusals(Rule::kShm8), 2U);
  const SegmentTable& table = port.receiver->options().process->machine().segments();
  EXPECT_TRUE(table.Find(::getpid(), 1).has_value());
}

// As newer systems do where somebody set SO_PASSPIDFD on the socket.
class PidfdKernel : public RealKernel {
 public:
  int ReceiveMessages(int fd, mmsghdr* messages, unsigned count, int flags) override {
    const int received = RealKernel::ReceiveMessages(fd, messages, count, flags);
    for (int i = 0; i < received; ++i) AddPidfd(messages[i].msg_hdr);
    return received;
  }

 private:
  static void AddPidfd(msghdr& message) {
    constexpr int kPidfd = 4;  // SCM_PIDFD
    const int pidfd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    cmsghdr control;
    control.cmsg_len = CMSG_LEN(sizeof pidfd);
    control.cmsg_level = SOL_SOCKET;
    control.cmsg_type = kPidfd;
    uint8_t* const at = static_cast<uint8_t*>(message.msg_control) + message.msg_controllen;
    std::memcpy(at, &control, sizeof control);
    std::memcpy(at + CMSG_LEN(0), &pidfd, sizeof pidfd);
    message.msg_controllen += CMSG_SPACE(sizeof pidfd);
  }
};

// FDS-2, FDS-5: nobody passed it.
TEST(ReceiverTest, FDS_5_ADescriptorOfTheKernelsIsClosed) {
  PidfdKernel kernel;
  LocalPort port(Newest(), {}, {}, {}, kernel);
  const size_t before = OpenDescriptors();
  const std::array<int, 2> fds = {port.sender->fd(), port.receiver->fd()};
  EXPECT_EQ(port.Write("none"), WriteAnswer::kAccepted);
  EXPECT_EQ(port.Write("two", 1, fds), WriteAnswer::kAccepted);
  port.Drain();
  ASSERT_EQ(port.delivered.size(), 2U);
  EXPECT_EQ(port.delivered[0].fds, 0U);
  EXPECT_EQ(port.delivered[1].fds, 2U);
  EXPECT_EQ(port.receiver->refusals(), 0U);
  EXPECT_EQ(OpenDescriptors(), before);
}

// RCV-6
TEST(ReceiverTest, RCV_6_AnErrorEndsItAndIsKept) {
  FaultKernel kernel({.call = Call::kReceive, .number = 0, .error = EBADF});
  LocalPort port(Newest(), {}, {}, {}, kernel);
  EXPECT_EQ(port.receiver->Turn(), Next::kEnd);
  EXPECT_EQ(port.receiver->last_error(), EBADF);
  EXPECT_FALSE(port.receiver->open());
}

// RCV-7: the workspace has one turn at a time, and whoever is put off is called again.
TEST(ReceiverTest, RCV_7_ATurnWithinATurnIsPutOff) {
  LocalPort port;
  Next within = Next::kRead;
  port.handler = [&](Message&) { within = port.receiver->Turn(); };
  EXPECT_EQ(port.Write("x"), WriteAnswer::kAccepted);
  EXPECT_EQ(port.Write("y"), WriteAnswer::kAccepted);
  EXPECT_EQ(port.Drain(), Next::kWait);
  EXPECT_EQ(within, Next::kCallAgain);
  EXPECT_EQ(port.delivered.size(), 2U);
}

// RCV-7: a loop that is told of edges alone is told of everything, the end too.
TEST(ReceiverTest, RCV_7_AnEdgeTriggeredLoopMissesNothing) {
  LocalPort port(Newest(), {.reads_per_turn = 24});
  const OwnedFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {}};
  ASSERT_EQ(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, port.receiver->fd(), &event), 0);
  Next next = Next::kWait;
  const auto attend = [&] {
    while (next == Next::kCallAgain || ::epoll_wait(epoll.get(), &event, 1, 0) == 1) {
      next = port.receiver->Turn();
    }
  };
  size_t written = 0;
  for (uint32_t burst = 0; burst <= 70; ++burst) {
    for (uint32_t i = 0; i < burst; ++i) SendRaw(port, {.type = port.data_type}, "");
    written += burst;
    attend();
    EXPECT_EQ(next, Next::kWait);
    ASSERT_EQ(port.delivered.size(), written) << "of a burst of " << burst;
  }
  port.sender.reset();
  attend();
  EXPECT_EQ(next, Next::kEnd);
}

// SHM-6, PRT-2: what was read with the message whose handler closes the receiver is gone for
// its sender, so its chunks are freed; its descriptors are closed.
TEST(ReceiverTest, SHM_6_WhatIsLeftOfABatchFreesItsChunks) {
  for (const bool destroys : {false, true}) {
    LocalPort port;
    const size_t before = OpenDescriptors();
    const auto segment = testing::NewSegment(0);
    EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
    port.BeginBatches();
    for (uint32_t stream = 1; stream <= 3; ++stream) {
      const auto range = segment->Allocate(100);
      segment->HandedOver({0, range->first, 100});
      SendRaw(port, {.stream = stream, .pid = ::getpid(), .type = port.data_type, .mmap = true},
              testing::ReferenceText({0, range->first, 100}), {port.sender->fd()});
    }
    port.handler = [&port, destroys](Message&) {
      destroys ? port.receiver.reset() : port.receiver->Close();
    };
    EXPECT_EQ(port.receiver->Turn(), Next::kEnd);
    EXPECT_EQ(port.delivered.size(), 1U);
    EXPECT_EQ(segment->FreeCount(), 640U);
    EXPECT_EQ(OpenDescriptors(), before);  // a segment's more, a receiver's less
  }
}

// PRT-2: what a handler captured goes when its receiver is gone and it has returned.
TEST(ReceiverTest, PRT_2_ADestroyedReceiversHandlerGoes) {
  Workspace workspace;
  auto pair = SocketPair::Create(Newest(), {});
  ASSERT_TRUE(pair.ok()) << pair.status();
  auto captured = std::make_shared<int>(0);
  const std::weak_ptr<int> alive = captured;
  std::unique_ptr<Receiver> receiver;
  auto adopted =
      Receiver::Adopt(workspace, std::move(pair->receive_end), {.profile = &Newest()},
                      [&receiver, captured = std::move(captured)](Message&) { receiver.reset(); });
  ASSERT_TRUE(adopted.ok()) << adopted.status();
  receiver = *std::move(adopted);
  const auto header = EncodeHeader({.pid = ::getpid(), .type = 27});
  EXPECT_EQ(::send(pair->send_end.get(), header.data(), header.size(), 0), 16);
  EXPECT_EQ(receiver->Turn(), Next::kEnd);
  EXPECT_TRUE(alive.expired());
}

}  // namespace
}  // namespace portproof
