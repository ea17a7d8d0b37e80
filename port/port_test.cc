// Both ends of a port in one process: what is written arrives, what is refused changes
// nothing, and every descriptor and chunk ends in one place.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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
using testing::OpenDescriptors;
using testing::Pattern;
using testing::ProfileOf;
using testing::ReferenceText;
using testing::SendRaw;
using testing::TextBuffer;
using testing::TextOf;
using testing::TypeNumber;

class PortTest : public testing::CensusTest {};

int NewPipeEnd() {
  std::array<int, 2> ends = {-1, -1};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  ::close(ends[1]);
  return ends[0];
}

TEST_F(PortTest, WhatIsWrittenArrives) {
  LocalPort port;
  EXPECT_EQ(port.Write("hello", 5), WriteAnswer::kAccepted);
  EXPECT_EQ(port.Drain(), Next::kWait);
  ASSERT_EQ(port.delivered.size(), 1U);
  EXPECT_EQ(port.delivered[0].text, "hello");
  EXPECT_EQ(port.delivered[0].header.stream, 5U);
  EXPECT_EQ(port.delivered[0].header.pid, ::getpid());
  EXPECT_EQ(port.delivered[0].sender, ::getpid());
  std::vector<Completion> completions;
  port.sender->TakeCompletions(completions);
  ASSERT_EQ(completions.size(), 1U);
  EXPECT_TRUE(completions[0].ok);
}

// IOV-1, FRG-4, SND-7: whatever the socket holds, everything arrives in the end.
TEST_F(PortTest, LargeMessagesPassASmallSocket) {
  for (const char* const name : {"unit-0.2", "unit-1.8.0", "unit-1.35.0"}) {
    LocalPort port(ProfileOf(name), {}, {}, {.max_size = 1000, .max_share = 3000});
    std::vector<std::string> texts;
    for (uint32_t i = 0; i < 6; ++i) texts.push_back(Pattern(70'000 * size_t{i + 1}, i));
    for (uint32_t i = 0; i < texts.size(); ++i) {
      ASSERT_EQ(port.Write(texts[i], i + 1), WriteAnswer::kAccepted);
    }
    while (port.sender->queued_messages() != 0) {
      ASSERT_TRUE(port.sender->wants_writable());
      EXPECT_EQ(port.Drain(), Next::kWait);
      port.sender->OnWritable();
    }
    port.Drain();
    ASSERT_EQ(port.delivered.size(), texts.size());
    for (const auto& delivered : port.delivered) {
      EXPECT_EQ(delivered.text, texts[delivered.header.stream - 1]);
    }
    EXPECT_EQ(port.receiver->refusals(), 0U);
    EXPECT_EQ(port.receiver->open_assemblies(), 0U);
    port.sender->OnWritable();
    EXPECT_FALSE(port.sender->wants_writable());
  }
}

// SND-8, SND-9, FDS-5
TEST_F(PortTest, DescriptorsAreBorrowedOrGiven) {
  LocalPort port;
  std::vector<OwnedFd> taken;
  port.handler = [&taken](Message& message) {
    for (OwnedFd& fd : message.fds) taken.push_back(std::move(fd));
  };
  const int borrowed = NewPipeEnd();
  EXPECT_EQ(port.Write("borrowed", 1, {&borrowed, 1}), WriteAnswer::kAccepted);
  const int given = NewPipeEnd();
  const Buffer buffer = TextBuffer("given");
  EXPECT_EQ(
      port.sender->Write(
          {.type = port.data_type, .close_fds = true, .fds = {&given, 1}, .chain = {&buffer, 1}}),
      WriteAnswer::kAccepted);
  EXPECT_EQ(::fcntl(given, F_GETFD), -1);
  // One that waits goes as a copy.
  EXPECT_EQ(port.sender->Write({.type = port.data_type, .batch = true, .fds = {&borrowed, 1}}),
            WriteAnswer::kAccepted);
  EXPECT_EQ(::close(borrowed), 0);
  port.sender->Flush();
  port.Drain();
  ASSERT_EQ(taken.size(), 3U);
  for (const OwnedFd& fd : taken) EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);  // FDS-3
}

TEST_F(PortTest, ARefusedWriteLeavesDescriptorsToTheCaller) {
  LocalPort port(Newest(), {}, {.fds_max = 1});
  const std::array<int, 2> fds = {NewPipeEnd(), NewPipeEnd()};
  EXPECT_EQ(port.sender->Write({.type = port.data_type, .close_fds = true, .fds = fds}),
            WriteAnswer::kFdsFull);
  EXPECT_EQ(port.sender->Write({.type = 200, .close_fds = true, .fds = {fds.data(), 1}}),
            WriteAnswer::kType);
  for (const int fd : fds) EXPECT_EQ(::close(fd), 0);
}

// FDS-1, FDS-2, HDR-1, HDR-4, HDR-8, FRG-2: refused, closed, and the rest goes on.
TEST_F(PortTest, RefusalsChangeNothingElse) {
  LocalPort port;
  const Header first = {.stream = 9, .pid = ::getpid(), .type = port.data_type, .mf = true};
  const Header later = {.stream = 9, .pid = ::getpid(), .type = port.data_type, .nf = true};
  SendRaw(port, first, "one ");
  const int fd = NewPipeEnd();
  SendRaw(port, later, "fd", {fd});                                            // FDS-1
  SendRaw(port, {.type = port.data_type}, "three", {fd, fd, fd});              // FDS-2
  SendRaw(port, {.stream = 1, .type = 99}, "type", {fd});                      // HDR-4
  SendRaw(port, {.stream = 3, .type = port.data_type, .nf = true}, "orphan");  // FRG-2
  SendRaw(port, first, "again", {fd});                                         // FRG-1
  EXPECT_EQ(::send(port.sender->fd(), "short", 5, 0), 5);                      // HDR-1
  EXPECT_EQ(::send(port.sender->fd(), nullptr, 0, 0), 0);                      // HDR-8
  SendRaw(port, later, "two");
  ::close(fd);
  EXPECT_EQ(port.Drain(), Next::kWait);
  ASSERT_EQ(port.delivered.size(), 1U);
  EXPECT_EQ(port.delivered[0].text, "one two");
  EXPECT_EQ(port.delivered[0].fds, 0U);
  EXPECT_EQ(port.receiver->refusals(Rule::kFds1), 1U);
  EXPECT_EQ(port.receiver->refusals(Rule::kFds2), 1U);
  EXPECT_EQ(port.receiver->refusals(Rule::kHdr4), 1U);
  EXPECT_EQ(port.receiver->refusals(Rule::kFrg2), 1U);
  EXPECT_EQ(port.receiver->refusals(Rule::kFrg1), 1U);
  EXPECT_EQ(port.receiver->refusals(Rule::kHdr1), 1U);
  EXPECT_EQ(port.receiver->refusals(Rule::kHdr8), 1U);
  EXPECT_EQ(port.receiver->refusals(), 7U);
}

// HDR-8: alone in its read, with nothing behind it that would tell.
TEST_F(PortTest, AnEmptyDatagramAloneEndsNothing) {
  for (const char* const name : {"unit-0.2", "unit-1.35.0"}) {  // without and with credentials
    LocalPort port(ProfileOf(name));
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(::send(port.sender->fd(), nullptr, 0, 0), 0);
      EXPECT_EQ(port.Drain(), Next::kWait);
      EXPECT_TRUE(port.receiver->open()) << name;
    }
    EXPECT_EQ(port.Write("after"), WriteAnswer::kAccepted);
    port.Drain();
    ASSERT_EQ(port.delivered.size(), 1U) << name;
    EXPECT_EQ(port.delivered[0].text, "after");
  }
}

// HDR-8: the peer has hung up, but left something behind an empty datagram.
TEST_F(PortTest, WhatLiesBehindAnEmptyDatagramIsRead) {
  LocalPort port(ProfileOf("unit-0.2"), {.reads_per_turn = 1});
  EXPECT_EQ(::send(port.sender->fd(), nullptr, 0, 0), 0);
  EXPECT_EQ(port.Write("after"), WriteAnswer::kAccepted);
  port.sender->Close();
  EXPECT_EQ(port.Drain(), Next::kEnd);
  ASSERT_EQ(port.delivered.size(), 1U);
  EXPECT_EQ(port.delivered[0].text, "after");
}

// HDR-8, FRG-9
TEST_F(PortTest, TheEndComesOnceAfterWhatWasSent) {
  LocalPort port;
  EXPECT_EQ(port.Write("last words"), WriteAnswer::kAccepted);
  const int fd = NewPipeEnd();
  SendRaw(port, {.stream = 2, .pid = 7, .type = port.data_type, .mf = true}, "begun", {fd});
  ::close(fd);
  EXPECT_EQ(::send(port.sender->fd(), nullptr, 0, 0), 0);
  port.sender->Close();
  EXPECT_EQ(port.Drain(), Next::kEnd);
  EXPECT_FALSE(port.receiver->open());
  EXPECT_EQ(port.delivered.size(), 1U);
  EXPECT_EQ(port.receiver->Turn(), Next::kEnd);
  EXPECT_EQ(port.Write("too late"), WriteAnswer::kClosed);
}

// SND-4
TEST_F(PortTest, APortWithoutReceiverFailsWhatIsQueued) {
  LocalPort port;
  const std::string text = Pattern(500'000, 1);
  EXPECT_EQ(port.Write(text), WriteAnswer::kAccepted);
  EXPECT_EQ(port.Write("behind", 2), WriteAnswer::kAccepted);
  port.receiver->Close();
  port.sender->OnWritable();
  std::vector<Completion> completions;
  port.sender->TakeCompletions(completions);
  ASSERT_EQ(completions.size(), 2U);
  EXPECT_FALSE(completions[0].ok);
  EXPECT_FALSE(completions[1].ok);
  EXPECT_EQ(port.Write("more"), WriteAnswer::kFailed);
}

// PRT-2, RCV-3: from inside a handler everything may end, and what is taken stays.
TEST_F(PortTest, AHandlerMayCloseOrDestroy) {
  for (const bool destroy : {false, true}) {
    LocalPort port;
    const int fd = NewPipeEnd();
    for (uint32_t i = 0; i < 5; ++i)
      EXPECT_EQ(port.Write("x", i, {&fd, 1}), WriteAnswer::kAccepted);
    ::close(fd);
    Payload kept;
    const std::string captured = "still here after the receiver is gone";
    port.handler = [&port, &kept, captured, destroy](Message& message) {
      kept = std::move(message.payload);
      if (destroy) {
        port.receiver.reset();
      } else {
        port.receiver->Close();
      }
      EXPECT_EQ(captured.size(), 37U);
    };
    EXPECT_EQ(port.receiver->Turn(), Next::kEnd);
    EXPECT_EQ(port.delivered.size(), 1U);
    EXPECT_EQ(TextOf(kept), "x");
  }
}

TEST_F(PortTest, PartsOutliveTheWorkspace) {
  Payload kept;
  {
    LocalPort port;
    port.handler = [&kept](Message& message) { kept = std::move(message.payload); };
    const std::string text = Pattern(40'000, 3);
    EXPECT_EQ(port.Write(text), WriteAnswer::kAccepted);
    port.Drain();
    EXPECT_EQ(TextOf(kept), text);
  }
  EXPECT_EQ(TextOf(kept), Pattern(40'000, 3));
}

// RCV-4, RCV-7
TEST_F(PortTest, ATurnHasAnEnd) {
  LocalPort port(Newest(), {.reads_per_turn = 5});
  for (uint32_t i = 0; i < 12; ++i) EXPECT_EQ(port.Write("x", i), WriteAnswer::kAccepted);
  EXPECT_EQ(port.receiver->Turn(), Next::kCallAgain);
  EXPECT_EQ(port.delivered.size(), 5U);
  EXPECT_EQ(port.receiver->Turn(), Next::kCallAgain);
  EXPECT_EQ(port.receiver->Turn(), Next::kWait);
  EXPECT_EQ(port.delivered.size(), 12U);
}

// SHM-6, SHM-13, SND-6: announced, lent, taken, freed once.
TEST_F(PortTest, MessagesInSharedMemory) {
  LocalPort port;
  Payload kept;
  port.handler = [&kept](Message& message) {
    EXPECT_TRUE(message.payload.front().shared());
    kept = std::move(message.payload);
  };
  const auto segment = NewSegment(0);
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  const auto range = segment->Allocate(50'000);
  ASSERT_TRUE(range.has_value());
  const std::string text = Pattern(50'000, 5);
  std::copy(text.begin(), text.end(), segment->Memory(*range).begin());
  const Buffer buffer = port.sender->BufferIn(*segment, *range, 50'000, 0);
  EXPECT_EQ(port.sender->Write({.type = port.data_type, .chain = {&buffer, 1}}),
            WriteAnswer::kAccepted);
  EXPECT_EQ(segment->Release(*range), 0U);  // all of it was handed over
  port.Drain();
  EXPECT_EQ(TextOf(kept), text);
  EXPECT_EQ(segment->FreeCount(), 636U);
  port.receiver.reset();
  EXPECT_EQ(TextOf(kept), text);
  kept.clear();
  EXPECT_EQ(segment->FreeCount(), 640U);
}

TEST_F(PortTest, ASegmentThatWasNotAnnouncedIsRefusedToTheWriter) {
  LocalPort port;
  const auto segment = NewSegment(0);
  const auto range = segment->Allocate(100);
  const Buffer buffer = port.sender->BufferIn(*segment, *range, 100, 0);
  EXPECT_EQ(port.sender->Write({.type = port.data_type, .chain = {&buffer, 1}}),
            WriteAnswer::kNoSegment);
}

// SHM-1, HDR-5: eight bytes before the references where byte 15 is a flag, and set.
TEST_F(PortTest, TrackingIsByProfileAndFlag) {
  struct Case {
    const char* profile;
    uint8_t byte15;
    size_t tracking_bytes;
  };
  for (const Case& one : {Case{"unit-1.8.0", 1, 8}, {"unit-1.8.0", 0, 0}, {"unit-1.35.0", 1, 0}}) {
    LocalPort port(ProfileOf(one.profile));
    const auto segment = NewSegment(0, ProfileOf(one.profile));
    EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
    const auto range = segment->Allocate(100);
    segment->HandedOver({0, range->first, 100});
    SendRaw(port, {.pid = ::getpid(), .type = port.data_type, .mmap = true, .byte15 = one.byte15},
            std::string(one.tracking_bytes, '\0') + ReferenceText({0, range->first, 100}));
    port.Drain();
    ASSERT_EQ(port.delivered.size(), 1U) << one.profile;
    EXPECT_EQ(port.delivered[0].text.size(), 100U);
  }
}

// SHM-8, FRG-9: the numbers of the dead are free again.
TEST_F(PortTest, TheDeadLeaveTheirSegmentIds) {
  LocalPort port;
  const auto segment = NewSegment(0);
  const Header announcement = {
      .pid = ::getpid(), .type = TypeNumber(Newest(), Type::kMmap), .last = true};
  for (int i = 0; i < 2; ++i) {
    SendRaw(port, announcement, "", {segment->fd()});
    port.Drain();
    port.receiver->SenderDied(::getpid());
  }
  EXPECT_EQ(port.receiver->refusals(), 0U);
}

// SHM-2, RCV-5: what a refused datagram names is freed, whatever it is refused for.
TEST_F(PortTest, RefusedReferencesAreFreed) {
  LocalPort port(Newest(), {.handled = HandledTypes::All().Without(28)});
  const auto segment = NewSegment(0);
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  port.Drain();
  const auto good = segment->Allocate(16384);
  const std::string reference = ReferenceText({0, good->first, 16384});
  segment->HandedOver({0, good->first, 16384});
  const int32_t pid = ::getpid();
  SendRaw(port, {.stream = 1, .pid = pid, .type = 28, .mmap = true}, reference);  // HDR-4
  port.Drain();
  EXPECT_EQ(segment->FreeCount(), 640U);
  const auto again = segment->Allocate(16384);
  segment->HandedOver({0, again->first, 16384});
  SendRaw(port, {.stream = 1, .pid = pid, .type = 27, .mmap = true},
          reference + ReferenceText({0, 640, 1}));  // SHM-2
  port.Drain();
  EXPECT_EQ(segment->FreeCount(), 640U);
  EXPECT_EQ(port.receiver->refusals(Rule::kShm2), 1U);
  EXPECT_TRUE(port.delivered.empty());
}

// FRG-9: remove_pid, and the owner's word.
TEST_F(PortTest, TheDeadFinishNothing) {
  LocalPort port;
  const int fd = NewPipeEnd();
  const int32_t pid = ::getpid();
  SendRaw(port, {.stream = 1, .pid = pid, .type = port.data_type, .mf = true}, "begun", {fd});
  port.Drain();
  EXPECT_EQ(port.receiver->open_assemblies(), 1U);
  const std::string number(reinterpret_cast<const char*>(&pid), sizeof pid);
  SendRaw(port, {.pid = pid, .type = TypeNumber(Newest(), Type::kRemovePid)}, number);
  port.Drain();
  EXPECT_EQ(port.receiver->open_assemblies(), 0U);
  EXPECT_EQ(port.delivered.size(), 1U);
  SendRaw(port, {.stream = 1, .pid = pid, .type = port.data_type, .mf = true}, "begun", {fd});
  port.Drain();
  port.receiver->SenderDied(pid);
  EXPECT_EQ(port.receiver->open_assemblies(), 0U);
  EXPECT_EQ(port.receiver->held_bytes(), 0U);
  ::close(fd);
}

// PRT-1: a child uses nothing of its parent's.
TEST_F(PortTest, AForkedChildAdoptsAnew) {
  LocalPort port;
  const auto segment = NewSegment(0);
  Payload kept;
  port.handler = [&kept](Message& message) { kept = std::move(message.payload); };
  EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
  const auto range = segment->Allocate(100);
  const Buffer buffer = port.sender->BufferIn(*segment, *range, 100, 0);
  EXPECT_EQ(port.sender->Write({.type = port.data_type, .chain = {&buffer, 1}}),
            WriteAnswer::kAccepted);
  port.Drain();
  const pid_t child = ::fork();
  if (child == 0) {
    bool good = port.Write("from the child") == WriteAnswer::kClosed;
    good = good && port.receiver->Turn() == Next::kEnd;
    kept.clear();  // frees nothing
    auto own = Sender::Adopt(port.workspace, OwnedFd(::dup(port.sender->fd())),
                             {.profile = &Newest(), .sizes = port.sizes});
    const Buffer text = TextBuffer("adopted");
    good = good && own.ok() &&
           (*own)->Write({.type = port.data_type, .chain = {&text, 1}}) == WriteAnswer::kAccepted;
    ::_exit(good ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(segment->FreeCount(), 639U);
  kept.clear();
  EXPECT_EQ(segment->FreeCount(), 640U);
  port.handler = nullptr;
  port.Drain();
  ASSERT_EQ(port.delivered.size(), 2U);
  EXPECT_EQ(port.delivered[1].sender, child);
  EXPECT_EQ(port.delivered[1].header.pid, child);
}

// PRT-1: a handler that forks returns twice. What was read already is the parent's, and
// so is what lies in the socket.
TEST_F(PortTest, AChildForkedByAHandlerTakesNothing) {
  constexpr uint32_t kMessages = 2 * ReceiveBatch::kDatagramsMax;
  LocalPort port;
  for (uint32_t i = 0; i < kMessages; ++i) EXPECT_EQ(port.Write("x", i), WriteAnswer::kAccepted);
  bool is_child = false;
  int status = -1;
  port.handler = [&](Message&) {
    if (port.delivered.size() != 1) return;
    const pid_t child = ::fork();
    is_child = child == 0;
    if (is_child) return;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
  };
  const Next next = port.Drain();
  if (is_child) ::_exit(next == Next::kEnd && port.delivered.size() == 1 ? 0 : 1);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(next, Next::kWait);
  EXPECT_EQ(port.delivered.size(), kMessages);
}

// PRT-1, FDS-5: such a child holds none of the descriptors that were read for its parent.
TEST_F(PortTest, AChildForkedByAHandlerHoldsNoDescriptors) {
  constexpr uint32_t kMessages = ReceiveBatch::kDatagramsMax;
  LocalPort port;
  const std::array<int, 2> fds = {port.sender->fd(), port.receiver->fd()};
  port.BeginBatches();
  for (uint32_t i = 0; i < 2 * kMessages; ++i) {
    EXPECT_EQ(port.Write("x", i, fds), WriteAnswer::kAccepted);
  }
  const size_t before = OpenDescriptors();
  bool is_child = false;
  size_t most = 0;
  int status = -1;
  port.handler = [&](Message&) {
    most = std::max(most, OpenDescriptors());
    if (port.delivered.size() != 2) return;  // the second of a batch
    const pid_t child = ::fork();
    is_child = child == 0;
    if (is_child) return;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
  };
  Next next = Next::kCallAgain;
  while (next == Next::kCallAgain) next = port.receiver->Turn();
  if (is_child) ::_exit(next == Next::kEnd && OpenDescriptors() == before ? 0 : 1);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(port.delivered.size(), 2 * kMessages);
  EXPECT_GT(most, before + 2 * (kMessages / 2));  // the batch's, or nothing was tried
  EXPECT_EQ(OpenDescriptors(), before);
}

// Turns until `done`, or the end.
template <typename Done>
Next TurnUntil(Receiver& receiver, Done done) {
  Next next = Next::kCallAgain;
  while (next != Next::kEnd && !done()) {
    next = receiver.Turn();
    pollfd polled = {receiver.fd(), POLLIN, 0};
    if (next == Next::kWait && !done()) ::poll(&polled, 1, -1);
  }
  return next;
}

// Receives two ends over `first`, one to receive and one to send, and sends back on the
// second what comes over the first.
bool EchoOverPassedEnds(OwnedFd first, const PortSizes& sizes) {
  Workspace workspace;
  Fds ends;
  auto inherited =
      Receiver::Adopt(workspace, std::move(first), {.profile = &Newest(), .sizes = sizes},
                      [&ends](Message& message) { ends = std::move(message.fds); });
  if (!inherited.ok()) return false;
  TurnUntil(**inherited, [&ends] { return !ends.empty(); });
  if (ends.size() != 2) return false;
  for (const OwnedFd& end : ends) {
    if (::fcntl(end.get(), F_GETFD) != FD_CLOEXEC) return false;  // FDS-3
  }
  auto back = Sender::Adopt(workspace, std::move(ends[1]), {.profile = &Newest(), .sizes = sizes});
  if (!back.ok()) return false;
  bool good = true;
  auto there = Receiver::Adopt(
      workspace, std::move(ends[0]), {.profile = &Newest(), .sizes = sizes}, [&](Message& message) {
        const std::string text = TextOf(message.payload);
        const Buffer buffer = TextBuffer(text);
        const Outgoing answer = {.type = message.header.type, .stream = 7, .chain = {&buffer, 1}};
        good = message.sender == ::getppid() && (*back)->Write(answer) == WriteAnswer::kAccepted &&
               !(*back)->wants_writable();
      });
  if (!there.ok()) return false;
  return TurnUntil(**there, [] { return false; }) == Next::kEnd && good;
}

// PRT-1: ends that another process received over a port are adopted there, and work; its
// own pid is in what it sends.
TEST_F(PortTest, PassedEndsWorkInAnotherProcess) {
  auto first = SocketPair::Create(Newest());
  ASSERT_TRUE(first.ok()) << first.status();
  const PortSizes sizes = first->sizes;
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(30);
    first->send_end.Close();
    const size_t before = OpenDescriptors() - 1;  // the receive end goes
    const bool good = EchoOverPassedEnds(std::move(first->receive_end), sizes);
    ::_exit(good && OpenDescriptors() == before ? 0 : 1);
  }
  first->receive_end.Close();
  auto there = SocketPair::Create(Newest());
  auto back = SocketPair::Create(Newest());
  ASSERT_TRUE(there.ok() && back.ok());
  Workspace workspace;
  const SenderOptions sending = {.profile = &Newest(), .sizes = sizes};
  auto passing = Sender::Adopt(workspace, std::move(first->send_end), sending);
  ASSERT_TRUE(passing.ok()) << passing.status();
  const uint8_t type = TypeNumber(Newest(), Type::kData);
  const std::array<int, 2> ends = {there->receive_end.Release(), back->send_end.Release()};
  EXPECT_EQ((*passing)->Write({.type = type, .close_fds = true, .fds = ends}),
            WriteAnswer::kAccepted);

  const std::string text = Pattern(2 * sizes.max_size, 1);
  const Buffer buffer = TextBuffer(text);
  auto sender = Sender::Adopt(workspace, std::move(there->send_end), sending);
  ASSERT_TRUE(sender.ok()) << sender.status();
  EXPECT_EQ((*sender)->Write({.type = type, .stream = 5, .chain = {&buffer, 1}}),
            WriteAnswer::kAccepted);
  std::string answer;
  auto receiver = Receiver::Adopt(workspace, std::move(back->receive_end),
                                  {.profile = &Newest(), .sizes = sizes}, [&](Message& message) {
                                    answer = TextOf(message.payload);
                                    EXPECT_EQ(message.sender, child);
                                    EXPECT_EQ(message.header.pid, child);
                                  });
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  TurnUntil(**receiver, [&answer] { return !answer.empty(); });
  EXPECT_EQ(answer, text);
  (*sender)->Close();
  EXPECT_EQ(TurnUntil(**receiver, [] { return false; }), Next::kEnd);  // nobody else has that end
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// SOC-1, SOC-2, SND-11, PRT-1
TEST_F(PortTest, EndsAreChecked) {
  auto pair = SocketPair::Create(ProfileOf("unit-0.2"), {.max_size = 1 << 20});
  ASSERT_TRUE(pair.ok()) << pair.status();
  for (const OwnedFd* const end : {&pair->receive_end, &pair->send_end}) {
    EXPECT_EQ(::fcntl(end->get(), F_GETFD), FD_CLOEXEC);
    EXPECT_NE(::fcntl(end->get(), F_GETFL) & O_NONBLOCK, 0);
  }
  const std::string largest(pair->sizes.max_size + 16, 'x');
  EXPECT_EQ(::send(pair->send_end.get(), largest.data(), largest.size(), MSG_DONTWAIT),
            static_cast<ssize_t>(largest.size()));
  EXPECT_FALSE(SocketPair::Create(Newest(), {.max_size = 63}).ok());
  EXPECT_FALSE(SocketPair::Create(Newest(), {.max_share = 0}).ok());
  Workspace workspace;
  const auto adopt = [&workspace](int fd, PortSizes sizes) {
    return Sender::Adopt(workspace, OwnedFd(fd), {.profile = &Newest(), .sizes = sizes}).status();
  };
  EXPECT_FALSE(adopt(NewPipeEnd(), {}).ok());
  EXPECT_FALSE(adopt(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), {}).ok());
  EXPECT_FALSE(adopt(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), {}).ok());
  EXPECT_FALSE(adopt(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), {.max_size = 1 << 20}).ok());
  EXPECT_TRUE(adopt(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), {}).ok());
  EXPECT_FALSE(Receiver::Adopt(workspace, std::move(pair->receive_end),
                               {.profile = &Newest(), .sizes = {.max_size = 20'000}}, {})
                   .ok());
}

}  // namespace
}  // namespace portproof
