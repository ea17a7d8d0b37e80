// Properties of reassembly, through the whole receive machine: splits, limits, memory.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "props/floors.h"
#include "props/machine_process.h"
#include "props/naive_process.h"
#include "props/wire.h"

namespace portproof {
namespace {

const Profile& AnyProfile() {
  return Profiles()[*rc::gen::resize(100, rc::gen::inRange<size_t>(0, Profiles().size()))];
}

// Enough of them for a reference to each chunk once.
void AnnounceSegments(MachineProcess& process) {
  Outcome outcome;
  for (uint32_t id = 0; id < 40; ++id) {
    Wire wire;
    wire.bytes.assign(16, '\0');
    wire.bytes[4] = 1;
    wire.bytes[10] = static_cast<char>(PortOf(Profiles().back()).mmap_type);
    wire.fds = {static_cast<int>(id)};
    wire.rights_messages = 1;
    wire.file = {.id = id, .source = 1, .right_size = true, .sealed = true, .maps = true};
    process.Receive(0, wire, outcome);
    ASSERT_TRUE(outcome.refused.empty());
  }
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
      MachineProcess core(Profiles().back(), port, 1, {.own_pid = 7});
      Outcome outcome;
      AnnounceSegments(core);
      bool full = false;
      for (uint32_t i = 0; !full; ++i) {
        Wire wire;
        wire.bytes.assign(16 + (i % 2 == 0 ? small : large), '\0');
        wire.bytes[0] = static_cast<char>(i / 2 % 4);
        wire.bytes[4] = 1;
        wire.bytes[13] = i / 2 < 4 && i % 2 == 0 ? 0 : 1;
        wire.bytes[14] = 1;
        if (i % 2 == 1 && large == 12) {  // a reference: another kind behind each plain piece
          const Reference reference{i / 2 / 640, i / 2 % 640, 1};
          const auto bytes = EncodeReference(reference, ByteOrder::kLittle);
          wire.bytes[12] = 1;
          std::copy(bytes.begin(), bytes.end(), wire.bytes.begin() + 16);
        }
        core.Receive(0, wire, outcome);
        full = !outcome.refused.empty();
        ASSERT_LE(core.MemoryBytes(0), MemoryBytesMax(limits)) << small << " " << large;
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
  whole.type = *rc::gen::inRange<uint8_t>(0, 4);  // none that the port attends to
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
    MachineProcess core(profile, port);
    std::map<std::pair<uint32_t, uint32_t>, std::vector<Message>> delivered;
    Outcome outcome;
    for (const Wire& wire : Interleave(messages, floors)) {
      core.Receive(0, wire, outcome);
      RC_ASSERT(outcome.refused.empty());
      RC_ASSERT(outcome.closed.empty());
      if (!outcome.delivered) continue;
      const Message& message = outcome.message;
      delivered[{static_cast<uint32_t>(message.pid), message.stream}].push_back(message);
    }
    RC_ASSERT(delivered == expected);
    RC_ASSERT(core.machine().assemblies(0).open() == 0U);
    RC_ASSERT(core.machine().assemblies(0).budget().bytes() == 0U);
  }));
  floors.Expect({"interleaved", "fragmented"});
}

// FRG-4: all 128 ways to cut eight bytes.
TEST(ReassemblyProp, EverySplitOfEightBytesIsDeliveredWhole) {
  const std::string payload = "abcdefgh";
  for (uint32_t cuts = 0; cuts < 128; ++cuts) {
    MachineProcess core(Profiles().back(), PortOf(Profiles().back()));
    Outcome outcome;
    size_t begin = 0;
    for (size_t end = 1; end <= 8; ++end) {
      if (end < 8 && (cuts >> (end - 1) & 1U) == 0) continue;
      Wire wire;
      wire.bytes = std::string(16, '\0') + payload.substr(begin, end - begin);
      wire.bytes[13] = begin > 0 ? 1 : 0;
      wire.bytes[14] = end < 8 ? 1 : 0;
      core.Receive(0, wire, outcome);
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
      MachineProcess core(profile, port);
      NaiveProcess model(port);
      Outcome of_core;
      Outcome of_model;
      uint32_t rest = sequence;
      for (uint32_t i = 0; i < length; ++i, rest /= kEvents) {
        const uint32_t event = rest % kEvents;
        if (event == 8) {
          core.SenderDied(0, 1, of_core);
          model.SenderDied(0, 1, of_model);
        } else {
          Wire wire;
          wire.bytes = std::string(16, '\0') + static_cast<char>('a' + i);
          wire.bytes[4] = static_cast<char>(1 + event / 4);
          wire.bytes[13] = static_cast<char>(event & 1U);
          wire.bytes[14] = static_cast<char>(event >> 1 & 1U);
          core.Receive(0, wire, of_core);
          model.Receive(0, wire, of_model);
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
      MachineProcess core(profile, port);
      Outcome outcome;
      for (uint32_t i = 0; i < most + 1; ++i) {
        Wire wire;
        wire.bytes = std::string(17, '\0');
        wire.bytes[0] = static_cast<char>(grows ? 0 : i);
        wire.bytes[4] = 1;
        wire.bytes[13] = grows && i > 0 ? 1 : 0;
        wire.bytes[14] = 1;
        core.Receive(0, wire, outcome);
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
        MachineProcess core(*profile, port);
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
            core.Receive(0, wire, outcome);
            ASSERT_EQ(outcome.refused, i < most ? "" : "FRG-8")
                << total << " in all, sender " << int{sender} << " holds " << i;
          }
          held += most;
        }
        ASSERT_EQ(core.machine().assemblies(0).open(), held);
      }
    }
  }
}

}  // namespace
}  // namespace portproof
