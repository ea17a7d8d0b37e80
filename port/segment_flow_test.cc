// Messages whose buffers live in segments, from a writer to a handler. On each way a message
// can go, every chunk is freed once: the census of the bitmap ends each case.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "port/segment.h"
#include "port/segment_receiver.h"
#include "protocol/control.h"
#include "protocol/header.h"
#include "protocol/reassembly.h"
#include "protocol/send_queue.h"

namespace portproof {
namespace {

// To the core an address is a number; here it is one again.
template <typename T>
T* PointerTo(uint64_t address) {
  return reinterpret_cast<T*>(address);  // NOLINT(performance-no-int-to-ptr)
}

constexpr int32_t kPeer = 101;
constexpr uint16_t kPort = 5;
constexpr uint8_t kHandled = 27;    // data
constexpr uint8_t kUnhandled = 28;  // refused by HDR-4

const Profile& Newest() { return *ResolveProfile("unit-1.35.0")->profile; }

Segment CreateSegment(uint32_t id) {
  auto segment = Segment::Create({.id = id, .source_pid = kPeer, .sent_over = kSentOverAny},
                                 SegmentLayout::kOosm);
  EXPECT_TRUE(segment.ok()) << segment.status();
  return *std::move(segment);
}

struct Piece {
  bool shared = true;
  uint32_t bytes = 0;
  bool sync = false;
  uint32_t segment = 0;
};

struct WireDatagram {
  Header header;
  std::vector<uint8_t> payload;
};

class Sender {
 public:
  Sender() : queue_({.pid = kPeer, .payload_bytes = 16368, .type_count = 34}) {
    segments_.push_back(CreateSegment(0));
    segments_.push_back(CreateSegment(1));
  }

  // Writes a message of the pieces, and says what its bytes are.
  std::string Write(const std::vector<Piece>& pieces, uint8_t type = kHandled) {
    std::string bytes;
    std::vector<Buffer> chain;
    for (const Piece& piece : pieces) {
      if (piece.sync) {
        chain.push_back({.id = next_id_++, .kind = BufferKind::kSync, .last = true});
        continue;
      }
      chain.push_back(BufferFor(piece));
      char* const memory = PointerTo<char>(chain.back().address);
      for (uint32_t i = 0; i < piece.bytes; ++i) {
        memory[i] = static_cast<char>((bytes.size() + i) * 7 % 251 + piece.shared);
      }
      bytes.append(memory, piece.bytes);
    }
    const WriteRequest request{.stream = next_stream_++, .type = type, .chain = chain};
    EXPECT_EQ(queue_.Write(request, actions_).answer, WriteAnswer::kAccepted);
    return bytes;
  }

  // Puts at most `most` datagrams on the wire.
  void Send(size_t most = ~size_t{0}) {
    for (;;) {
      queue_.Plan(plan_);
      const size_t count = std::min(most, plan_.datagrams().size());
      if (count == 0) return;
      for (size_t i = 0; i < count; ++i) Put(plan_.datagrams()[i]);
      queue_.Commit(plan_, count, actions_);
      Perform();
      most -= count;
    }
  }

  void MessageError() {
    queue_.Plan(plan_);
    queue_.MessageError(actions_);
    Perform();
  }
  void PortError() {
    queue_.PortError(actions_);
    Perform();
  }
  void Close() {
    queue_.Close(actions_);
    Perform();
  }

  std::deque<WireDatagram>& wire() { return wire_; }
  std::vector<Segment>& segments() { return segments_; }
  uint32_t completed() const { return completed_; }

  void ExpectIdle() {
    for (const Segment& segment : segments_) {
      EXPECT_EQ(segment.FreeCount(), 640U) << "segment " << segment.id();
      EXPECT_EQ(segment.OwnCount(), 0U) << "segment " << segment.id();
    }
    EXPECT_EQ(completed_, next_id_);  // each buffer once
  }

 private:
  Buffer BufferFor(const Piece& piece) {
    const uint64_t id = next_id_++;
    if (!piece.shared) {
      std::string& text = texts_.emplace_back(piece.bytes, ' ');
      return {.address = reinterpret_cast<uint64_t>(text.data()), .id = id, .bytes = piece.bytes};
    }
    Segment& segment = segments_[piece.segment];
    const auto range = segment.Allocate(piece.bytes);
    EXPECT_TRUE(range.has_value());
    ranges_[id] = {piece.segment, *range};
    return segment.BufferOf(*range, piece.bytes, id, kPort);
  }

  void Put(const PlannedDatagram& datagram) {
    WireDatagram& sent = wire_.emplace_back();
    sent.header = datagram.header;
    std::vector<Reference> references;
    for (const ByteRun& run : plan_.RunsOf(datagram)) {
      if (datagram.mode == Mode::kShared) {
        references.push_back(ReferenceOf(run, kUnitGeometry.chunk_bytes));
        segments_[references.back().segment_id].HandedOver(references.back());
      } else {
        const auto* const bytes = PointerTo<const uint8_t>(run.place);
        sent.payload.insert(sent.payload.end(), bytes, bytes + run.bytes);
      }
    }
    if (datagram.mode == Mode::kShared) {
      EncodeReferences(references, std::nullopt, MachineByteOrder(), sent.payload);
    }
    EXPECT_EQ(sent.payload.size(), datagram.payload_bytes);
  }

  void Perform() {
    for (const SendAction& action : actions_) {
      if (action.kind != SendAction::Kind::kComplete) continue;
      ++completed_;
      const auto found = ranges_.find(action.buffer_id);
      if (found == ranges_.end()) continue;
      segments_[found->second.first].Release(found->second.second);
      ranges_.erase(found);
    }
    actions_.clear();
  }

  SendQueue queue_;
  SendPlan plan_;
  SendActions actions_;
  std::vector<Segment> segments_;
  std::deque<std::string> texts_;
  std::map<uint64_t, std::pair<uint32_t, ChunkRange>> ranges_;  // by buffer id
  std::deque<WireDatagram> wire_;
  uint64_t next_id_ = 0;
  uint32_t next_stream_ = 1;
  uint32_t completed_ = 0;
};

class ReceiveEnd {
 public:
  explicit ReceiveEnd(std::vector<Segment>& segments, uint32_t open_max = 64)
      : assemblies_([open_max] {
          ReassemblyConfig config = ConfigFor(Newest(), 16384);
          config.limits.open = open_max;
          return config;
        }()) {
    for (const Segment& segment : segments) {
      std::vector<OwnedFd> fds;
      fds.emplace_back(::dup(segment.fd()));
      EXPECT_EQ(segments_.Announce(kPeer, std::move(fds)), std::nullopt);
    }
  }

  void Receive(const WireDatagram& datagram) {
    std::vector<Holding> holdings;
    const Intake port{.profile = &Newest(), .handled = HandledTypes::All().Without(kUnhandled)};
    const Received received{.bytes = kHeaderBytes + datagram.payload.size()};
    std::optional<Rule> refused = Admit(received, &datagram.header, port).refused;
    if (datagram.header.mmap) {
      std::vector<Reference> references;
      ASSERT_TRUE(DecodeReferences(datagram.payload, false, MachineByteOrder(), references));
      const auto bad = segments_.Accept(kPeer, references, holdings);
      if (!refused) refused = bad;
    }
    if (refused) {
      Step(assemblies_, Refused{datagram.header.stream, kPeer, *refused}, actions_);
    } else {
      Step(assemblies_,
           portproof::Datagram{datagram.header, kPeer,
                               static_cast<uint32_t>(datagram.payload.size())},
           actions_);
    }
    for (const Action& action : actions_) Perform(action, datagram, holdings);
  }
  void SenderDied() {
    Step(assemblies_, portproof::SenderDied{kPeer}, actions_);
    std::vector<Holding> none;
    for (const Action& action : actions_) Perform(action, {}, none);
    segments_.SenderDied(kPeer);
  }
  void ReleaseTaken() {
    for (const Holding& holding : taken_) segments_.Release(holding);
    taken_.clear();
  }

  bool takes = false;  // the handler keeps what it gets
  std::vector<std::string> delivered;
  uint32_t refused_count = 0;
  const SegmentTable& table() const { return segments_.table(); }

 private:
  struct Part {
    std::string bytes;
    std::vector<Holding> holdings;
  };

  void Append(Part& part, const WireDatagram& datagram, const std::vector<Holding>& holdings) {
    if (!datagram.header.mmap) part.bytes.append(datagram.payload.begin(), datagram.payload.end());
    for (const Holding& holding : holdings) {
      const auto memory = segments_.Memory(holding);
      part.bytes.append(memory.begin(), memory.end());
      part.holdings.push_back(holding);
    }
  }
  void Handle(Part& part) {
    delivered.push_back(part.bytes);
    taken_.insert(taken_.end(), part.holdings.begin(), part.holdings.end());
    part = {};
    if (!takes) ReleaseTaken();
  }
  void Perform(const Action& action, const WireDatagram& datagram,
               const std::vector<Holding>& holdings) {
    Part whole;
    switch (action.kind) {
      case Action::Kind::kDeliver:
        Append(whole, datagram, holdings);
        Handle(whole);
        return;
      case Action::Kind::kOpen:
      case Action::Kind::kAppend:
        Append(open_[action.slot], datagram, holdings);
        return;
      case Action::Kind::kFinish:
        Append(open_[action.slot], datagram, holdings);
        Handle(open_[action.slot]);
        return;
      case Action::Kind::kRefuse:
        ++refused_count;
        for (const Holding& holding : holdings) segments_.Release(holding);
        return;
      case Action::Kind::kCancel:
      case Action::Kind::kDrop:
        ADD_FAILURE() << "nothing is tracked";
        return;
      case Action::Kind::kDiscard:
        for (const Holding& holding : open_[action.slot].holdings) segments_.Release(holding);
        open_[action.slot] = {};
        return;
    }
  }

  SegmentReceiver segments_{SegmentConfig{}};
  Reassembly assemblies_;
  Actions actions_;
  std::map<uint32_t, Part> open_;
  std::vector<Holding> taken_;
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

TEST(SegmentFlow, SHM_6_EveryChainArrivesAndEveryChunkIsFreed) {
  for (const bool takes : {false, true}) {
    for (const std::vector<Piece>& chain : Chains()) {
      Sender sender;
      ReceiveEnd receiver(sender.segments());
      receiver.takes = takes;
      const std::string bytes = sender.Write(chain);
      sender.Send();
      for (const WireDatagram& datagram : sender.wire()) receiver.Receive(datagram);
      ASSERT_EQ(receiver.delivered.size(), 1U);
      EXPECT_TRUE(receiver.delivered.front() == bytes);
      EXPECT_EQ(receiver.refused_count, 0U);
      if (!takes) {
        EXPECT_EQ(receiver.table().held_chunks(), 0U);
      }
      receiver.ReleaseTaken();
      sender.ExpectIdle();
    }
  }
}

TEST(SegmentFlow, SHM_3_AMixedMessageGoesPlainAsAWhole) {
  Sender sender;
  ReceiveEnd receiver(sender.segments());
  const std::string bytes = sender.Write({{.shared = false, .bytes = 100}, {.bytes = 50000}});
  sender.Send();
  EXPECT_EQ(sender.wire().size(), 4U);
  for (const WireDatagram& datagram : sender.wire()) {
    EXPECT_FALSE(datagram.header.mmap);
    receiver.Receive(datagram);
  }
  ASSERT_EQ(receiver.delivered.size(), 1U);
  EXPECT_TRUE(receiver.delivered.front() == bytes);
  sender.ExpectIdle();
}

TEST(SegmentFlow, SHM_5_EachDatagramSaysWhatItCarries) {
  Sender sender;
  // One run more than a datagram takes, and in that run twelve bytes.
  std::vector<Piece> chain = ManyRuns(12);
  chain.erase(chain.begin(), chain.begin() + 10);
  ASSERT_EQ(chain.size(), 80U);
  const std::string bytes = sender.Write(chain);
  sender.Send();
  ASSERT_EQ(sender.wire().size(), 2U);
  EXPECT_TRUE(sender.wire()[0].header.mmap);
  EXPECT_FALSE(sender.wire()[1].header.mmap);  // SHM-4
  ReceiveEnd receiver(sender.segments());
  for (const WireDatagram& datagram : sender.wire()) receiver.Receive(datagram);
  ASSERT_EQ(receiver.delivered.size(), 1U);
  EXPECT_TRUE(receiver.delivered.front() == bytes);
  sender.ExpectIdle();
}

TEST(SegmentFlow, SHM_6_WhatIsRefusedIsFreedByTheReceiver) {
  for (const std::vector<Piece>& chain : Chains()) {
    Sender sender;
    ReceiveEnd unhandled(sender.segments());
    sender.Write(chain, kUnhandled);
    sender.Send();
    for (const WireDatagram& datagram : sender.wire()) unhandled.Receive(datagram);
    EXPECT_EQ(unhandled.refused_count, sender.wire().size());
    sender.ExpectIdle();
  }
  Sender sender;
  ReceiveEnd full(sender.segments(), 0);  // FRG-8: no assembly may be open
  sender.Write(ManyRuns(200));
  sender.Send();
  for (const WireDatagram& datagram : sender.wire()) full.Receive(datagram);
  EXPECT_EQ(full.refused_count, 2U);
  sender.ExpectIdle();
}

TEST(SegmentFlow, SHM_2_AReplayedDatagramTakesNothing) {
  Sender sender;
  ReceiveEnd receiver(sender.segments());
  receiver.takes = true;
  sender.Write({{.bytes = 50000}});
  sender.Send();
  receiver.Receive(sender.wire().front());
  receiver.Receive(sender.wire().front());  // still held
  EXPECT_EQ(receiver.refused_count, 1U);
  receiver.ReleaseTaken();
  receiver.Receive(sender.wire().front());  // free by now
  EXPECT_EQ(receiver.refused_count, 2U);
  sender.ExpectIdle();
}

TEST(SegmentFlow, SHM_6_WhatWasNotSentIsFreedByItsSender) {
  for (const std::vector<Piece>& chain : Chains()) {
    for (int way = 0; way < 3; ++way) {
      Sender sender;
      sender.Write(chain);
      if (way == 0) sender.MessageError();
      if (way == 1) sender.PortError();  // the peer is dead
      if (way == 2) sender.Close();
      EXPECT_TRUE(sender.wire().empty());
      sender.ExpectIdle();
    }
  }
}

TEST(SegmentFlow, SHM_6_HalfAMessageIsFreedByBoth) {
  Sender sender;
  ReceiveEnd receiver(sender.segments());
  sender.Write(ManyRuns(200));
  sender.Send(1);
  sender.PortError();
  ASSERT_EQ(sender.wire().size(), 1U);
  receiver.Receive(sender.wire().front());
  EXPECT_EQ(receiver.table().held_chunks(), 79U);
  receiver.SenderDied();  // FRG-9: the assembly goes, and its chunks
  EXPECT_TRUE(receiver.delivered.empty());
  EXPECT_EQ(receiver.table().mapped(), 0U);
  sender.ExpectIdle();
}

TEST(SegmentFlow, SHM_13_TheHandlerKeepsWhatItTookWhenTheSenderDies) {
  std::optional<Sender> sender(std::in_place);
  ReceiveEnd receiver(sender->segments());
  receiver.takes = true;
  sender->Write({{.bytes = 50000}});
  sender->Send();
  receiver.Receive(sender->wire().front());
  receiver.SenderDied();
  EXPECT_EQ(receiver.table().mapped(), 1U);
  receiver.ReleaseTaken();
  EXPECT_EQ(receiver.table().mapped(), 0U);
  sender->ExpectIdle();
}

TEST(SegmentFlow, SHM_6_ADeadReceiversChunksComeBack) {
  for (const std::vector<Piece>& chain : Chains()) {
    Sender sender;
    {
      ReceiveEnd receiver(sender.segments());
      sender.Write(chain);
      sender.Send();
    }  // with everything unread
    for (Segment& segment : sender.segments()) segment.ReceiverDied();
    sender.ExpectIdle();
  }
}

}  // namespace
}  // namespace portproof
