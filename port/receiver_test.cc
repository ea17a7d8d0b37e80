// What a receiver tells its observer, and what its options and its owner make it do.
#include "port/receiver.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
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
using testing::ProfileOf;
using testing::TypeNumber;

void SendRaw(const LocalPort& port, const Header& header, const std::string& payload) {
  const auto encoded = EncodeHeader(header);
  std::string bytes(encoded.begin(), encoded.end());
  bytes += payload;
  EXPECT_EQ(::send(port.sender->fd(), bytes.data(), bytes.size(), MSG_DONTWAIT),
            static_cast<ssize_t>(bytes.size()));
}

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

// SHM-10: an announcement has stream 0, and so may the message that waits for it.
TEST(ReceiverTest, SHM_10_AnAnnouncementDoesNotWait) {
  LocalPort port;
  auto made = Segment::Create({.source_pid = ::getpid(), .sent_over = kSentOverAny},
                              Newest().segment_layout);
  ASSERT_TRUE(made.ok()) << made.status();
  const auto segment = std::make_shared<Segment>(*std::move(made));
  const auto range = segment->Allocate(100);
  ASSERT_TRUE(range.has_value());
  const auto reference = EncodeReference({segment->id(), range->first, 100});
  SendRaw(port, {.pid = ::getpid(), .type = port.data_type, .mmap = true},
          {reference.begin(), reference.end()});
  SendRaw(port, {.pid = ::getpid(), .type = port.data_type}, "behind it");
  port.Drain();
  EXPECT_EQ(port.receiver->held_messages(), 2U);
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  port.Drain();
  EXPECT_EQ(port.receiver->held_messages(), 0U);
  ASSERT_EQ(port.delivered.size(), 2U);
  EXPECT_EQ(port.delivered[0].text.size(), 100U);
  EXPECT_EQ(port.delivered[1].text, "behind it");
  EXPECT_EQ(segment->FreeCount(), 640U);
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
