// SHM-10: holding changes when a message is delivered, never what is delivered.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "props/floors.h"
#include "props/machine_process.h"
#include "props/wire.h"

namespace portproof {
namespace {

constexpr int32_t kSender = 101;
constexpr uint8_t kSegments = 4;

// A process with one port, and what it delivered on each stream.
class Hearer {
 public:
  Hearer() : process_(Profiles().back(), PortOf(Profiles().back())) {}

  void Announce(uint8_t id) {
    Wire wire = WireOf(0, PortOf(Profiles().back()).mmap_type);
    wire.fds = {1000 + id};
    wire.rights_messages = 1;
    wire.file = {.id = id, .source = kSender, .right_size = true, .sealed = true, .maps = true};
    process_.Receive(0, wire, outcome_);
    GoOn();
  }
  void Arrive(uint8_t stream, bool nf, bool mf, const std::string& payload, bool truncated,
              bool shared) {
    Wire wire = WireOf(stream, 3);
    wire.bytes[12] = shared ? 1 : 0;
    wire.bytes[13] = nf ? 1 : 0;
    wire.bytes[14] = mf ? 1 : 0;
    wire.bytes += payload;
    wire.truncated = truncated;
    process_.Receive(0, wire, outcome_);
    Note();
    GoOn();
  }

  size_t held() const { return process_.machine().held(0).count(); }
  const std::map<uint32_t, std::vector<std::string>>& delivered() const { return delivered_; }

 private:
  static Wire WireOf(uint8_t stream, uint8_t type) {
    Wire wire;
    wire.bytes.assign(16, '\0');
    wire.bytes[0] = static_cast<char>(stream);
    wire.bytes[4] = kSender;
    wire.bytes[10] = static_cast<char>(type);
    return wire;
  }
  void Note() {
    if (outcome_.delivered) delivered_[outcome_.message.stream].push_back(outcome_.message.payload);
  }
  void GoOn() {
    while (process_.machine().ready()) {
      process_.GoOn(outcome_);
      Note();
    }
  }

  MachineProcess process_;
  Outcome outcome_;
  std::map<uint32_t, std::vector<std::string>> delivered_;
};

std::string ReferenceTo(uint8_t id, uint32_t chunk) {
  const auto bytes = EncodeReference({id, chunk, 5}, ByteOrder::kLittle);
  return {bytes.begin(), bytes.end()};
}

TEST(HeldMessagesProp, EachStreamDeliversTheSameAsIfTheSegmentsHadBeenKnown) {
  Floors floors;
  EXPECT_TRUE(rc::check([&floors] {
    floors.Begin();
    Hearer late;
    Hearer early;
    for (uint8_t id = 0; id < kSegments; ++id) early.Announce(id);
    std::set<uint8_t> known;
    const int count = *rc::gen::resize(100, rc::gen::inRange(0, 60));
    for (int number = 0; number < count; ++number) {
      const auto stream = *rc::gen::element<uint8_t>(1, 2);
      const auto id = *rc::gen::element<uint8_t>(0, 1, 2, 3);
      const int kind = *rc::gen::resize(100, rc::gen::inRange(0, 8));
      if (kind == 0) {
        if (known.insert(id).second) late.Announce(id);
        continue;
      }
      const bool truncated = kind == 1;
      const bool shared = kind == 2;
      const bool nf = *rc::gen::arbitrary<bool>();
      const bool mf = *rc::gen::arbitrary<bool>();
      if (truncated && late.held() > 0) floors.Reached("refused beside held ones");
      const std::string payload =
          shared ? ReferenceTo(id, static_cast<uint32_t>(number)) : std::to_string(number);
      late.Arrive(stream, nf, mf, payload, truncated, shared);
      early.Arrive(stream, nf, mf, payload, truncated, shared);
    }
    if (late.held() > 1) floors.Reached("resumed at the end");
    for (uint8_t id = 0; id < kSegments; ++id) {
      if (!known.contains(id)) late.Announce(id);
    }
    RC_ASSERT(late.held() == 0U);
    RC_ASSERT(late.delivered() == early.delivered());
    for (const auto& [stream, messages] : late.delivered()) {
      for (const std::string& payload : messages) {
        if (payload.size() > 14) floors.Reached("fragments delivered");
      }
    }
  }));
  floors.Expect({"refused beside held ones", "resumed at the end", "fragments delivered"});
}

}  // namespace
}  // namespace portproof
