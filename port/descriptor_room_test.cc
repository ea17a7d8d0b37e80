// Descriptor slots at and near exhaustion: what cannot be done says so and leaves nothing
// behind, what can goes on. FDS-5, FDS-7, SND-8, RCV-5.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "port/fault_kernel.h"
#include "port/testing.h"

namespace portproof {
namespace {

using testing::LocalPort;
using testing::Newest;
using testing::NewSegment;
using testing::OpenDescriptors;
using testing::ProfileOf;
using testing::SendRaw;

OwnedFd OpenNull() { return OwnedFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

// While it lives, so many descriptors can be opened and no more: every number below the
// limit but those is in use. The limit itself stays high: Linux compares it with all the
// descriptors in flight of this user, those of other processes included (ETOOMANYREFS).
class Room {
 public:
  explicit Room(size_t slots) {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &old_), 0);
    const rlimit most = {old_.rlim_max, old_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &most), 0);
    // One that closes no gap is the lowest number free, and the first behind all others.
    const int table = static_cast<int>(std::min<rlim_t>(kTable, old_.rlim_max - slots - 1));
    const int behind_all = std::max(HighestDescriptor() + 1, table);
    OwnedFd filler = OpenNull();
    const auto next = [](const OwnedFd& fd) {
      return OwnedFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    };
    for (; filler.get() < behind_all; filler = next(fillers_.back())) {
      fillers_.push_back(std::move(filler));
    }
    const rlimit limit = {static_cast<rlim_t>(filler.get()) + slots, old_.rlim_max};
    filler.Close();
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  ~Room() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &old_), 0); }

 private:
  static constexpr rlim_t kTable = 16384;

  static int HighestDescriptor() {
    int highest = -1;
    for (int fd = 0; fd < 1024; ++fd) {
      if (::fcntl(fd, F_GETFD) >= 0) highest = fd;
    }
    return highest;
  }

  rlimit old_ = {};
  std::vector<OwnedFd> fillers_;
};

// SND-8: a batch has copies, and a write without them is refused; the copies are gone
// when the receiver needs room.
TEST(DescriptorRoomTest, SND_8_NoRoomToCopy) {
  const size_t before = OpenDescriptors();
  for (size_t slots = 0; slots <= 12; ++slots) {
    SCOPED_TRACE("room for " + std::to_string(slots));
    LocalPort port;
    const OwnedFd fd = OpenNull();
    const int passed = fd.get();
    size_t accepted = 0;
    {
      const Room room(slots);
      for (uint32_t i = 0; i < 12; ++i) {
        const WriteAnswer answer = port.sender->Write(
            {.type = port.data_type, .stream = i, .batch = true, .fds = {&passed, 1}});
        EXPECT_EQ(answer, i < slots ? WriteAnswer::kAccepted : WriteAnswer::kNoDescriptor);
        accepted += answer == WriteAnswer::kAccepted;
      }
      port.sender->Flush();
      port.Drain();
    }
    EXPECT_EQ(accepted, slots);
    EXPECT_EQ(port.delivered.size(), slots);
    EXPECT_EQ(port.receiver->refusals(), 0U);
    for (const auto& delivered : port.delivered) EXPECT_EQ(delivered.fds, 1U);
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// FDS-7, FDS-5: what came without its descriptors, or with some of them, is refused; what
// had room arrives whole, and so does what comes when there is room again.
TEST(DescriptorRoomTest, FDS_7_NoRoomToReceive) {
  constexpr size_t kMessages = 12;
  const size_t before = OpenDescriptors();
  for (const size_t each : {size_t{1}, size_t{2}}) {
    for (size_t slots = 0; slots <= each * kMessages + 1; ++slots) {
      SCOPED_TRACE(std::to_string(each) + " each, room for " + std::to_string(slots));
      LocalPort port;
      std::vector<Fds> kept;
      port.handler = [&](Message& message) { kept.push_back(std::move(message.fds)); };
      const OwnedFd fd = OpenNull();
      const std::array<int, 2> passed = {fd.get(), fd.get()};
      for (uint32_t i = 0; i < kMessages; ++i) {
        ASSERT_EQ(port.Write("x", i, {passed.data(), each}), WriteAnswer::kAccepted);
      }
      ASSERT_EQ(port.sender->queued_messages(), 0U);
      {
        const Room room(slots);
        port.Drain();
      }
      const size_t fits = std::min(kMessages, slots / each);  // they are kept
      EXPECT_EQ(port.delivered.size(), fits);
      ASSERT_EQ(kept.size(), fits);
      for (const Fds& fds : kept) EXPECT_EQ(fds.size(), each);
      kept.clear();
      EXPECT_EQ(port.receiver->refusals(Rule::kRcv1), kMessages - fits);
      EXPECT_EQ(port.receiver->refusals(), kMessages - fits);
      EXPECT_EQ(OpenDescriptors(), before + 3);
      ASSERT_EQ(port.Write("after", 1, {passed.data(), each}), WriteAnswer::kAccepted);
      port.Drain();
      EXPECT_EQ(port.delivered.back().text, "after");
      EXPECT_EQ(port.delivered.back().fds, each);
    }
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// SOC-1: a pair needs two.
TEST(DescriptorRoomTest, SOC_1_NoRoomForAPair) {
  const size_t before = OpenDescriptors();
  for (size_t slots = 0; slots <= 2; ++slots) {
    absl::StatusOr<SocketPair> pair = absl::UnknownError("");
    {
      const Room room(slots);
      pair = SocketPair::Create(Newest());
    }
    EXPECT_EQ(pair.ok(), slots == 2) << slots;
    if (pair.ok()) continue;
    EXPECT_EQ(pair.status().code(), absl::ErrnoToStatus(EMFILE, "").code());
    EXPECT_NE(pair.status().message().find("socketpair"), absl::string_view::npos);
    EXPECT_EQ(OpenDescriptors(), before);
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

ChunkRange WriteShared(LocalPort& port, Segment& segment) {
  const auto range = segment.Allocate(100);
  const Buffer buffer = port.sender->BufferIn(segment, *range, 100, 0);
  EXPECT_EQ(port.sender->Write({.type = port.data_type, .chain = {&buffer, 1}}),
            WriteAnswer::kAccepted);
  return *range;
}

// SHM-8, SHM-10: a segment needs one, an announcement that waits another; one that was
// refused can be written again.
TEST(DescriptorRoomTest, SHM_10_NoRoomForASegment) {
  const size_t before = OpenDescriptors();
  {
    LocalPort port;
    const SegmentHeader header = {.source_pid = ::getpid(), .sent_over = kSentOverAny};
    absl::StatusOr<Segment> made = absl::UnknownError("");
    {
      const Room room(0);
      made = Segment::Create(header, Newest().segment_layout);
    }
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.status().code(), absl::ErrnoToStatus(EMFILE, "").code());
    EXPECT_NE(made.status().message().find("memfd_create"), absl::string_view::npos);
    EXPECT_EQ(OpenDescriptors(), before + 2);
    made = Segment::Create(header, Newest().segment_layout);
    ASSERT_TRUE(made.ok()) << made.status();
    const auto segment = std::make_shared<Segment>(*std::move(made));
    {
      const Room room(0);
      EXPECT_EQ(port.sender->Announce(segment, true), WriteAnswer::kNoDescriptor);
    }
    EXPECT_EQ(OpenDescriptors(), before + 3);
    EXPECT_EQ(port.sender->queued_messages(), 0U);
    EXPECT_FALSE(port.sender->has_completions());
    {
      const Room room(0);  // at once it needs no copy
      EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
    }
    port.Drain();
    EXPECT_EQ(port.receiver->refusals(), 0U);
    const ChunkRange range = WriteShared(port, *segment);
    port.Drain();
    EXPECT_EQ(port.delivered.size(), 1U);
    segment->Release(range);
    EXPECT_EQ(segment->FreeCount(), 640U);
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// An announcement that lost its descriptor is RCV-1, and its segment unknown.
TEST(DescriptorRoomTest, FDS_7_NoRoomForAnAnnouncement) {
  const size_t before = OpenDescriptors();
  {
    uint32_t asked = 0;
    LocalPort port(Newest(), {.ask_segment = [&](int32_t, uint32_t) { ++asked; }});
    const auto segment = NewSegment(0);
    ASSERT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
    {
      const Room room(0);
      port.Drain();
    }
    EXPECT_EQ(port.receiver->refusals(Rule::kRcv1), 1U);
    WriteShared(port, *segment);
    port.Drain();
    EXPECT_EQ(asked, 1U);
    EXPECT_EQ(port.receiver->held_messages(), 1U);
    EXPECT_EQ(OpenDescriptors(), before + 3);
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// As many of them as the kernel passes, 253 each. How many went: the kernel allows an
// ordinary user no more in flight than its limit.
size_t SendSurplus(int socket, int fd, size_t datagrams) {
  constexpr size_t kPassed = 253;
  const std::vector<int> fds(kPassed, fd);
  std::vector<uint8_t> control(CMSG_SPACE(kPassed * sizeof(int)));
  auto bytes = EncodeHeader({.stream = 9, .pid = ::getpid(), .type = 27});
  iovec vector = {bytes.data(), bytes.size()};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(kPassed * sizeof(int));
  std::copy(fds.begin(), fds.end(), reinterpret_cast<int*>(CMSG_DATA(rights)));
  for (size_t sent = 0; sent < datagrams; ++sent) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return sent;
  }
  return datagrams;
}

// RCV-5: an honest message in one call with a neighbour's surplus of descriptors arrives
// with its own, as if the neighbour's had not come.
TEST(DescriptorRoomTest, RCV_5_ANeighboursSurplusTakesNoRoom) {
  const size_t before = OpenDescriptors();
  for (const char* const profile : {"unit-1.35.0", "unit-1.25.0"}) {
    for (const size_t hostile : {size_t{4}, size_t{15}}) {
      SCOPED_TRACE(profile + std::string(" behind ") + std::to_string(hostile));
      LocalPort port(ProfileOf(profile));
      const OwnedFd fd = OpenNull();
      const std::array<int, 2> passed = {fd.get(), fd.get()};
      const size_t surplus = SendSurplus(port.sender->fd(), fd.get(), hostile);
      EXPECT_GE(surplus, 4U);
      ASSERT_EQ(port.Write("honest", 1, passed), WriteAnswer::kAccepted);
      rlimit old = {};
      ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
      const rlimit limit = {hostile == 4 ? rlim_t{256} : rlim_t{1024}, old.rlim_max};
      ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
      port.Drain();
      ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
      port.sender->OnRetry();
      port.Drain();
      EXPECT_EQ(port.receiver->refusals(Rule::kFds2), surplus);
      EXPECT_EQ(port.receiver->refusals(), surplus);
      ASSERT_EQ(port.delivered.size(), 1U);
      EXPECT_EQ(port.delivered[0].fds, 2U);
    }
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// A stream of datagrams: honest ones, and such as are refused by each rule that closes
// what came with them. Streams tell them apart.
void SendMix(const LocalPort& port, uint32_t seed, size_t datagrams, int fd) {
  std::mt19937 random(seed);
  const auto below = [&random](uint32_t bound) { return static_cast<uint32_t>(random() % bound); };
  uint32_t plain_left = 0;
  for (uint32_t i = 0; i < datagrams; ++i) {
    Header header = {.stream = i, .pid = ::getpid(), .type = port.data_type};
    if (plain_left == 0 && below(40) == 0) plain_left = 2 * kSinglyReads;
    size_t fds = below(3);
    if (plain_left != 0) {
      --plain_left;
      fds = 0;
    }
    switch (below(8)) {
      case 0:  // FRG-2, FDS-1
        header.nf = true;
        break;
      case 1:  // HDR-4
        header.type = 200;
        break;
      case 2:  // FDS-2
        if (fds != 0) fds = 3 + below(10);
        break;
      case 3:  // opened once, and then FRG-1
        header.mf = true;
        header.stream = 1'000'000 + below(3);
        break;
      case 4:  // its end
        header.nf = true;
        header.stream = 1'000'000 + below(3);
        fds = 0;
        break;
      default:
        break;
    }
    SendRaw(port, header, "x", std::vector<int>(fds, fd));
  }
}

struct Outcome {
  std::vector<std::string> lines;
  uint64_t refusals = 0;
};

// What a receiver makes of a mix. Its handler keeps the descriptors of some messages.
Outcome OutcomeOf(uint32_t seed, size_t slots, bool keeps, uint32_t reads_per_turn) {
  constexpr size_t kDatagrams = 200;
  LocalPort port(ProfileOf("unit-1.35.0"), {.reads_per_turn = reads_per_turn});
  std::vector<Fds> kept;
  port.handler = [&](Message& message) {
    if (keeps && message.header.stream % 16 == 0) kept.push_back(std::move(message.fds));
  };
  const OwnedFd fd = OpenNull();
  SendMix(port, seed, kDatagrams, fd.get());
  {
    const Room room(slots);
    EXPECT_EQ(port.Drain(), Next::kWait);
  }
  Outcome outcome;
  outcome.refusals = port.receiver->refusals();
  for (const auto& delivered : port.delivered) {
    outcome.lines.push_back("stream " + std::to_string(delivered.header.stream) + " fds " +
                            std::to_string(delivered.fds) + " bytes " +
                            std::to_string(delivered.text.size()));
  }
  for (const Refusal& refusal : port.told) {
    const uint32_t stream = refusal.header ? refusal.header->stream : 0;
    outcome.lines.push_back(std::string(Id(refusal.rule)) + " stream " + std::to_string(stream));
  }
  return outcome;
}

// RCV-5: with few slots free, what a receiver that reads one datagram at a time gets and
// refuses is what any receiver gets and refuses.
TEST(DescriptorRoomTest, RCV_5_AFullTableIsReadAsOneAtATime) {
  const size_t before = OpenDescriptors();
  for (size_t slots = 1; slots <= 40; ++slots) {
    for (uint32_t seed = 0; seed < 6; ++seed) {
      SCOPED_TRACE("room for " + std::to_string(slots) + ", seed " + std::to_string(seed));
      const bool keeps = seed % 2 != 0;
      const Outcome singly = OutcomeOf(seed, slots, keeps, 1);
      const Outcome batched = OutcomeOf(seed, slots, keeps, kReadsPerTurn);
      EXPECT_EQ(batched.lines, singly.lines);
      EXPECT_EQ(batched.refusals, singly.refusals);
      EXPECT_NE(singly.refusals, 0U);
    }
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// Until it is over: a port that read in batches reads singly from the first that lost its
// descriptors, however many come without any, and in batches when there is room again.
TEST(DescriptorRoomTest, RCV_5_OneAtATimeUntilThereIsRoom) {
  testing::FaultKernel kernel;
  LocalPort port(Newest(), {}, {}, {}, kernel);
  const OwnedFd fd = OpenNull();
  const int passed = fd.get();
  const auto write = [&](uint32_t count, std::span<const int> fds) {
    for (uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(port.Write("x", i, fds), WriteAnswer::kAccepted);
    }
  };
  const auto calls_for = [&](uint32_t plain) {
    write(plain, {});
    const uint64_t before = kernel.count(testing::Call::kReceive);
    port.Drain();
    return kernel.count(testing::Call::kReceive) - before;
  };
  EXPECT_EQ(calls_for(kSinglyReads), kSinglyReads + 1);
  EXPECT_EQ(kernel.count(testing::Call::kFreeSlots), 1U);  // before the one that found nothing
  EXPECT_EQ(calls_for(kSinglyReads), kSinglyReads / 16 + 1);
  write(1, {&passed, 1});
  {
    const Room room(0);
    port.Drain();
  }
  EXPECT_EQ(port.receiver->refusals(Rule::kRcv1), 1U);
  write(2, {&passed, 1});
  write(3 * kSinglyReads, {});
  write(2, {&passed, 1});
  {
    const Room room(1);
    port.Drain();
    EXPECT_EQ(calls_for(kSinglyReads), kSinglyReads + 1);
  }
  EXPECT_EQ(port.receiver->refusals(), 1U);
  EXPECT_EQ(kernel.count(testing::Call::kFreeSlots), 5U);
  EXPECT_EQ(calls_for(kSinglyReads), kSinglyReads + 1);
  EXPECT_EQ(calls_for(kSinglyReads), kSinglyReads / 16 + 1);
}

// A kernel that does not tell the room is taken for one that has none, until it tells.
TEST(DescriptorRoomTest, RCV_5_RoomThatIsNotKnownIsNone) {
  testing::FaultKernel kernel({.call = testing::Call::kFreeSlots, .number = 0, .error = EINTR});
  LocalPort port(Newest(), {}, {}, {}, kernel);
  port.BeginBatches();
  EXPECT_TRUE(kernel.fired());
  EXPECT_TRUE(port.workspace.slots_short);
  port.BeginBatches();
  EXPECT_FALSE(port.workspace.slots_short);
  EXPECT_EQ(kernel.count(testing::Call::kReceive), 2 * (kSinglyReads + 1));
}

// What one port of a loop saw, the others heed.
TEST(DescriptorRoomTest, RCV_5_OneOfAllPortsSeesIt) {
  LocalPort port;
  port.BeginBatches();
  const OwnedFd fd = OpenNull();
  const int passed = fd.get();
  for (uint32_t i = 0; i < 2; ++i) {
    ASSERT_EQ(port.Write("honest", i, {&passed, 1}), WriteAnswer::kAccepted);
  }
  port.workspace.slots_short = true;
  {
    const Room room(1);
    port.Drain();
  }
  EXPECT_EQ(port.receiver->refusals(), 0U);
}

// The two that were found: one slot, an orphan's descriptor before an honest one's.
TEST(DescriptorRoomTest, RCV_5_OneSlotServesOneAfterTheOther) {
  for (const bool orphan : {true, false}) {
    LocalPort port;
    const OwnedFd fd = OpenNull();
    SendRaw(port, {.stream = 1, .pid = ::getpid(), .type = port.data_type, .nf = orphan}, "first",
            {fd.get()});
    SendRaw(port, {.stream = 2, .pid = ::getpid(), .type = port.data_type}, "second", {fd.get()});
    {
      const Room room(1);
      port.Drain();
    }
    EXPECT_EQ(port.receiver->refusals(Rule::kRcv1), 0U);
    ASSERT_EQ(port.delivered.size(), orphan ? 1U : 2U);
    EXPECT_EQ(port.delivered.back().text, "second");
    EXPECT_EQ(port.delivered.back().fds, 1U);
  }
}

}  // namespace
}  // namespace portproof
