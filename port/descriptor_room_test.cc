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
using testing::ProfileOf;

OwnedFd OpenNull() { return OwnedFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

// While it lives, so many descriptors can be opened and no more: every number below the
// limit but those is in use.
class Room {
 public:
  explicit Room(size_t slots) {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &old_), 0);
    // One that closes no gap is the lowest number free, and the first behind all others.
    const int behind_all = HighestDescriptor() + 1;
    OwnedFd filler = OpenNull();
    for (; filler.get() < behind_all; filler = OpenNull()) fillers_.push_back(std::move(filler));
    const rlimit limit = {static_cast<rlim_t>(filler.get()) + slots, old_.rlim_max};
    filler.Close();
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  ~Room() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &old_), 0); }

 private:
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
      const size_t fits = std::min(kMessages, slots / each);  // they came in one call
      EXPECT_EQ(port.delivered.size(), fits);
      for (const auto& delivered : port.delivered) EXPECT_EQ(delivered.fds, each);
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

}  // namespace
}  // namespace portproof
