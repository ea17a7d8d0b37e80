// Messages that wait for a segment's announcement, and go on when it came: SHM-10, FRG-8.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "port/testing.h"

namespace portproof {
namespace {

using testing::LocalPort;
using testing::Newest;
using testing::NewSegment;
using testing::Pattern;
using testing::ReferenceText;
using testing::SendRaw;

class HeldMessagesTest : public testing::CensusTest {};

// SHM-10: held, asked for once, delivered in order when the announcement came, also over
// another port of the process.
TEST_F(HeldMessagesTest, AnUnknownSegmentIsAskedFor) {
  const auto segments = ReceivingProcess::Create({.layout = Newest().segment_layout});
  std::vector<uint32_t> asked;
  LocalPort port(Newest(),
                 {.process = segments, .ask_segment = [&asked](int32_t sender, uint32_t id) {
                    EXPECT_EQ(sender, ::getpid());
                    asked.push_back(id);
                  }});
  LocalPort other(Newest(), {.process = segments});
  const auto segment = NewSegment(3);
  const auto range = segment->Allocate(20'000);
  const Header shared = {.stream = 4, .pid = ::getpid(), .type = port.data_type, .mmap = true};
  SendRaw(port, shared, ReferenceText({3, range->first, 20'000}));
  segment->HandedOver({3, range->first, 20'000});
  EXPECT_EQ(port.Write("behind it", 4), WriteAnswer::kAccepted);
  EXPECT_EQ(port.Write("another stream", 5), WriteAnswer::kAccepted);
  port.Drain();
  EXPECT_EQ(asked, std::vector<uint32_t>{3});
  ASSERT_EQ(port.delivered.size(), 1U);
  EXPECT_EQ(port.receiver->held_messages(), 2U);
  EXPECT_EQ(other.sender->Announce(segment), WriteAnswer::kAccepted);
  other.Drain();
  ASSERT_EQ(port.delivered.size(), 3U);
  EXPECT_EQ(port.delivered[1].text.size(), 20'000U);
  EXPECT_EQ(port.delivered[2].text, "behind it");
  EXPECT_EQ(segment->FreeCount(), 640U);
  EXPECT_EQ(port.receiver->held_messages(), 0U);
}

// SHM-10, FDS-5: each id is asked for once, and what is held keeps its descriptors.
TEST_F(HeldMessagesTest, WhatIsHeldKeepsItsDescriptors) {
  std::vector<uint32_t> asked;
  LocalPort port(Newest(),
                 {.ask_segment = [&asked](int32_t, uint32_t id) { asked.push_back(id); }});
  const auto segment = NewSegment(3);
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  for (const uint32_t stream : {4U, 5U}) {
    const auto range = segment->Allocate(100);
    segment->HandedOver({3, range->first, 100});
    SendRaw(port, {.stream = stream, .pid = ::getpid(), .type = port.data_type, .mmap = true},
            ReferenceText({3, range->first, 100}), {fd});
  }
  ::close(fd);
  port.Drain();
  EXPECT_EQ(asked, std::vector<uint32_t>{3});
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  port.Drain();
  ASSERT_EQ(port.delivered.size(), 2U);
  for (const auto& delivered : port.delivered) EXPECT_EQ(delivered.fds, 1U);
}

// A message in one chunk of a segment that was not announced, perhaps a fragment.
void SendHeld(const LocalPort& port, Segment& segment, const Header& header) {
  const auto range = segment.Allocate(100);
  segment.HandedOver({segment.id(), range->first, 100});
  SendRaw(port, header, ReferenceText({segment.id(), range->first, 100}));
}

Header SharedOf(const LocalPort& port, uint32_t stream, bool mf = false) {
  return {.stream = stream, .pid = ::getpid(), .type = port.data_type, .mmap = true, .mf = mf};
}

// SHM-10: of a stream goes on what can, and nothing overtakes what cannot.
TEST_F(HeldMessagesTest, WhatIsHeldGoesOnAsFarAsItCan) {
  LocalPort port;
  const auto first = NewSegment(3);
  const auto second = NewSegment(9);
  SendHeld(port, *first, SharedOf(port, 4));
  EXPECT_EQ(port.Write("b", 4), WriteAnswer::kAccepted);
  SendHeld(port, *second, SharedOf(port, 4));
  EXPECT_EQ(port.Write("d", 4), WriteAnswer::kAccepted);
  port.Drain();
  EXPECT_EQ(port.receiver->held_messages(), 4U);
  EXPECT_EQ(port.sender->Announce(first), WriteAnswer::kAccepted);
  port.Drain();
  ASSERT_EQ(port.delivered.size(), 2U);
  EXPECT_EQ(port.delivered[1].text, "b");
  EXPECT_EQ(port.sender->Announce(second), WriteAnswer::kAccepted);
  port.Drain();
  ASSERT_EQ(port.delivered.size(), 4U);
  EXPECT_EQ(port.delivered[3].text, "d");
}

// RCV-5: a datagram that tears a held message takes it away; what waited behind it does
// not wait any more, and the torn message's chunks are free.
TEST_F(HeldMessagesTest, WhatWaitedBehindATornMessageGoesOn) {
  LocalPort port;
  const auto segment = NewSegment(3);
  SendHeld(port, *segment, SharedOf(port, 4, true));
  EXPECT_EQ(port.Write("behind", 4), WriteAnswer::kAccepted);
  port.Drain();
  EXPECT_EQ(port.receiver->held_messages(), 2U);
  Header torn = SharedOf(port, 4);
  torn.mmap = false;
  torn.nf = true;
  SendRaw(port, torn, Pattern(port.sizes.max_size + 1, 1));  // RCV-1
  port.Drain();
  EXPECT_EQ(port.receiver->refusals(Rule::kRcv1), 1U);
  EXPECT_EQ(port.receiver->held_messages(), 0U);
  ASSERT_EQ(port.delivered.size(), 1U);
  EXPECT_EQ(port.delivered[0].text, "behind");
}

// SHM-10, PRT-2: an announcement lets every port of the process go on, but those that a
// handler destroys meanwhile.
TEST_F(HeldMessagesTest, AnAnnouncementIsForAllPorts) {
  for (const bool destroys : {false, true}) {
    const auto segments = ReceivingProcess::Create({.layout = Newest().segment_layout});
    LocalPort first(Newest(), {.process = segments});
    LocalPort second(Newest(), {.process = segments});
    const auto segment = NewSegment(3);
    for (LocalPort* const port : {&first, &second}) {
      SendHeld(*port, *segment, SharedOf(*port, 4));
      port->Drain();
    }
    if (destroys) first.handler = [&second](Message&) { second.receiver.reset(); };
    EXPECT_EQ(first.sender->Announce(segment), WriteAnswer::kAccepted);
    first.Drain();
    EXPECT_EQ(first.delivered.size(), 1U);
    EXPECT_EQ(second.delivered.size(), destroys ? 0U : 1U);
  }
}

// FRG-8, FRG-9: what is held or was not, and goes, frees what it names and is known.
TEST_F(HeldMessagesTest, WhatIsHeldAndGoesFreesItsChunks) {
  LocalPort port(Newest(), {.limits = {.open = 2}});
  const auto segment = NewSegment(0);
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  for (const uint32_t stream : {1U, 2U}) {  // the second does not fit
    const auto range = segment->Allocate(100);
    segment->HandedOver({0, range->first, 100});
    SendRaw(port, {.stream = stream, .pid = ::getpid(), .type = port.data_type, .mmap = true},
            ReferenceText({0, range->first, 100}) + ReferenceText({9, 0, 100}));
  }
  port.Drain();
  EXPECT_EQ(port.receiver->refusals(Rule::kFrg8), 1U);
  EXPECT_EQ(segment->FreeCount(), 639U);
  port.receiver->Close();
  EXPECT_EQ(segment->FreeCount(), 640U);
}

// SHM-10: announcements are of stream 0, and so may be what waits for one.
TEST_F(HeldMessagesTest, AnAnnouncementIsNeverHeld) {
  LocalPort port;
  const auto segment = NewSegment(3);
  SendHeld(port, *segment, SharedOf(port, 0));
  EXPECT_EQ(port.Write("behind", 0), WriteAnswer::kAccepted);
  port.Drain();
  EXPECT_EQ(port.receiver->held_messages(), 2U);
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  port.Drain();
  EXPECT_EQ(port.receiver->held_messages(), 0U);
  ASSERT_EQ(port.delivered.size(), 2U);
  EXPECT_EQ(port.delivered[1].text, "behind");
}

// FRG-8: a workspace may serve ports of different MAX: memory follows bytes all the same.
TEST_F(HeldMessagesTest, SmallDatagramsPinNoLargeBuffer) {
  Workspace workspace;
  auto pair = SocketPair::Create(Newest(), {.max_size = 64});
  ASSERT_TRUE(pair.ok()) << pair.status();
  auto receiver =
      Receiver::Adopt(workspace, std::move(pair->receive_end),
                      {.profile = &Newest(), .sizes = pair->sizes}, [](Message& /*message*/) {});
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  std::string references;
  for (uint32_t chunk = 0; chunk < 3; ++chunk) references += ReferenceText({9, chunk, 100});
  const uint8_t type = testing::TypeNumber(Newest(), Type::kData);
  for (uint32_t stream = 1; stream <= 20; ++stream) {
    SendRaw(pair->send_end.get(), {.stream = stream, .type = type, .mf = true}, Pattern(48, 1));
    SendRaw(pair->send_end.get(), {.stream = stream + 100, .type = type, .mmap = true}, references);
    while ((*receiver)->Turn() == Next::kCallAgain) {
    }
  }
  EXPECT_EQ((*receiver)->open_assemblies(), 20U);
  EXPECT_EQ((*receiver)->held_messages(), 20U);
  EXPECT_LE(workspace.pool.lent(), ReceiveBatch::kDatagramsMax);
}

// SHM-10: what goes on in a receiver of another loop goes on before what that one reads
// next, even if a handler makes it read.
TEST_F(HeldMessagesTest, ATurnBeginsWithWhatGoesOn) {
  const auto segments = ReceivingProcess::Create({.layout = Newest().segment_layout});
  LocalPort first(Newest(), {.process = segments});
  LocalPort second(Newest(), {.process = segments});
  const auto segment = NewSegment(3);
  const auto other = NewSegment(9);
  for (LocalPort* const port : {&first, &second}) {
    SendHeld(*port, *segment, SharedOf(*port, 4));
    port->Drain();
  }
  EXPECT_EQ(second.Write("newer", 4), WriteAnswer::kAccepted);
  SendHeld(second, *other, SharedOf(second, 4));  // in the place that the first one had
  first.handler = [&second](Message&) { second.Drain(); };
  EXPECT_EQ(first.sender->Announce(segment), WriteAnswer::kAccepted);
  first.Drain();
  ASSERT_EQ(second.delivered.size(), 2U);
  EXPECT_EQ(second.delivered[0].text.size(), 100U);
  EXPECT_EQ(second.delivered[1].text, "newer");
  EXPECT_EQ(second.sender->Announce(other), WriteAnswer::kAccepted);
  second.Drain();
  EXPECT_EQ(second.delivered.size(), 3U);
  EXPECT_EQ(segment->FreeCount(), 640U);
  EXPECT_EQ(other->FreeCount(), 640U);
}

// PRT-2: while what was held goes on, the receiver is in a turn of its own, whoever made
// it go on: no other begins, and a handler may destroy it.
TEST_F(HeldMessagesTest, WhatGoesOnIsATurn) {
  for (const bool destroys : {false, true}) {
    const auto segments = ReceivingProcess::Create({.layout = Newest().segment_layout});
    LocalPort first(Newest(), {.process = segments});
    LocalPort second(Newest(), {.process = segments});
    const auto segment = NewSegment(3);
    SendHeld(second, *segment, SharedOf(second, 4));
    Header fragment = SharedOf(second, 4, true);
    fragment.mmap = false;
    SendRaw(second, fragment, "");  // FRG-7 is told when it goes on
    EXPECT_EQ(second.Write("behind", 4), WriteAnswer::kAccepted);
    second.Drain();
    EXPECT_EQ(second.receiver->held_messages(), 3U);
    Next within = Next::kRead;
    second.handler = [&second, &within, destroys](Message& message) {
      if (!message.payload.front().shared() && destroys) return second.receiver.reset();
      within = second.receiver->Turn();
    };
    EXPECT_EQ(first.sender->Announce(segment), WriteAnswer::kAccepted);
    first.Drain();
    EXPECT_EQ(within, Next::kCallAgain);
    EXPECT_EQ(second.delivered.size(), 2U);
    ASSERT_EQ(second.told.size(), 2U);
    EXPECT_EQ(second.told[0].rule, Rule::kFrg7);
    EXPECT_FALSE(second.workspace.receiving);
  }
}

// PRT-1, SHM-6: what a parent holds, its child does not free, however its copy goes.
TEST_F(HeldMessagesTest, AChildFreesNothingThatIsHeld) {
  LocalPort port;
  const auto segment = NewSegment(0);
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  for (const uint32_t stream : {1U, 2U}) {
    const auto range = segment->Allocate(100);
    segment->HandedOver({0, range->first, 100});
    SendRaw(port, SharedOf(port, stream),
            ReferenceText({0, range->first, 100}) + ReferenceText({9, 0, 100}));
  }
  port.Drain();
  EXPECT_EQ(port.receiver->held_messages(), 2U);
  const pid_t child = ::fork();
  if (child == 0) {
    port.receiver->SenderDied(::getppid());
    port.receiver->Close();
    ::_exit(0);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(segment->FreeCount(), 638U);
  port.receiver->Close();
  EXPECT_EQ(segment->FreeCount(), 640U);
}

// PRT-1: a handler that forks returns twice; in the child nothing goes on.
TEST_F(HeldMessagesTest, NothingGoesOnInAChild) {
  LocalPort port;
  const auto segment = NewSegment(3);
  for (const uint32_t stream : {1U, 2U}) SendHeld(port, *segment, SharedOf(port, stream));
  port.Drain();
  bool is_child = false;
  int status = -1;
  port.handler = [&](Message&) {
    if (port.delivered.size() != 1) return;
    const pid_t child = ::fork();
    is_child = child == 0;
    if (is_child) return;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
  };
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  const Next next = port.Drain();
  if (is_child) ::_exit(next == Next::kEnd && port.delivered.size() == 1 ? 0 : 1);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(next, Next::kWait);
  EXPECT_EQ(port.delivered.size(), 2U);
  EXPECT_EQ(segment->FreeCount(), 640U);
}

}  // namespace
}  // namespace portproof
