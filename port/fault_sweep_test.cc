// Each system call of each conversation fails once, in each way it can, and what follows is
// exactly what the rules say of that failure: which messages fail, which are lost, what is
// refused on arrival; and always each accepted buffer completes once, no descriptor and no
// chunk is lost, nothing stands still.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <map>
#include <new>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "port/fault_conversation.h"
#include "port/fault_kernel.h"
#include "port/testing.h"

namespace {
// The allocations that may fail say so: they are those of `nothrow`.
uint64_t allocations = 0;
uint64_t failing_allocation = ~uint64_t{0};
bool allocation_failed = false;
}  // namespace

void* operator new(size_t bytes, const std::nothrow_t& /*tag*/) noexcept {
  if (allocations++ == failing_allocation) {
    allocation_failed = true;
    return nullptr;
  }
  try {
    return ::operator new(bytes);
  } catch (...) {
    return nullptr;
  }
}

namespace portproof {
namespace {

using testing::Call;
using testing::Ends;
using testing::Fault;
using testing::FaultConversation;
using testing::FaultKernel;
using testing::Kind;
using testing::kKinds;
using testing::LocalPort;
using testing::Newest;
using testing::OpenDescriptors;
using testing::Pattern;
using testing::ProfileOf;

using Ids = std::set<uint32_t>;

// What is to be seen after a conversation.
struct Expected {
  Ids failed = {};          // told by completions
  Ids lost = {};            // completed well, and did not arrive
  Ids arrived_failed = {};  // failed, and arrived
  std::map<Rule, size_t> refusals = {};
  size_t writes_refused = 0;
  WriteAnswer answer_after = WriteAnswer::kAccepted;
  uint32_t chunks_missing = 0;  // that the receiver will never free
};

Ids Without(const Ids& ids, const Ids& others) {
  Ids left;
  std::set_difference(ids.begin(), ids.end(), others.begin(), others.end(),
                      std::inserter(left, left.end()));
  return left;
}

void Check(const FaultConversation& conversation, const Expected& expected) {
  EXPECT_EQ(conversation.failed(), expected.failed);
  const Ids well = Without(conversation.accepted(), conversation.failed());
  EXPECT_EQ(Without(well, conversation.arrived()), expected.lost);
  EXPECT_EQ(Without(conversation.arrived(), well), expected.arrived_failed);
  std::map<Rule, size_t> refusals;
  for (const Refusal& refusal : conversation.refusals()) ++refusals[refusal.rule];
  EXPECT_EQ(refusals, expected.refusals);
  EXPECT_EQ(conversation.writes_refused(), expected.writes_refused);
  EXPECT_EQ(conversation.answer_after(), expected.answer_after);
  EXPECT_EQ(conversation.chunks_missing(), expected.chunks_missing);
}

// Nothing went wrong.
Expected Whole(Kind kind) {
  Expected expected;
  if (kind == Kind::kClosed) {
    expected.answer_after = WriteAnswer::kClosed;
    expected.writes_refused = 1;
  }
  return expected;
}

// ---------------------------------------------------------------- outcomes

struct Trial {
  const Ends& ends;
  Kind kind;
  const Fault& fault;
  const FaultConversation& conversation;

  bool newer() const { return ends.profile->queues; }
  const Header& met() const { return *conversation.kernel().met().header; }
  uint32_t met_id() const { return met().reply_port; }
  bool met_announcement() const { return met_id() == 0; }
};

// The receiver never heard of the segment. From 1.19 what names it is held, and what comes
// after it in its stream (SHM-10); before, it is refused.
void Deaf(const Trial& trial, Expected& expected) {
  const Ids& shared = trial.conversation.shared();
  expected.chunks_missing = static_cast<uint32_t>(2 * shared.size());
  Ids streams;
  for (const uint32_t id : trial.conversation.accepted()) {
    const uint32_t stream = trial.conversation.StreamOf(id);
    if (shared.count(id) != 0) streams.insert(stream);
    const bool waits = trial.newer() ? streams.count(stream) != 0 : shared.count(id) != 0;
    if (waits) expected.lost.insert(id);
  }
  if (!trial.newer()) expected.refusals[Rule::kShm10] += shared.size();
  EXPECT_GE(trial.conversation.held_messages(), trial.newer() ? expected.lost.size() : 0U);
}

// SND-2: but for what is still queued when the port is closed.
Expected Waits(const Trial& trial) {
  Expected expected = Whole(trial.kind);
  if (trial.kind != Kind::kClosed || trial.fault.error == EINTR) return expected;
  for (uint32_t id = trial.met_id(); id <= FaultConversation::kMessages; ++id) {
    expected.failed.insert(id);
  }
  return expected;
}

// SND-4: everything that is not complete fails, and nothing else.
Expected PortFails(const Trial& trial) {
  const FaultConversation& conversation = trial.conversation;
  Expected expected = Whole(trial.kind);
  expected.failed = Without(conversation.accepted(), conversation.arrived());
  if (!trial.met_announcement()) expected.failed.insert(trial.met_id());
  // What was sent before it is complete: of the messages that are whole in one datagram.
  const bool one_each = trial.kind == Kind::kSmall || trial.kind == Kind::kBatched ||
                        trial.kind == Kind::kClosed || trial.kind == Kind::kShared;
  for (uint32_t id = 1; one_each && id < trial.met_id(); ++id) {
    EXPECT_EQ(expected.failed.count(id), 0U) << id;
  }
  expected.writes_refused = conversation.writes_refused();
  if (trial.met_id() == FaultConversation::kAfter) return expected;  // accepted, then it failed
  EXPECT_GE(expected.writes_refused, 1U);
  if (trial.kind != Kind::kClosed) expected.answer_after = WriteAnswer::kFailed;
  return expected;
}

// SHM-10: nothing that names the segment leaves. What is not queued yet is refused.
void NeverAnnounced(const Trial& trial, Expected& expected) {
  const size_t naming =
      trial.kind == Kind::kShared ? FaultConversation::kMessages : FaultConversation::kMessages / 3;
  expected.failed = trial.conversation.shared();
  expected.writes_refused += naming - expected.failed.size();
}

// SND-4: a message that has not begun fails alone.
Expected MessageFails(const Trial& trial) {
  if (trial.met().nf) return PortFails(trial);
  Expected expected = Whole(trial.kind);
  if (trial.met_announcement()) {
    NeverAnnounced(trial, expected);
  } else {
    expected.failed.insert(trial.met_id());
  }
  return expected;
}

// SND-3: it went, and nobody may rely on it.
Expected FallsShort(const Trial& trial) {
  Expected expected = PortFails(trial);
  if (!trial.met_announcement() && !trial.met().mf) expected.arrived_failed = {trial.met_id()};
  return expected;
}

// RCV-6: the receive end is over; what was not read is lost, and nothing else.
Expected ReceiveEnds(const Trial& trial) {
  const FaultConversation& conversation = trial.conversation;
  Expected expected = Whole(trial.kind);
  EXPECT_TRUE(conversation.ended());
  EXPECT_EQ(conversation.receiver().last_error(), trial.fault.error);
  expected.failed = conversation.failed();
  expected.lost =
      Without(Without(conversation.accepted(), expected.failed), conversation.arrived());
  EXPECT_LE(expected.lost.size(), conversation.kernel().unread());
  expected.chunks_missing = conversation.chunks_missing();
  // Whether the sender has met it before.
  expected.writes_refused = conversation.writes_refused();
  expected.answer_after = conversation.answer_after();
  return expected;
}

// RCV-1: one datagram is refused once, its message is lost, its other fragments are
// orphans (FRG-2) up to the last.
Expected IsTorn(const Trial& trial) {
  Expected expected = Whole(trial.kind);
  expected.refusals[Rule::kRcv1] = 1;
  if (trial.met_announcement()) {
    Deaf(trial, expected);
    return expected;
  }
  expected.lost.insert(trial.met_id());
  // What it named is released, unless it was cut off.
  if (trial.met().mmap && (trial.fault.flags & MSG_TRUNC) != 0) expected.chunks_missing = 2;
  bool over = !trial.met().mf;
  for (const Refusal& refusal : trial.conversation.refusals()) {
    if (refusal.rule != Rule::kFrg2) continue;
    EXPECT_FALSE(over);
    EXPECT_EQ(refusal.header->reply_port, trial.met_id());
    ++expected.refusals[Rule::kFrg2];
    over = !refusal.header->mf;
  }
  EXPECT_TRUE(over);
  return expected;
}

// HDR-8: refused, unless it was the end.
Expected EmptyComes(const Trial& trial) {
  Expected expected = Whole(trial.kind);
  const bool is_end = trial.fault.fds == 0 && trial.ends.seqpacket && trial.kind == Kind::kClosed &&
                      trial.conversation.kernel().met().unread == 0;
  if (is_end) return expected;
  const bool surplus = trial.fault.fds > trial.ends.profile->fds_max;
  expected.refusals[surplus ? Rule::kFds2 : Rule::kHdr8] = 1;
  return expected;
}

Expected Refuses(const Trial& trial, Rule rule) {
  Expected expected = Whole(trial.kind);
  expected.refusals[rule] = 1;
  return expected;
}

// SHM-8
Expected AnnouncementRefused(const Trial& trial) {
  Expected expected = Refuses(trial, Rule::kShm8);
  Deaf(trial, expected);
  return expected;
}

// SND-8: one write is refused.
Expected NoCopy(const Trial& trial) {
  Expected expected = Whole(trial.kind);
  expected.writes_refused += 1;
  if (trial.conversation.accepted().size() + 1 == FaultConversation::kAfter &&
      trial.conversation.accepted().count(FaultConversation::kAfter) == 0) {
    expected.answer_after = WriteAnswer::kNoDescriptor;
  }
  return expected;
}

// Our own segment's mapping is the first, the receiver's the second.
Expected NoMapping(const Trial& trial) {
  if (trial.fault.number > 0) return AnnouncementRefused(trial);
  EXPECT_FALSE(trial.conversation.has_segment());
  return Whole(trial.kind);
}

Expected NoSegment(const Trial& trial) {
  EXPECT_FALSE(trial.conversation.has_segment());
  return Whole(trial.kind);
}

Expected NothingHappens(const Trial& trial) { return Whole(trial.kind); }
Expected NoHangUp(const Trial& trial) { return Refuses(trial, Rule::kHdr8); }

// ------------------------------------------------------------------- ways

struct Way {
  Call call;
  Fault fault;
  Expected (*outcome)(const Trial&);  // null: no port comes to be
};

void AddSendWays(std::vector<Way>& ways) {
  for (const Call call : {Call::kSend, Call::kSendBatch}) {
    for (const int error : {EAGAIN, ENOBUFS, ENOMEM, ETOOMANYREFS, EINTR}) {
      ways.push_back({call, {.error = error}, Waits});
    }
    for (const int error : {EMSGSIZE, EBADF, EIO, EINVAL}) {
      ways.push_back({call, {.error = error}, MessageFails});
    }
    for (const int error : {EPIPE, ECONNRESET, ECONNREFUSED, ENOTCONN}) {
      ways.push_back({call, {.error = error}, PortFails});
    }
    ways.push_back({call, {.short_count = true}, FallsShort});
  }
  const std::array<Way, 5> behind = {{{Call::kSendBatch, {.error = EAGAIN}, Waits},
                                      {Call::kSendBatch, {.error = ENOBUFS}, Waits},
                                      {Call::kSendBatch, {.error = EINTR}, Waits},
                                      {Call::kSendBatch, {.error = EMSGSIZE}, MessageFails},
                                      {Call::kSendBatch, {.error = EPIPE}, PortFails}}};
  for (int prefix = 1; prefix < 16; ++prefix) {
    ways.push_back({Call::kSendBatch, {.prefix = prefix}, NothingHappens});
    for (const size_t i : {prefix % behind.size(), (prefix + 3) % behind.size()}) {
      ways.push_back(behind[i]);
      ways.back().fault.prefix = prefix;
    }
  }
}

void AddReceiveWays(std::vector<Way>& ways) {
  for (const int error : {EINTR, ENOMEM, ENOBUFS, ECONNRESET}) {
    ways.push_back({Call::kReceive, {.error = error}, NothingHappens});
  }
  for (const int error : {EBADF, EIO}) {
    ways.push_back({Call::kReceive, {.error = error}, ReceiveEnds});
  }
  for (const int flags : {int{MSG_TRUNC}, int{MSG_CTRUNC}, MSG_TRUNC | MSG_CTRUNC}) {
    ways.push_back({Call::kReceive, {.flags = flags}, IsTorn});
  }
  for (const size_t fds : {size_t{0}, size_t{1}, size_t{2}}) {
    ways.push_back({Call::kReceive, {.empty = true, .fds = fds}, EmptyComes});
  }
  ways.push_back({Call::kReadableBytes, {.error = EIO}, NoHangUp});
  ways.push_back({Call::kHungUp, {.error = EINTR}, NoHangUp});
}

void AddOtherWays(std::vector<Way>& ways) {
  for (const int error : {EMFILE, ENFILE, EBADF}) {
    ways.push_back({Call::kDuplicate, {.error = error}, NoCopy});
  }
  for (const int error : {EMFILE, ENFILE, ENOBUFS}) {
    ways.push_back({Call::kSocketPair, {.error = error}, nullptr});
  }
  ways.push_back({Call::kGetOption, {.error = ENOBUFS}, nullptr});
  for (const int error : {EMFILE, ENFILE, ENOMEM}) {
    ways.push_back({Call::kMemoryFile, {.error = error}, NoSegment});
  }
  ways.push_back({Call::kTruncate, {.error = ENOSPC}, NoSegment});
  ways.push_back({Call::kAddSeals, {.error = EPERM}, NoSegment});
  ways.push_back({Call::kMap, {.error = ENOMEM}, NoMapping});
  ways.push_back({Call::kGetSeals, {.error = EINVAL}, AnnouncementRefused});
  for (const int error : {EIO, EBADF}) {
    ways.push_back({Call::kStatus, {.error = error}, AnnouncementRefused});
  }
  ways.push_back({Call::kReadAt, {.error = EIO}, AnnouncementRefused});
  for (const int error : {EINTR, EIO}) {
    ways.push_back({Call::kClose, {.error = error}, NothingHappens});
  }
}

std::vector<Way> Ways() {
  std::vector<Way> ways;
  AddSendWays(ways);
  AddReceiveWays(ways);
  AddOtherWays(ways);
  // The buffers stay as they are (SOC-2); credentials are a must (SOC-4).
  ways.push_back({Call::kSetOption, {.error = EPERM}, NothingHappens});
  return ways;
}

// Returns whether the fault fired.
bool TryOne(const Ends& ends, Kind kind, const Way& way, uint64_t number) {
  Fault fault = way.fault;
  fault.call = way.call;
  fault.number = number;
  SCOPED_TRACE("conversation " + std::to_string(static_cast<int>(kind)) + ", " + ToString(fault));
  const size_t before = OpenDescriptors();
  bool fired = false;
  {
    FaultConversation conversation(ends, kind, fault);
    const bool played = conversation.Play();
    fired = conversation.kernel().fired();
    conversation.End();
    const bool no_port =
        fired && (way.outcome == nullptr || conversation.kernel().met().option == SO_PASSCRED);
    EXPECT_EQ(played, !no_port);
    if (played) {
      const Trial trial = {ends, kind, fault, conversation};
      Check(conversation, fired && way.outcome != nullptr ? way.outcome(trial) : Whole(kind));
    }
  }
  EXPECT_EQ(OpenDescriptors(), before);
  return fired;
}

// The conversation without a fault.
FaultKernel PlayWhole(const Ends& ends, Kind kind) {
  FaultConversation conversation(ends, kind, {});
  EXPECT_TRUE(conversation.Play());
  conversation.End();
  Check(conversation, Whole(kind));
  return conversation.kernel();
}

// Each call that the conversation makes fails in that way. Returns how often one did.
uint64_t TryEach(const Ends& ends, Kind kind, const Way& way, const FaultKernel& whole) {
  uint64_t fired = 0;
  for (uint64_t number = 0; number < whole.count(way.call); ++number) {
    // A part as large as the batch is no part.
    if (way.fault.prefix >= 0 &&
        whole.batches()[number] <= static_cast<unsigned>(way.fault.prefix)) {
      continue;
    }
    fired += TryOne(ends, kind, way, number);
    if (::testing::Test::HasFailure()) break;
  }
  return fired;
}

struct Named {
  const char* name;
  Ends ends;

  friend std::ostream& operator<<(std::ostream& out, const Named& named) {
    return out << named.name;
  }
};

std::vector<Named> AllEnds() {
  return {{"Alone", {}},
          {"InBatches", {.batches = true}},
          {"Shared", {.shared_sender = true}},
          {"SharedInBatches", {.shared_sender = true, .batches = true}},
          {"Datagram", {.seqpacket = false}},
          {"Old", {.profile = &ProfileOf("unit-0.2")}},
          {"OldSharedDatagram",
           {.profile = &ProfileOf("unit-0.2"),
            .seqpacket = false,
            .shared_sender = true,
            .batches = true}}};
}

class FaultSweepTest : public ::testing::TestWithParam<Named> {};

// A socket without end-of-file never asks whether it is there (HDR-8).
bool NeverFires(const Ends& ends, const Way& way) {
  return !ends.seqpacket && (way.call == Call::kHungUp || way.call == Call::kReadableBytes);
}

TEST_P(FaultSweepTest, EachCallFailsInEachWay) {
  const Ends& ends = GetParam().ends;
  std::map<Kind, FaultKernel> wholes;
  for (const Kind kind : kKinds) wholes.emplace(kind, PlayWhole(ends, kind));
  uint64_t fired = 0;
  for (const Way& way : Ways()) {
    const uint64_t before = fired;
    for (const Kind kind : kKinds) {
      fired += TryEach(ends, kind, way, wholes.at(kind));
      ASSERT_FALSE(HasFailure());
    }
    EXPECT_EQ(fired > before, !NeverFires(ends, way)) << ToString(way.fault);
  }
  std::printf("%llu points at which a fault fired\n", static_cast<unsigned long long>(fired));
  EXPECT_GE(fired, 2000U);
}

TEST_P(FaultSweepTest, EachAllocationThatMayFailFails) {
  const Ends& ends = GetParam().ends;
  uint64_t fired = 0;
  for (const Kind kind : kKinds) {
    allocations = 0;
    failing_allocation = ~uint64_t{0};
    PlayWhole(ends, kind);
    const uint64_t count = allocations;
    for (uint64_t number = 0; number < count; ++number) {
      SCOPED_TRACE("allocation " + std::to_string(number));
      const size_t before = OpenDescriptors();
      allocations = 0;
      failing_allocation = number;
      allocation_failed = false;
      PlayWhole(ends, kind);
      EXPECT_EQ(OpenDescriptors(), before);
      fired += allocation_failed;
    }
    failing_allocation = ~uint64_t{0};
  }
  std::printf("%llu allocations failed\n", static_cast<unsigned long long>(fired));
  EXPECT_GE(fired, 20U);
}

INSTANTIATE_TEST_SUITE_P(AllEnds, FaultSweepTest, ::testing::ValuesIn(AllEnds()),
                         [](const auto& info) { return info.param.name; });

// SOC-2, SOC-5, SND-11: the smallest socket buffer, and a peer that clears O_NONBLOCK.
TEST(FaultTest, TheSmallestSocketBuffer) {
  LocalPort port(Newest(), {}, {}, {.max_size = 64, .max_share = 1});
  const int smallest = 1;
  ASSERT_EQ(::setsockopt(port.sender->fd(), SOL_SOCKET, SO_SNDBUF, &smallest, sizeof smallest), 0);
  ASSERT_EQ(::fcntl(port.sender->fd(), F_SETFL, 0), 0);
  ASSERT_EQ(::fcntl(port.receiver->fd(), F_SETFL, 0), 0);
  const std::string text = Pattern(20'000, 1);
  ASSERT_EQ(port.Write(text), WriteAnswer::kAccepted);
  for (int turn = 0; turn < 10'000 && port.sender->queued_messages() != 0; ++turn) {
    port.Drain();
    port.sender->OnWritable();
  }
  port.Drain();
  ASSERT_EQ(port.delivered.size(), 1U);
  EXPECT_EQ(port.delivered[0].text, text);
}

}  // namespace
}  // namespace portproof
