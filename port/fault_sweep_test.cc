// Each system call of each conversation fails once, in each way it can; after that the
// same holds as ever: each accepted buffer completes once, what completed well arrived
// whole and once, no descriptor and no chunk is lost, nothing stands still.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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
using testing::Fault;
using testing::FaultKernel;
using testing::LocalPort;
using testing::Newest;
using testing::OpenDescriptors;
using testing::Pattern;
using testing::TextBuffer;

constexpr PortSizes kSizes = {.max_size = 1024, .max_share = 2048};
constexpr int kTurnsMax = 20'000;

enum class Kind : uint8_t {
  kSmall,
  kBatched,
  kLarge,
  kPieces,
  kDescriptors,
  kShared,
  kMixed,
  kClosed,
};
constexpr std::array kKinds = {Kind::kSmall,       Kind::kBatched, Kind::kLarge, Kind::kPieces,
                               Kind::kDescriptors, Kind::kShared,  Kind::kMixed, Kind::kClosed};

// One conversation under one fault, and the census after it.
class Sweep {
 public:
  Sweep(Kind kind, const Fault& fault) : kind_(kind), kernel_(fault) {}

  // False: no port came to be, which must have cost nothing.
  bool Play() {
    auto pair = SocketPair::Create(Newest(), kSizes, kernel_);
    if (!pair.ok()) return false;
    workspace_ = std::make_unique<Workspace>(kernel_, kSizes.max_size + kHeaderBytes);
    auto sender = Sender::Adopt(*workspace_, std::move(pair->send_end),
                                {.profile = &Newest(), .sizes = pair->sizes});
    auto receiver = Receiver::Adopt(*workspace_, std::move(pair->receive_end),
                                    {.profile = &Newest(), .sizes = pair->sizes},
                                    [this](Message& message) { OnMessage(message); });
    if (!sender.ok() || !receiver.ok()) return false;
    sender_ = *std::move(sender);
    receiver_ = *std::move(receiver);
    if (kind_ == Kind::kShared || kind_ == Kind::kMixed) OpenSegment();
    WriteAll();
    if (kind_ == Kind::kClosed) sender_->Close();
    Run();
    return true;
  }

  void End() {
    kept_.clear();
    if (receiver_) receiver_->Close();
    if (sender_) {
      sender_->Close();
      TakeCompletions();
    }
    if (segment_ != nullptr) {
      if (lossy_) segment_->ReceiverDied();
      EXPECT_EQ(segment_->FreeCount(), 640U);
      EXPECT_EQ(segment_->OwnCount(), 0U);
    }
    for (const auto& [id, buffers] : accepted_) {
      EXPECT_EQ(completed_[id], buffers) << "message " << id;  // CMP-1
    }
  }

  // `transient`: nothing may be lost. `lost_max`: of what completed well. `told`: the
  // kernel told the truth, and what failed did not arrive.
  void Check(bool transient, size_t lost_max, bool told) {
    size_t lost = 0;
    for (const auto& [id, buffers] : accepted_) {
      const bool well = failed_.count(id) == 0;
      if (transient) {
        EXPECT_TRUE(well) << "message " << id;
      }
      if (well && arrived_.count(id) == 0) ++lost;
      if (!well && told) {
        EXPECT_EQ(arrived_.count(id), 0U);
      }
    }
    EXPECT_LE(lost, lost_max);
    if (transient) {
      EXPECT_EQ(arrived_.size(), accepted_.size());
      EXPECT_EQ(receiver_->refusals(), 0U);
    }
  }

  FaultKernel& kernel() { return kernel_; }
  void set_lossy() { lossy_ = true; }
  bool sender_open() const { return sender_->open(); }

 private:
  void OpenSegment() {
    auto made = Segment::Create({.source_pid = ::getpid(), .sent_over = kSentOverAny},
                                Newest().segment_layout, kUnitGeometry, kernel_);
    if (!made.ok()) return;
    segment_ = std::make_shared<Segment>(*std::move(made));
    if (sender_->Announce(segment_) != WriteAnswer::kAccepted) segment_.reset();
  }

  void WriteAll() {
    for (uint32_t id = 1; id <= 12; ++id) {
      switch (kind_) {
        case Kind::kSmall:
        case Kind::kClosed:
          Write(id, 20, 0, false);
          break;
        case Kind::kBatched:
          Write(id, 20, id % 3 == 0, id != 12);
          break;
        case Kind::kLarge:
          Write(id, 5000 + 700 * id, 0, false);
          break;
        case Kind::kPieces:
          WritePieces(id);
          break;
        case Kind::kDescriptors:
          Write(id, id % 4 == 0 ? 3000 : 10, 1 + id % 2, id % 3 == 0);
          break;
        case Kind::kShared:
          WriteShared(id);
          break;
        case Kind::kMixed:
          if (id % 3 == 0) {
            WriteShared(id);
          } else {
            Write(id, id % 3 == 1 ? 9000 : 10, id % 2, id % 5 == 0);
          }
          break;
      }
    }
    sender_->Flush();
  }

  void Write(uint32_t id, size_t bytes, size_t fd_count, bool batch) {
    std::string& text = texts_[id] = std::to_string(id) + ":" + Pattern(bytes, id);
    std::array<int, 2> fds = {-1, -1};
    for (size_t i = 0; i < fd_count; ++i) fds[i] = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const bool give = id % 2 == 0;
    const std::array<Buffer, 2> chain = {TextBuffer(text, 0), SyncBuffer(false, 1)};
    const WriteAnswer answer = sender_->Write({.type = 27,
                                               .stream = id % 5,
                                               .batch = batch,
                                               .close_fds = give,
                                               .fds = {fds.data(), fd_count},
                                               .chain = chain,
                                               .id = id});
    if (answer == WriteAnswer::kAccepted) accepted_[id] = chain.size();
    for (size_t i = 0; i < fd_count; ++i) {
      if (!give || answer != WriteAnswer::kAccepted) {
        EXPECT_EQ(::close(fds[i]), 0);
      }
    }
  }

  // Twenty runs: three datagrams that are not full, and are copied into slabs.
  void WritePieces(uint32_t id) {
    constexpr size_t kPieceBytes = 30;
    std::string& text = texts_[id] = std::to_string(id) + ":" + Pattern(20 * kPieceBytes, id);
    text.resize(20 * kPieceBytes);
    std::string& spaced = spaced_[id];
    spaced.resize(2 * text.size());
    std::vector<Buffer> chain;
    for (size_t at = 0; at < text.size(); at += kPieceBytes) {
      text.copy(&spaced[2 * at], kPieceBytes, at);
      chain.push_back(TextBuffer(std::string_view(spaced).substr(2 * at, kPieceBytes), at));
    }
    if (sender_->Write({.type = 27, .stream = id % 5, .chain = chain, .id = id}) ==
        WriteAnswer::kAccepted) {
      accepted_[id] = chain.size();
    }
  }

  void WriteShared(uint32_t id) {
    if (segment_ == nullptr) return Write(id, 100, 0, false);
    std::string& text = texts_[id] = std::to_string(id) + ":" + Pattern(20'000, id);
    const auto range = segment_->Allocate(static_cast<uint32_t>(text.size()));
    ASSERT_TRUE(range.has_value());
    std::copy(text.begin(), text.end(), segment_->Memory(*range).begin());
    const Buffer buffer =
        sender_->BufferIn(*segment_, *range, static_cast<uint32_t>(text.size()), 0);
    const WriteAnswer answer =
        sender_->Write({.type = 27, .stream = id % 5, .chain = {&buffer, 1}, .id = id});
    if (answer == WriteAnswer::kAccepted) {
      accepted_[id] = 1;
      ranges_[id] = *range;
    } else {
      segment_->Release(*range);
    }
  }

  void OnMessage(Message& message) {
    const std::string text = testing::TextOf(message.payload);
    const auto id = static_cast<uint32_t>(std::atoi(text.c_str()));
    EXPECT_TRUE(arrived_.insert(id).second) << "twice: " << id;
    EXPECT_EQ(text, texts_[id]);
    if (id % 4 == 1) kept_.push_back(std::move(message.payload));
  }

  void TakeCompletions() {
    std::vector<Completion> completions;
    sender_->TakeCompletions(completions);
    for (const Completion& completion : completions) {
      const auto id = static_cast<uint32_t>(completion.message_id);
      if (id == 0) {  // the announcement: without it references are never accepted
        lossy_ |= !completion.ok;
        continue;
      }
      ++completed_[id];
      if (!completion.ok) failed_.insert(id);
      const auto range = ranges_.find(id);
      if (range == ranges_.end()) continue;
      segment_->Release(range->second);
      ranges_.erase(range);
    }
  }

  // The loop: it does what both ends ask for, and nothing that they do not.
  void Run() {
    Next next = Next::kCallAgain;
    for (int turn = 0; turn < kTurnsMax; ++turn) {
      if (sender_->wants_writable()) sender_->OnWritable();
      if (sender_->retry_ms()) sender_->OnRetry();
      next = receiver_->Turn();
      TakeCompletions();
      const bool sending = sender_->wants_writable() || sender_->retry_ms().has_value();
      if (next == Next::kEnd || (next == Next::kWait && !sending)) break;
    }
    if (next != Next::kEnd) {  // SND-7
      EXPECT_EQ(sender_->queued_messages(), 0U) << "stands still";
    }
  }

  Kind kind_;
  FaultKernel kernel_;
  std::unique_ptr<Workspace> workspace_;
  std::shared_ptr<Segment> segment_;
  std::unique_ptr<Sender> sender_;
  std::unique_ptr<Receiver> receiver_;
  std::vector<Payload> kept_;
  std::map<uint32_t, std::string> texts_;
  std::map<uint32_t, std::string> spaced_;
  std::map<uint32_t, size_t> accepted_;  // buffers
  std::map<uint32_t, size_t> completed_;
  std::map<uint32_t, ChunkRange> ranges_;
  std::set<uint32_t> failed_;
  std::set<uint32_t> arrived_;
  bool lossy_ = false;
};

// How often each call is made without a fault.
std::array<uint64_t, testing::kCalls> CountCalls(Kind kind) {
  Sweep sweep(kind, {});
  EXPECT_TRUE(sweep.Play());
  sweep.End();
  std::array<uint64_t, testing::kCalls> counts = {};
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = sweep.kernel().count(Call{uint8_t(i)});
  if (kind != Kind::kClosed) sweep.Check(true, 0, true);
  return counts;
}

struct Way {
  Call call;
  Fault fault;
  bool transient;   // nothing may be lost
  size_t lost_max;  // else, of what completed well
};

constexpr size_t kAny = 1000;

std::vector<Way> Ways() {
  std::vector<Way> ways;
  for (const Call call : {Call::kSend, Call::kSendBatch}) {
    for (const int error : {EAGAIN, ENOBUFS, ENOMEM, ETOOMANYREFS, EINTR}) {
      ways.push_back({call, {.error = error}, true, 0});
    }
    for (const int error : {EMSGSIZE, EBADF, EIO, EINVAL}) {
      ways.push_back({call, {.error = error}, false, kAny});
    }
    for (const int error : {EPIPE, ECONNRESET, ECONNREFUSED, ENOTCONN}) {
      ways.push_back({call, {.error = error}, false, kAny});
    }
    ways.push_back({call, {.short_count = true}, false, kAny});
  }
  for (int prefix = 1; prefix < 16; ++prefix) {
    ways.push_back({Call::kSendBatch, {.prefix = prefix}, true, 0});
  }
  for (const int error : {EINTR, ENOMEM, ENOBUFS, ECONNRESET}) {
    ways.push_back({Call::kReceive, {.error = error}, true, 0});
  }
  for (const int error : {EBADF, EIO}) {
    ways.push_back({Call::kReceive, {.error = error}, false, kAny});
  }
  for (const int flags : {int{MSG_TRUNC}, int{MSG_CTRUNC}, MSG_TRUNC | MSG_CTRUNC}) {
    ways.push_back({Call::kReceive, {.flags = flags}, false, kAny});
  }
  for (const int error : {EMFILE, ENFILE}) {
    ways.push_back({Call::kDuplicate, {.error = error}, true, 0});
    ways.push_back({Call::kSocketPair, {.error = error}, true, 0});
    ways.push_back({Call::kMemoryFile, {.error = error}, true, 0});
  }
  ways.push_back({Call::kSocketPair, {.error = EPROTONOSUPPORT}, true, 0});
  ways.push_back({Call::kGetOption, {.error = ENOBUFS}, true, 0});
  ways.push_back({Call::kSetOption, {.error = EPERM}, true, 0});
  ways.push_back({Call::kReadableBytes, {.error = EIO}, true, 0});
  ways.push_back({Call::kHungUp, {.error = EINTR}, true, 0});
  ways.push_back({Call::kClose, {.error = EINTR}, true, 0});
  ways.push_back({Call::kTruncate, {.error = ENOSPC}, true, 0});
  ways.push_back({Call::kAddSeals, {.error = EPERM}, true, 0});
  ways.push_back({Call::kGetSeals, {.error = EINVAL}, false, kAny});
  ways.push_back({Call::kStatus, {.error = EIO}, false, kAny});
  ways.push_back({Call::kReadAt, {.error = EIO}, false, kAny});
  ways.push_back({Call::kMap, {.error = ENOMEM}, false, kAny});
  return ways;
}

// Returns whether the fault fired.
bool TryOne(Kind kind, const Way& way, uint64_t number) {
  Fault fault = way.fault;
  fault.call = way.call;
  fault.number = number;
  SCOPED_TRACE("conversation " + std::to_string(static_cast<int>(kind)) + ", " + ToString(fault));
  const size_t before = OpenDescriptors();
  bool fired = false;
  {
    Sweep sweep(kind, fault);
    const bool sending = way.call == Call::kSend || way.call == Call::kSendBatch;
    if (!way.transient && !sending) sweep.set_lossy();
    const bool played = sweep.Play();
    fired = sweep.kernel().fired();
    if (fault.short_count && fired) {  // SND-3
      sweep.set_lossy();
      EXPECT_FALSE(sweep.sender_open());
    }
    sweep.End();
    if (played && kind != Kind::kClosed)
      sweep.Check(way.transient, way.lost_max, !way.fault.short_count);
  }
  EXPECT_EQ(OpenDescriptors(), before);
  return fired;
}

TEST(FaultSweepTest, EachCallFailsInEachWay) {
  const size_t before = OpenDescriptors();
  uint64_t fired = 0;
  for (const Kind kind : kKinds) {
    const auto counts = CountCalls(kind);
    for (const Way& way : Ways()) {
      const uint64_t calls = counts[static_cast<size_t>(way.call)];
      for (uint64_t number = 0; number < calls; ++number) {
        fired += TryOne(kind, way, number);
        ASSERT_FALSE(HasFailure());
      }
    }
  }
  std::printf("%llu points at which a fault fired\n", static_cast<unsigned long long>(fired));
  EXPECT_GE(fired, 2000U);
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST(FaultSweepTest, EachAllocationThatMayFailFails) {
  uint64_t fired = 0;
  for (const Kind kind : kKinds) {
    allocations = 0;
    failing_allocation = ~uint64_t{0};
    CountCalls(kind);
    const uint64_t count = allocations;
    for (uint64_t number = 0; number < count; ++number) {
      SCOPED_TRACE("allocation " + std::to_string(number));
      allocations = 0;
      failing_allocation = number;
      allocation_failed = false;
      Sweep sweep(kind, {});
      EXPECT_TRUE(sweep.Play());
      sweep.End();
      if (kind != Kind::kClosed) sweep.Check(true, 0, true);
      fired += allocation_failed;
    }
    failing_allocation = ~uint64_t{0};
  }
  std::printf("%llu allocations failed\n", static_cast<unsigned long long>(fired));
  EXPECT_GE(fired, 20U);
}

// SOC-2, SOC-5, SND-11: the smallest socket buffer, and a peer that clears O_NONBLOCK.
TEST(FaultSweepTest, TheSmallestSocketBuffer) {
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
