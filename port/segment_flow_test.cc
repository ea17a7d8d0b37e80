// Messages whose buffers live in segments, from a writer to a handler. On each way a message
// can go, every chunk is freed once: the census of the bitmap ends each case.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
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
using testing::SendRaw;

struct Piece {
  bool shared = true;
  uint32_t bytes = 0;
  bool sync = false;
  uint32_t segment = 0;
};

// Sends `count` datagrams, then answers with the error.
class RefusingKernel : public RealKernel {
 public:
  ssize_t SendMessage(int fd, const msghdr* message, int flags) override {
    if (error == 0) return RealKernel::SendMessage(fd, message, flags);
    if (Refuses()) return -1;
    --count;
    return RealKernel::SendMessage(fd, message, flags);
  }
  int SendMessages(int fd, mmsghdr* messages, unsigned number, int flags) override {
    if (error == 0) return RealKernel::SendMessages(fd, messages, number, flags);
    if (Refuses()) return -1;
    const int sent = RealKernel::SendMessages(fd, messages, std::min(number, count), flags);
    count -= static_cast<unsigned>(sent);
    return sent;
  }

  int error = 0;  // 0: never
  unsigned count = 0;

 private:
  bool Refuses() const {
    if (count > 0) return false;
    errno = error;
    return true;
  }
};

// A port with two announced segments.
class Flow {
 public:
  explicit Flow(ReceiverOptions receiving = {}) {
    port_.emplace(Newest(), std::move(receiving), SenderOptions(), PortSizes(), kernel);
    for (const uint32_t id : {0U, 1U}) {
      segments_.push_back(NewSegment(id));
      EXPECT_EQ(port_->sender->Announce(segments_.back()), WriteAnswer::kAccepted);
    }
    port_->Drain();
    TakeCompletions();
    completed_ = 0;
    port_->handler = [this](Message& message) {
      if (takes) taken.push_back(std::move(message.payload));
    };
  }

  // Writes a message of the pieces, and says what its bytes are.
  std::string Write(const std::vector<Piece>& pieces, uint8_t type = 27, bool batch = false) {
    std::string bytes;
    std::vector<Buffer> chain;
    for (const Piece& piece : pieces) {
      const uint64_t id = written_++;
      if (piece.sync) {
        chain.push_back(SyncBuffer(true, id));
        continue;
      }
      const std::string text = Pattern(piece.bytes, static_cast<uint32_t>(id));
      bytes += text;
      if (piece.shared) {
        Segment& segment = *segments_[piece.segment];
        const auto range = segment.Allocate(piece.bytes);
        EXPECT_TRUE(range.has_value());
        std::copy(text.begin(), text.end(), segment.Memory(*range).begin());
        ranges_[id] = {piece.segment, *range};
        chain.push_back(port_->sender->BufferIn(segment, *range, piece.bytes, id));
      } else {
        chain.push_back(testing::TextBuffer(texts_.emplace_back(text), id));
      }
    }
    EXPECT_EQ(port_->sender->Write(
                  {.type = type, .stream = next_stream_++, .batch = batch, .chain = chain}),
              WriteAnswer::kAccepted);
    return bytes;
  }

  void TakeCompletions() {
    std::vector<Completion> completions;
    port_->sender->TakeCompletions(completions);
    for (const Completion& completion : completions) {
      ++completed_;
      const auto found = ranges_.find(completion.buffer_id);
      if (!completion.has_buffer || found == ranges_.end()) continue;
      segments_[found->second.first]->Release(found->second.second);
      ranges_.erase(found);
    }
  }

  void ExpectIdle() {
    TakeCompletions();
    for (const auto& segment : segments_) {
      EXPECT_EQ(segment->FreeCount(), 640U) << "segment " << segment->id();
      EXPECT_EQ(segment->OwnCount(), 0U) << "segment " << segment->id();
    }
    EXPECT_EQ(completed_, written_);  // each buffer once
  }

  LocalPort& port() { return *port_; }
  const SegmentTable& table() { return port_->receiver->options().process->machine().segments(); }
  std::vector<std::shared_ptr<Segment>>& segments() { return segments_; }

  RefusingKernel kernel;
  bool takes = false;  // the handler keeps what it gets
  std::vector<Payload> taken;

 private:
  std::optional<LocalPort> port_;
  std::vector<std::shared_ptr<Segment>> segments_;
  std::deque<std::string> texts_;
  std::map<uint64_t, std::pair<uint32_t, ChunkRange>> ranges_;  // by buffer id
  uint64_t written_ = 0;
  uint64_t completed_ = 0;
  uint32_t next_stream_ = 1;
};

// Ninety buffers, in two segments by turns: more runs than one datagram takes.
std::vector<Piece> ManyRuns(uint32_t last_bytes) {
  std::vector<Piece> pieces;
  for (uint32_t i = 0; i < 90; ++i) pieces.push_back({.bytes = 100 + i, .segment = i % 2});
  pieces.back().bytes = last_bytes;
  return pieces;
}

const std::vector<std::vector<Piece>>& Chains() {
  static const std::vector<std::vector<Piece>> chains = {
      {{.bytes = 50000}},
      {{.bytes = 13}},
      {{.bytes = 12}},
      {{.bytes = 32768}, {.bytes = 100}, {.bytes = 16384, .segment = 1}},
      {{.bytes = 50000}, {.sync = true}},
      {{.shared = false, .bytes = 100}, {.bytes = 50000}},
      {{.bytes = 50000}, {.shared = false, .bytes = 1}},
      ManyRuns(200),
      {{.bytes = 0}, {.bytes = 20000}, {.bytes = 0}},
      {{.bytes = 10485760}},
      {{.bytes = 6000000}, {.bytes = 7000000, .segment = 1}},
  };
  return chains;
}

// SHM-6
TEST(SegmentFlow, SHM_6_EveryChainArrivesAndEveryChunkIsFreed) {
  for (const bool takes : {false, true}) {
    for (const std::vector<Piece>& chain : Chains()) {
      Flow flow;
      flow.takes = takes;
      const std::string bytes = flow.Write(chain);
      flow.port().Drain();
      ASSERT_EQ(flow.port().delivered.size(), 1U);
      EXPECT_TRUE(flow.port().delivered.front().text == bytes);
      EXPECT_EQ(flow.port().receiver->refusals(), 0U);
      if (!takes) {
        EXPECT_EQ(flow.table().held_chunks(), 0U);
      }
      flow.taken.clear();
      flow.ExpectIdle();
    }
  }
}

// How many datagrams with and without references wait in the socket.
std::vector<bool> SharedOf(int socket) {
  std::vector<bool> shared;
  std::vector<uint8_t> bytes(17000);
  for (ssize_t got = 0; (got = ::recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0;) {
    shared.push_back(DecodeHeader({bytes.data(), static_cast<size_t>(got)})->header.mmap);
  }
  return shared;
}

TEST(SegmentFlow, SHM_3_AMixedMessageGoesPlainAsAWhole) {
  Flow flow;
  flow.Write({{.shared = false, .bytes = 100}, {.bytes = 50000}});
  EXPECT_EQ(SharedOf(flow.port().receiver->fd()), std::vector<bool>(4, false));
  flow.ExpectIdle();
}

// SHM-4, SHM-5: one run more than a datagram takes, and in that run twelve bytes.
TEST(SegmentFlow, SHM_5_EachDatagramSaysWhatItCarries) {
  std::vector<Piece> chain = ManyRuns(12);
  chain.erase(chain.begin(), chain.begin() + 10);
  ASSERT_EQ(chain.size(), 80U);
  Flow seen;
  seen.Write(chain);
  EXPECT_EQ(SharedOf(seen.port().receiver->fd()), (std::vector<bool>{true, false}));
  Flow flow;
  const std::string bytes = flow.Write(chain);
  flow.port().Drain();
  ASSERT_EQ(flow.port().delivered.size(), 1U);
  EXPECT_TRUE(flow.port().delivered.front().text == bytes);
  flow.ExpectIdle();
}

TEST(SegmentFlow, SHM_6_WhatIsRefusedIsFreedByTheReceiver) {
  constexpr uint8_t kUnhandled = 28;  // refused by HDR-4
  for (const std::vector<Piece>& chain : Chains()) {
    Flow flow({.handled = HandledTypes::All().Without(kUnhandled)});
    flow.Write(chain, kUnhandled);
    flow.port().Drain();
    EXPECT_TRUE(flow.port().delivered.empty());
    EXPECT_GT(flow.port().receiver->refusals(Rule::kHdr4), 0U);
    flow.ExpectIdle();
  }
  Flow full({.limits = {.open = 0}});  // FRG-8: no assembly may be open
  full.Write(ManyRuns(200));
  full.port().Drain();
  EXPECT_EQ(full.port().receiver->refusals(), 2U);
  full.ExpectIdle();
}

TEST(SegmentFlow, SHM_2_AReplayedDatagramTakesNothing) {
  Flow flow;
  flow.takes = true;
  flow.Write({{.bytes = 50000}});
  flow.port().Drain();
  const Header replayed = {.stream = 1, .pid = ::getpid(), .type = 27, .mmap = true};
  const std::string reference = testing::ReferenceText({0, 0, 50000});
  SendRaw(flow.port(), replayed, reference);
  flow.port().Drain();  // still held
  EXPECT_EQ(flow.port().receiver->refusals(Rule::kShm2), 1U);
  flow.taken.clear();
  SendRaw(flow.port(), replayed, reference);
  flow.port().Drain();  // free by now
  EXPECT_EQ(flow.port().receiver->refusals(Rule::kShm2), 2U);
  flow.ExpectIdle();
}

TEST(SegmentFlow, SHM_6_WhatWasNotSentIsFreedByItsSender) {
  for (const std::vector<Piece>& chain : Chains()) {
    for (int way = 0; way < 3; ++way) {
      Flow flow;
      flow.kernel.error = way == 0 ? EMSGSIZE : way == 1 ? EPIPE : EAGAIN;
      flow.Write(chain);
      if (way == 2) flow.port().sender->Close();
      flow.kernel.error = 0;
      flow.port().Drain();
      EXPECT_TRUE(flow.port().delivered.empty());
      flow.ExpectIdle();
    }
  }
}

TEST(SegmentFlow, SHM_6_HalfAMessageIsFreedByBoth) {
  Flow flow;
  flow.kernel.error = EPIPE;
  flow.kernel.count = 1;
  flow.Write(ManyRuns(200));
  flow.port().Drain();
  EXPECT_EQ(flow.table().held_chunks(), 79U);
  flow.port().receiver->SenderDied(::getpid());  // FRG-9: the assembly goes, and its chunks
  EXPECT_TRUE(flow.port().delivered.empty());
  EXPECT_EQ(flow.table().mapped(), 0U);
  flow.ExpectIdle();
}

TEST(SegmentFlow, SHM_13_TheHandlerKeepsWhatItTookWhenTheSenderDies) {
  Flow flow;
  flow.takes = true;
  flow.Write({{.bytes = 50000}});
  flow.port().Drain();
  flow.port().receiver->SenderDied(::getpid());
  EXPECT_EQ(flow.table().mapped(), 1U);
  flow.taken.clear();
  EXPECT_EQ(flow.table().mapped(), 0U);
  flow.ExpectIdle();
}

TEST(SegmentFlow, SHM_6_ADeadReceiversChunksComeBack) {
  for (const std::vector<Piece>& chain : Chains()) {
    Flow flow;
    flow.Write(chain);
    flow.port().receiver.reset();  // with everything unread
    flow.TakeCompletions();
    for (const auto& segment : flow.segments()) segment->ReceiverDied();
    flow.ExpectIdle();
  }
}

}  // namespace
}  // namespace portproof
