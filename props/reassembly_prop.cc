// Properties of reassembly against the naive model, on any conversation whatever.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "props/core_receiver.h"
#include "props/floors.h"
#include "props/receiver_action.h"
#include "props/receiver_pair.h"
#include "props/reference_model.h"
#include "props/wire.h"

namespace portproof {
namespace {

const Profile& AnyProfile() {
  return Profiles()[*rc::gen::resize(100, rc::gen::inRange<size_t>(0, Profiles().size()))];
}

std::vector<uint8_t> AnyConversation() {
  const size_t actions = *rc::gen::resize(100, rc::gen::inRange<size_t>(0, 500));
  return *rc::gen::container<std::vector<uint8_t>>(
      actions * 4, rc::gen::resize(100, rc::gen::cast<uint8_t>(rc::gen::inRange(0, 256))));
}

Port TinyLimits(Port port) {
  port.open_per_sender = *rc::gen::element(0U, 1U, 2U, 3U, 4U, 5U, 6U);
  port.open = *rc::gen::element(1U, 2U, 4U, 6U, 8U, 40U);
  port.assembly_bytes = *rc::gen::element(0U, 60U, 90U, 150U, 300U, 1000U);
  port.bytes = *rc::gen::element<uint64_t>(1, 180, 300, 600, 2000, 20000);
  return port;
}

void Classify(const Outcome& outcome, size_t open_before, Floors& floors) {
  if (!outcome.refused.empty()) floors.Reached("refused " + std::string(outcome.refused));
  for (const std::string_view rule : outcome.discarded) {
    floors.Reached("discarded " + std::string(rule));
  }
  if (!outcome.delivered) return;
  if (!outcome.message.fds.empty()) floors.Reached("delivered with fds");
  if (outcome.message.kinds.find('s') != std::string::npos) floors.Reached("delivered references");
  if (open_before > 1) floors.Reached("interleaved");
}

// SHM-14: what neither arrives nor is refused.
void ClassifyCancelled(const CoreReceiver& core, Floors& floors) {
  for (const Action& action : core.actions()) {
    if (action.kind == Action::Kind::kCancel) floors.Reached("cancelled");
    if (action.kind == Action::Kind::kDrop) floors.Reached("dropped");
  }
}

// Every descriptor that came has one end, or is held by an open assembly (FDS-5).
class FdCensus {
 public:
  void Came(const Wire& wire) { came_ += wire.fds.size(); }
  void Ended(const Outcome& outcome) {
    for (const int fd : outcome.closed) End(fd);
    if (!outcome.delivered) return;
    for (const int fd : outcome.message.fds) End(fd);
  }
  void End(int fd) { RC_ASSERT(++ends_[fd] == 1); }
  size_t came() const { return came_; }
  size_t ended() const { return ends_.size(); }

 private:
  size_t came_ = 0;
  std::map<int, int> ends_;
};

// FRG-1, FRG-2, FRG-3, FRG-4, FRG-8, FRG-9, FRG-10, RCV-1, RCV-5, FDS-5, SHM-1, SHM-2
TEST(ReassemblyProp, AnyConversationWhateverIsHandledAsTheNaiveModelSays) {
  Floors floors;
  EXPECT_TRUE(rc::check([&floors] {
    floors.Begin();
    const Profile& profile = AnyProfile();
    Port port = TinyLimits(PortOf(profile));
    port.takes_fragments = *rc::gen::weightedElement<bool>({{4, true}, {1, false}});
    const std::vector<uint8_t> bytes = AnyConversation();
    ReceiverPair pair(profile, port);
    FdCensus census;
    ReceiverAction action;
    for (ReceiverActionReader reader(bytes, port); reader.Next(action);) {
      const size_t open_before = pair.core().state().open();
      if (action.kind == ReceiverAction::Kind::kDatagram) census.Came(action.wire);
      RC_ASSERT(pair.Perform(action));
      census.Ended(pair.of_core());
      Classify(pair.of_core(), open_before, floors);
      if (action.kind == ReceiverAction::Kind::kDatagram) ClassifyCancelled(pair.core(), floors);
    }
    RC_ASSERT(pair.Close());
    census.Ended(pair.of_core());
    RC_ASSERT(census.came() == census.ended());
  }));
  floors.Expect({"refused FRG-1",
                 "refused FRG-2",
                 "refused FRG-3",
                 "refused FRG-8",
                 "refused FRG-10",
                 "refused FDS-1",
                 "refused FDS-2",
                 "refused HDR-1",
                 "refused HDR-4",
                 "refused RCV-1",
                 "refused SHM-1",
                 "refused SHM-2",
                 "discarded FRG-3",
                 "discarded FRG-8",
                 "discarded FRG-9",
                 "discarded RCV-1",
                 "discarded SHM-2",
                 "delivered with fds",
                 "delivered references",
                 "interleaved",
                 "cancelled",
                 "dropped"});
}

// FRG-8: memory, buffer capacity included, stays within the stated function.
TEST(ReassemblyProp, MemoryHeldStaysWithinTheStatedFunctionOfTheLimits) {
  Floors floors;
  EXPECT_TRUE(rc::check([&floors] {
    floors.Begin();
    const Profile& profile = AnyProfile();
    Port port = TinyLimits(PortOf(profile));
    port.max_size = *rc::gen::element(64U, 300U, 16384U);
    port.assembly_bytes = *rc::gen::element(1U, 40U, 5000U, 100000U);
    port.bytes = *rc::gen::element(1U, 40U, 5000U, 200000U);
    const ReassemblyLimits limits = {port.open_per_sender, port.open, port.assembly_bytes,
                                     port.bytes};
    const std::vector<uint8_t> bytes = AnyConversation();
    CoreReceiver core(profile, port);
    Outcome outcome;
    ReceiverAction action;
    for (ReceiverActionReader reader(bytes, port); reader.Next(action);) {
      if (action.kind == ReceiverAction::Kind::kSenderDies) continue;
      core.Receive(action.wire, outcome);
      RC_ASSERT(core.MemoryBytes() <= MemoryBytesMax(limits));
      const size_t open = core.state().open();  // never all: half of one is none
      if (open > 0 && open + 1 == port.open) floors.Reached("as many open as allowed");
      if (outcome.refused == "FRG-8") floors.Reached("limit hit");
    }
  }));
  floors.Expect({"limit hit", "as many open as allowed"});
}

// FRG-8: the worst a sender can do: a byte, then what does not fit behind it.
TEST(ReassemblyProp, MemoryHeldStaysWithinTheStatedFunctionForTheMostWastefulSenders) {
  for (const uint32_t small : {1U, 12U, 31U, 32U}) {
    for (const uint32_t large : {1U, 12U, 33U, 63U, 64U, 65U, 8199U, 8200U, 8201U, 16384U}) {
      Port port;
      port.max_size = 16384;
      port.open = 8;  // one sender may hold half
      port.bytes = 200000;
      const ReassemblyLimits limits = {port.open_per_sender, port.open, port.assembly_bytes,
                                       port.bytes};
      CoreReceiver core(Profiles().back(), port);
      Outcome outcome;
      bool full = false;
      for (uint32_t i = 0; !full; ++i) {
        Wire wire;
        wire.bytes.assign(16 + (i % 2 == 0 ? small : large), '\0');
        wire.bytes[0] = static_cast<char>(i / 2 % 4);
        wire.bytes[13] = i / 2 < 4 && i % 2 == 0 ? 0 : 1;
        wire.bytes[14] = 1;
        if (i % 2 == 1 && large == 12) {  // a reference: another kind behind each plain piece
          wire.bytes[12] = 1;
          wire.bytes[24] = 1;
        }
        core.Receive(wire, outcome);
        full = !outcome.refused.empty();
        ASSERT_LE(core.MemoryBytes(), MemoryBytesMax(limits)) << small << " " << large;
      }
    }
  }
}

// A message of one stream, cut somewhere.
struct Planned {
  uint32_t sender, stream;
  Message whole;
  std::vector<Wire> datagrams;
};

Planned PlanMessage(uint32_t sender, uint32_t stream, int& next_fd) {
  Planned planned = {sender, stream, {}, {}};
  Message& whole = planned.whole;
  whole.stream = stream;
  whole.pid = static_cast<int32_t>(sender);
  whole.type = *rc::gen::inRange<uint8_t>(0, 13);
  whole.reply_port = *rc::gen::inRange<uint16_t>(0, 3);
  const auto sizes =
      *rc::gen::container<std::vector<uint32_t>>(rc::gen::resize(100, rc::gen::inRange(0U, 65U)));
  const size_t count = std::max<size_t>(1, sizes.size());
  for (size_t i = 0; i < count; ++i) {
    Wire wire;
    const uint32_t size = sizes.empty() ? 0 : sizes[i];
    wire.bytes.assign(16 + size, static_cast<char>(next_fd + static_cast<int>(i)));
    std::fill(wire.bytes.begin(), wire.bytes.begin() + 16, '\0');
    wire.bytes[0] = static_cast<char>(stream);
    wire.bytes[4] = static_cast<char>(sender);
    wire.bytes[8] = static_cast<char>(whole.reply_port);
    wire.bytes[10] = static_cast<char>(whole.type);
    wire.bytes[11] = *rc::gen::inRange<char>(0, 2);
    wire.bytes[13] = i > 0 ? 1 : 0;
    wire.bytes[14] = i + 1 < count ? 1 : 0;
    whole.last = whole.last || wire.bytes[11] != 0;
    whole.payload += wire.bytes.substr(16);
    planned.datagrams.push_back(wire);
  }
  whole.kinds.assign(whole.payload.size(), 'p');
  if (*rc::gen::inRange(0, 3) == 0) {
    whole.fds = {next_fd++};
    planned.datagrams[0].fds = whole.fds;
    planned.datagrams[0].rights_messages = 1;
  }
  return planned;
}

// Any order that keeps the datagrams of a stream as they were sent.
std::vector<Wire> Interleave(const std::vector<Planned>& messages, Floors& floors) {
  std::map<std::pair<uint32_t, uint32_t>, std::vector<Wire>> streams;
  for (const Planned& message : messages) {
    std::vector<Wire>& stream = streams[{message.sender, message.stream}];
    stream.insert(stream.end(), message.datagrams.begin(), message.datagrams.end());
  }
  std::vector<std::vector<Wire>> left;
  left.reserve(streams.size());
  for (auto& [key, stream] : streams) left.push_back(std::move(stream));
  std::vector<size_t> taken(left.size(), 0);
  std::vector<Wire> order;
  int open = 0;
  while (!left.empty()) {
    const size_t i = *rc::gen::resize(100, rc::gen::inRange<size_t>(0, left.size()));
    const Wire& wire = left[i][taken[i]];
    open += (wire.bytes[14] != 0 ? 1 : 0) - (wire.bytes[13] != 0 ? 1 : 0);
    if (open > 1) floors.Reached("interleaved");
    order.push_back(wire);
    if (++taken[i] < left[i].size()) continue;
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(i));
    taken.erase(taken.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return order;
}

// FRG-4, RCV-3, FDS-5
TEST(ReassemblyProp, AnySplitOfAnyMessagesOfAnyStreamsIsDeliveredOnceWholeAndInOrder) {
  Floors floors;
  EXPECT_TRUE(rc::check([&floors] {
    floors.Begin();
    const Profile& profile = AnyProfile();
    const Port port = PortOf(profile);
    std::vector<Planned> messages;
    std::map<std::pair<uint32_t, uint32_t>, std::vector<Message>> expected;
    int next_fd = 0;
    const int count = *rc::gen::inRange(1, 12);
    for (int i = 0; i < count; ++i) {
      const uint32_t sender = *rc::gen::element(1U, 2U, 3U);
      // Where the key is the stream alone, honest senders must not share numbers.
      const uint32_t stream =
          *rc::gen::element(0U, 1U, 2U) * 4 + (port.key_has_sender ? 0 : sender);
      messages.push_back(PlanMessage(sender, stream, next_fd));
      expected[{sender, stream}].push_back(messages.back().whole);
      if (messages.back().datagrams.size() > 1) floors.Reached("fragmented");
    }
    CoreReceiver core(profile, port);
    std::map<std::pair<uint32_t, uint32_t>, std::vector<Message>> delivered;
    Outcome outcome;
    for (const Wire& wire : Interleave(messages, floors)) {
      core.Receive(wire, outcome);
      RC_ASSERT(outcome.refused.empty());
      RC_ASSERT(outcome.closed.empty());
      if (!outcome.delivered) continue;
      const Message& message = outcome.message;
      delivered[{static_cast<uint32_t>(message.pid), message.stream}].push_back(message);
    }
    RC_ASSERT(delivered == expected);
    RC_ASSERT(core.state().open() == 0U);
    RC_ASSERT(core.state().budget().bytes() == 0U);
  }));
  floors.Expect({"interleaved", "fragmented"});
}

// RCV-5, FRG-1, FRG-2: with the refused datagrams left out, the rest goes the same way.
TEST(ReassemblyProp, ARefusalThatDiscardsNothingIsAsIfTheDatagramHadNotCome) {
  Floors floors;
  EXPECT_TRUE(rc::check([&floors] {
    floors.Begin();
    const Profile& profile = AnyProfile();
    const Port port = TinyLimits(PortOf(profile));
    const std::vector<uint8_t> bytes = AnyConversation();
    CoreReceiver all(profile, port);
    CoreReceiver some(profile, port);
    Outcome of_all;
    Outcome of_some;
    ReceiverAction action;
    for (ReceiverActionReader reader(bytes, port); reader.Next(action);) {
      if (action.kind != ReceiverAction::Kind::kDatagram) continue;
      all.Receive(action.wire, of_all);
      if (!of_all.refused.empty() && of_all.discarded.empty()) {
        floors.Reached("refused " + std::string(of_all.refused));
        RC_ASSERT(all.state() == some.state());
        continue;
      }
      some.Receive(action.wire, of_some);
      RC_ASSERT(SameOutcome(of_all, of_some));
    }
  }));
  floors.Expect({"refused FRG-1", "refused FRG-2", "refused FDS-1", "refused FDS-2"});
}

// FRG-4: all 128 ways to cut eight bytes.
TEST(ReassemblyProp, EverySplitOfEightBytesIsDeliveredWhole) {
  const std::string payload = "abcdefgh";
  for (uint32_t cuts = 0; cuts < 128; ++cuts) {
    CoreReceiver core(Profiles().back(), PortOf(Profiles().back()));
    Outcome outcome;
    size_t begin = 0;
    for (size_t end = 1; end <= 8; ++end) {
      if (end < 8 && (cuts >> (end - 1) & 1U) == 0) continue;
      Wire wire;
      wire.bytes = std::string(16, '\0') + payload.substr(begin, end - begin);
      wire.bytes[13] = begin > 0 ? 1 : 0;
      wire.bytes[14] = end < 8 ? 1 : 0;
      core.Receive(wire, outcome);
      ASSERT_EQ(outcome.delivered, end == 8) << cuts;
      begin = end;
    }
    ASSERT_EQ(outcome.message.payload, payload) << cuts;
  }
}

// The table of section 5, in every order: whole, first, later, final of two keys, and
// a death: 9 events, sequences of up to 5.
TEST(ReassemblyProp, EverySequenceOfUpToFiveDatagramsOverTwoKeysGoesAsTheModelSays) {
  constexpr uint32_t kEvents = 9;
  const Profile& profile = Profiles().back();
  const Port port = PortOf(profile);
  for (uint32_t length = 1; length <= 5; ++length) {
    uint32_t sequences = 1;
    for (uint32_t i = 0; i < length; ++i) sequences *= kEvents;
    for (uint32_t sequence = 0; sequence < sequences; ++sequence) {
      CoreReceiver core(profile, port);
      ReferenceModel model(port);
      Outcome of_core;
      Outcome of_model;
      uint32_t rest = sequence;
      for (uint32_t i = 0; i < length; ++i, rest /= kEvents) {
        const uint32_t event = rest % kEvents;
        if (event == 8) {
          core.SenderDied(1, of_core);
          model.SenderDied(1, of_model);
        } else {
          Wire wire;
          wire.bytes = std::string(16, '\0') + static_cast<char>('a' + i);
          wire.bytes[4] = static_cast<char>(1 + event / 4);
          wire.bytes[13] = static_cast<char>(event & 1U);
          wire.bytes[14] = static_cast<char>(event >> 1 & 1U);
          core.Receive(wire, of_core);
          model.Receive(wire, of_model);
        }
        ASSERT_TRUE(SameOutcome(of_core, of_model)) << sequence << " of " << length;
      }
    }
  }
}

// FRG-8: one less, exactly, one more; for each limit alone. One sender has half of a total.
TEST(ReassemblyProp, ExactlyTheLimitIsAllowedAndOneMoreIsNot) {
  const Profile& profile = Profiles().back();
  for (uint32_t limit = 1; limit <= 20; ++limit) {
    for (int which = 0; which < 5; ++which) {
      Port port = PortOf(profile);
      const bool grows = which == 2 || which == 4;  // one assembly, else many
      const bool in_all = which == 1 || which >= 3;
      const uint32_t most = in_all ? limit / 2 : limit;
      if (which == 0) port.open_per_sender = limit;
      if (which == 1) port.open = limit;
      if (which == 2) port.assembly_bytes = limit;
      if (which >= 3) port.bytes = limit;
      CoreReceiver core(profile, port);
      Outcome outcome;
      for (uint32_t i = 0; i < most + 1; ++i) {
        Wire wire;
        wire.bytes = std::string(17, '\0');
        wire.bytes[0] = static_cast<char>(grows ? 0 : i);
        wire.bytes[4] = 1;
        wire.bytes[13] = grows && i > 0 ? 1 : 0;
        wire.bytes[14] = 1;
        core.Receive(wire, outcome);
        ASSERT_EQ(outcome.refused.empty(), i < most) << which << " limit " << limit;
      }
      ASSERT_EQ(outcome.refused, "FRG-8");
      ASSERT_EQ(outcome.discarded.size(), grows && most > 0 ? 1U : 0U);
    }
  }
}

// FRG-8: each sender in turn holds exactly half of what the others leave free, of
// assemblies and of bytes, whether they are told apart by credentials or by the header.
TEST(ReassemblyProp, EachSenderHasHalfOfWhatTheOthersLeaveFree) {
  for (const Profile* profile : {&Profiles().front(), &Profiles().back()}) {
    for (uint32_t total = 1; total <= 70; ++total) {
      for (const bool bytes : {false, true}) {
        Port port = PortOf(*profile);
        if (bytes) port.bytes = total;
        if (!bytes) port.open = total;
        CoreReceiver core(*profile, port);
        Outcome outcome;
        uint32_t held = 0;
        for (char sender = 1; sender <= 8; ++sender) {
          const uint32_t most = (total - held) / 2;
          for (uint32_t i = 0; i <= most; ++i) {
            Wire wire;
            wire.bytes = std::string(17, '\0');
            wire.bytes[0] = static_cast<char>(i);
            wire.bytes[1] = sender;  // a stream of its own
            wire.bytes[4] = sender;
            wire.bytes[14] = 1;
            core.Receive(wire, outcome);
            ASSERT_EQ(outcome.refused, i < most ? "" : "FRG-8")
                << total << " in all, sender " << int{sender} << " holds " << i;
          }
          held += most;
        }
        ASSERT_EQ(core.state().open(), held);
      }
    }
  }
}

}  // namespace
}  // namespace portproof
