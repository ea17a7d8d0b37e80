// Messages that their sender may take back until they were begun: SHM-14, SHM-15.
#include "protocol/tracking.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "port/atomic_words.h"
#include "port/testing.h"

namespace portproof {
namespace {

using testing::LocalPort;
using testing::NewSegment;
using testing::OpenDescriptors;
using testing::ProfileOf;
using testing::ReferenceText;
using testing::SendRaw;

constexpr uint32_t kBytes = 100;
constexpr uint32_t kStream = 5;
constexpr const char* kProfiles[] = {"unit-1.8.0", "unit-1.13.0", "unit-1.18.0"};

// A port with an announced segment.
struct Tracked {
  explicit Tracked(const char* name) : port(ProfileOf(name)), segment(NewSegment(0, *profile())) {
    EXPECT_EQ(port.sender->Announce(segment), WriteAnswer::kAccepted);
    port.Drain();
  }
  const Profile* profile() const { return port.receiver->options().profile; }

  // What a buffer lost or completed gives back.
  void Complete() {
    std::vector<Completion> completions;
    port.sender->TakeCompletions(completions);
    for (const ChunkRange& range : std::exchange(ranges, {})) segment->Release(range);
  }
  WriteAnswer Write(uint32_t slot, uint32_t stream = kStream, uint32_t bytes = kBytes,
                    std::span<const int> fds = {}) {
    ranges.push_back(*segment->Allocate(bytes));
    const Buffer buffer = port.sender->BufferIn(*segment, ranges.back(), bytes, 1);
    return port.sender->Write({.type = port.data_type,
                               .stream = stream,
                               .fds = fds,
                               .chain = {&buffer, 1},
                               .tracking = Tracking{0, slot}});
  }
  // A datagram whose tracking says what it likes; its chunk is handed over.
  void Send(Header header, Tracking tracking, const std::vector<int>& fds = {}) {
    const auto range = segment->Allocate(kBytes);
    const Reference reference = {0, range->first, kBytes};
    segment->HandedOver(reference);
    std::vector<uint8_t> payload;
    EncodeReferences({&reference, 1}, tracking, MachineByteOrder(), payload);
    header.pid = ::getpid();
    header.type = port.data_type;
    header.stream = kStream;
    header.mmap = true;
    header.byte15 = 1;
    SendRaw(port, header, std::string(payload.begin(), payload.end()), fds);
  }

  LocalPort port;
  std::shared_ptr<Segment> segment;
  std::vector<ChunkRange> ranges;
};

TEST(TrackingTest, SHM_14_WhatIsNotCancelledIsTakenOnce) {
  for (const char* const profile : kProfiles) {
    Tracked tracked(profile);
    for (const uint32_t slot : {0U, tracked.segment->tracking_slots() - 1}) {
      EXPECT_EQ(tracked.Write(slot), WriteAnswer::kAccepted);
      tracked.port.Drain();
      EXPECT_FALSE(tracked.segment->Cancel(slot, kStream)) << "it was delivered";
    }
    EXPECT_EQ(tracked.port.delivered.size(), 2U) << profile;
    EXPECT_EQ(tracked.port.receiver->cancelled(), 0U);
    EXPECT_EQ(tracked.port.receiver->refusals(), 0U);
    tracked.Complete();
    EXPECT_EQ(tracked.segment->FreeCount(), 640U);
  }
}

// Dropped, with descriptors and chunks, and nobody is accused.
TEST(TrackingTest, SHM_14_WhatIsCancelledIsDroppedAndNoRefusal) {
  const size_t before = OpenDescriptors();
  for (const char* const profile : kProfiles) {
    Tracked tracked(profile);
    const size_t open = OpenDescriptors();
    const int fd = tracked.port.sender->fd();
    EXPECT_EQ(tracked.Write(3, kStream, kBytes, {&fd, 1}), WriteAnswer::kAccepted);
    EXPECT_EQ(tracked.Write(4, kStream + 1), WriteAnswer::kAccepted);
    EXPECT_FALSE(tracked.segment->Cancel(3, kStream + 1));
    EXPECT_TRUE(tracked.segment->Cancel(3, kStream));
    EXPECT_FALSE(tracked.segment->Cancel(3, kStream)) << "twice";
    tracked.port.Drain();
    ASSERT_EQ(tracked.port.delivered.size(), 1U);
    EXPECT_EQ(tracked.port.delivered[0].header.stream, kStream + 1);
    EXPECT_EQ(tracked.port.receiver->cancelled(), 1U);
    EXPECT_EQ(tracked.port.receiver->refusals(), 0U);
    EXPECT_TRUE(tracked.port.told.empty());
    tracked.Complete();
    EXPECT_EQ(tracked.segment->FreeCount(), 640U);
    EXPECT_EQ(OpenDescriptors(), open);
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// All its fragments go, and the stream is free behind the last.
TEST(TrackingTest, SHM_14_ACancelledMessageGoesWithAllItsFragments) {
  Tracked tracked("unit-1.18.0");
  const size_t open = OpenDescriptors();
  LocalPort& port = tracked.port;
  tracked.Send({.mf = true}, {0, 7}, {port.sender->fd()});  // the word was never set
  port.Drain();
  EXPECT_EQ(port.receiver->open_assemblies(), 1U);
  EXPECT_EQ(port.receiver->held_bytes(), 0U);
  EXPECT_EQ(OpenDescriptors(), open);
  EXPECT_EQ(tracked.segment->FreeCount(), 640U);
  tracked.Send({.nf = true, .mf = true}, {0, 0});
  SendRaw(port,
          {.stream = kStream, .pid = ::getpid(), .type = port.data_type, .nf = true, .mf = true},
          "plain");
  tracked.Send({.nf = true}, {0, 0});
  port.Drain();
  EXPECT_EQ(port.receiver->open_assemblies(), 0U);
  EXPECT_EQ(port.receiver->cancelled(), 1U);
  EXPECT_EQ(port.receiver->refusals(), 0U);
  EXPECT_TRUE(port.delivered.empty());
  EXPECT_EQ(tracked.segment->FreeCount(), 640U);
  EXPECT_EQ(port.Write("after", kStream), WriteAnswer::kAccepted);
  port.Drain();
  EXPECT_EQ(port.delivered.size(), 1U);
}

// Taken at its first fragment; what the later ones say of tracking is not looked at.
TEST(TrackingTest, SHM_14_AFragmentedMessageIsTakenWhenItBegins) {
  Tracked tracked("unit-1.13.0");
  tracked.segment->Track(9, kStream);
  tracked.Send({.mf = true}, {0, 9});
  tracked.port.Drain();
  EXPECT_FALSE(tracked.segment->Cancel(9, kStream));
  tracked.Send({.nf = true, .mf = true}, {0, 9});
  tracked.Send({.nf = true}, {77, 0xffffffff});
  tracked.port.Drain();
  ASSERT_EQ(tracked.port.delivered.size(), 1U);
  EXPECT_EQ(tracked.port.delivered[0].text.size(), 3 * kBytes);
  EXPECT_EQ(tracked.port.receiver->refusals(), 0U);
  EXPECT_EQ(tracked.segment->FreeCount(), 640U);
}

// A word that cannot be one is a bad reference; a refusal takes no word.
TEST(TrackingTest, SHM_14_AWordBeyondTheHeaderIsRefused) {
  for (const char* const profile : kProfiles) {
    Tracked tracked(profile);
    LocalPort& port = tracked.port;
    const uint32_t slots = tracked.segment->tracking_slots();
    EXPECT_EQ(slots, std::string_view(profile) == "unit-1.18.0" ? 487U : 488U);
    for (const Tracking bad : {Tracking{0, slots}, {0, 0xffffffff}, {1, 0}, {5000, 0}}) {
      tracked.Send({}, bad, {port.sender->fd()});
    }
    port.Drain();
    EXPECT_EQ(port.receiver->refusals(Rule::kShm14), 4U);
    EXPECT_EQ(port.receiver->refusals(), 4U);
    EXPECT_EQ(tracked.segment->FreeCount(), 640U);
    SendRaw(port, {.stream = kStream, .pid = ::getpid(), .type = port.data_type, .mf = true}, "x");
    tracked.segment->Track(2, kStream);
    tracked.Send({.mf = true}, {0, 2});
    port.Drain();
    EXPECT_EQ(port.receiver->refusals(Rule::kFrg1), 1U);
    EXPECT_EQ(port.receiver->open_assemblies(), 1U);
    EXPECT_TRUE(tracked.segment->Cancel(2, kStream)) << "still the sender's";
    tracked.Send({.nf = true}, {0, slots});  // a later fragment's is skipped
    port.Drain();
    EXPECT_EQ(port.delivered.size(), 1U);
    EXPECT_EQ(tracked.segment->FreeCount(), 640U);
  }
}

// What is written without a slot of an announced segment is refused, and no word is set for
// what goes plain, or for a port that does not track.
TEST(TrackingTest, SHM_15_AWordIsSetOnlyForWhatCarriesIt) {
  Tracked tracked("unit-1.18.0");
  const Buffer plain = PlainBuffer("plain");
  const auto write = [&](Tracking tracking) {
    return tracked.port.sender->Write({.type = tracked.port.data_type,
                                       .stream = kStream,
                                       .chain = {&plain, 1},
                                       .tracking = tracking});
  };
  EXPECT_EQ(write({0, tracked.segment->tracking_slots()}), WriteAnswer::kNoSegment);
  EXPECT_EQ(write({1, 0}), WriteAnswer::kNoSegment);
  EXPECT_EQ(write({0, 0}), WriteAnswer::kAccepted);
  EXPECT_FALSE(tracked.segment->Cancel(0, kStream));
  EXPECT_EQ(tracked.Write(1, 0), WriteAnswer::kAccepted);  // stream 0
  EXPECT_FALSE(tracked.segment->Cancel(1, 0));
  EXPECT_EQ(tracked.Write(2, kStream, 12), WriteAnswer::kAccepted);  // SHM-4
  EXPECT_FALSE(tracked.segment->Cancel(2, kStream));
  tracked.port.Drain();
  EXPECT_EQ(tracked.port.delivered.size(), 3U);
  EXPECT_EQ(tracked.port.receiver->refusals(), 0U);
  tracked.Complete();
  Tracked newer("unit-1.19.0");
  EXPECT_EQ(newer.Write(0), WriteAnswer::kAccepted);
  EXPECT_FALSE(newer.segment->Cancel(0, kStream));
  newer.port.Drain();
  EXPECT_EQ(newer.port.delivered.size(), 1U);
  newer.Complete();
}

// A message that waits may be cancelled as well as one on its way.
TEST(TrackingTest, SHM_15_TheWordIsSetBeforeTheFirstDatagramLeaves) {
  Tracked tracked("unit-1.18.0");
  while (tracked.port.sender->queued_messages() == 0) {
    ASSERT_EQ(tracked.port.Write("full"), WriteAnswer::kAccepted);
  }
  EXPECT_EQ(tracked.Write(6, 77), WriteAnswer::kAccepted);
  EXPECT_TRUE(tracked.segment->Cancel(6, 77));
  while (tracked.port.sender->queued_messages() != 0) {
    tracked.port.Drain();
    tracked.port.sender->OnWritable();
  }
  tracked.port.Drain();
  EXPECT_EQ(tracked.port.receiver->cancelled(), 1U);
  for (const auto& delivered : tracked.port.delivered) EXPECT_EQ(delivered.text, "full");
  tracked.Complete();
  EXPECT_EQ(tracked.segment->FreeCount(), 640U);
}

// SHM-14, SHM-15: of the two compare-and-swaps exactly one wins, however they meet.
TEST(TrackingTest, SHM_14_AWordHasOneWinner) {
  constexpr uint32_t kRounds = 200'000;
  alignas(8) uint64_t word = 0;
  AtomicWords words(&word);
  std::atomic<uint32_t> begun = 0;
  std::atomic<uint32_t> ended = 0;
  std::atomic<uint32_t> cancelled = 0;
  const auto await = [](const std::atomic<uint32_t>& value, uint32_t wanted) {
    for (uint32_t spins = 0; value.load() != wanted; ++spins) {
      if (spins % 256 == 255) std::this_thread::yield();
    }
  };
  std::thread canceller([&] {
    for (uint32_t i = 1; i <= kRounds; ++i) {
      await(begun, i);
      cancelled += CancelTracked(words, 0, i);
      ended = i;
    }
  });
  uint32_t both_or_none = 0;
  uint32_t taken_in_all = 0;
  for (uint32_t i = 1; i <= kRounds; ++i) {
    const uint32_t cancelled_before = cancelled;
    BeginTracking(words, 0, i);
    begun = i;
    for (std::atomic<uint32_t> pause = 0; pause < i % 64;) ++pause;  // so that they meet
    const bool taken = TakeTracked(words, 0, i);
    await(ended, i);
    taken_in_all += taken;
    both_or_none += (cancelled - cancelled_before) + (taken ? 1 : 0) != 1;
  }
  canceller.join();
  EXPECT_EQ(both_or_none, 0U);
  EXPECT_EQ(cancelled + taken_in_all, kRounds);
}

// And of a cancel and a receive exactly one has the message.
TEST(TrackingTest, SHM_14_CancelAndReceiveRace) {
  constexpr int kRounds = 3000;
  Tracked tracked("unit-1.18.0");
  std::atomic<int> round = 0;
  std::atomic<int> done = 0;
  std::atomic<int> cancelled = 0;
  const std::shared_ptr<Segment> segment = tracked.segment;
  std::thread canceller([&] {
    for (int i = 1; i <= kRounds; ++i) {
      round.wait(i - 1);
      cancelled += segment->Cancel(4, static_cast<uint32_t>(i));
      done = i;
      done.notify_one();
    }
  });
  size_t delivered = 0;
  for (int i = 1; i <= kRounds; ++i) {
    EXPECT_EQ(tracked.Write(4, static_cast<uint32_t>(i)), WriteAnswer::kAccepted);
    round = i;
    round.notify_one();
    if (i % 3 == 0) done.wait(i - 1);  // the canceller is first
    tracked.port.Drain();
    done.wait(i - 1);
    delivered += tracked.port.delivered.size();
    tracked.port.delivered.clear();
    EXPECT_EQ(delivered + static_cast<size_t>(cancelled), static_cast<size_t>(i));
    tracked.Complete();
    EXPECT_EQ(segment->FreeCount(), 640U);
  }
  canceller.join();
  EXPECT_EQ(tracked.port.receiver->cancelled(), static_cast<uint64_t>(cancelled));
  EXPECT_GE(cancelled, kRounds / 3);
  EXPECT_EQ(tracked.port.receiver->refusals(), 0U);
}

}  // namespace
}  // namespace portproof
