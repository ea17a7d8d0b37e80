// Properties of messages that wait for an announcement, beside open assemblies.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "props/floors.h"
#include "props/held_play.h"
#include "protocol/held_messages.h"
#include "protocol/reassembly.h"

namespace portproof {
namespace {

using Messages = std::vector<std::vector<int>>;  // the numbers of their datagrams

ReassemblyLimits TinyLimits() {
  ReassemblyLimits limits;
  limits.open_per_sender = *rc::gen::element(1U, 2U, 3U, 5U, 64U);
  limits.open = *rc::gen::element(2U, 4U, 8U, 12U, 128U);
  limits.assembly_bytes = *rc::gen::element(12U, 100U, 300U, 10000U);
  limits.bytes = *rc::gen::element(24U, 300U, 800U, 2000U, 200000U);
  return limits;
}

// SHM-10, FRG-8, FRG-9, RCV-5
TEST(HeldMessagesProp, AnyActionsWhateverGoAsTheNaiveModelSaysWithinTheJointLimits) {
  Floors floors;
  EXPECT_TRUE(rc::check([&floors] {
    floors.Begin();
    const ReassemblyLimits limits = TinyLimits();
    const size_t size = *rc::gen::resize(100, rc::gen::inRange<size_t>(0, 400));
    const auto actions = *rc::gen::container<std::vector<uint8_t>>(
        size, rc::gen::resize(100, rc::gen::cast<uint8_t>(rc::gen::inRange(0, 256))));
    std::set<std::string> reached;
    const std::string difference = PlayHeld(actions, limits, reached);
    for (const std::string& name : reached) floors.Reached(name);
    RC_ASSERT(difference.empty());
  }));
  floors.Expect({"limit hit", "limit hit by an assembly", "follows", "held beside an assembly",
                 "resumed", "torn", "died"});
}

// A receiver of one sender's datagrams on two streams; `held` null: every segment is known.
class Receiver {
 public:
  explicit Receiver(HeldMessages* held) : held_(held) {}

  void Arrive(int number, uint32_t stream, bool nf, bool mf, const std::vector<uint32_t>& unknown) {
    Datagram datagram;
    datagram.sender = 1;
    datagram.payload_bytes = 48;
    datagram.header.stream = stream;
    datagram.header.nf = nf;
    datagram.header.mf = mf;
    if (held_ == nullptr || (unknown.empty() && !held_->MustFollow(1, stream))) {
      return Assemble(number, datagram);
    }
    uint32_t slot = 0;
    RC_ASSERT(!held_->Hold({1, stream, 48, nf, mf}, unknown, state_.budget(), slot, ids_));
    waiting_[slot] = {number, datagram};
  }
  void Refuse(uint32_t stream) {
    std::vector<uint32_t> discarded;
    if (held_ == nullptr || held_->Refuse(1, stream, state_.budget(), discarded, ids_)) {
      Step(state_, Refused{stream, 1, Rule::kRcv1}, actions_);
    }
    if (held_ != nullptr) GoOn();
  }
  void Announced(uint32_t id) {
    held_->Announced(1, id, state_.budget(), ids_);
    GoOn();
  }
  const std::map<uint32_t, Messages>& delivered() const { return delivered_; }

 private:
  void GoOn() {
    for (const uint32_t slot : ids_) Assemble(waiting_.at(slot).first, waiting_.at(slot).second);
  }
  void Assemble(int number, const Datagram& datagram) {
    Step(state_, datagram, actions_);
    Messages& messages = delivered_[datagram.header.stream];
    const Action& action = actions_.front();
    if (action.kind == Action::Kind::kDeliver) messages.push_back({number});
    if (action.kind == Action::Kind::kOpen) chains_[action.slot].clear();
    if (action.kind == Action::Kind::kOpen || action.kind == Action::Kind::kAppend ||
        action.kind == Action::Kind::kFinish) {
      chains_[action.slot].push_back(number);
    }
    if (action.kind == Action::Kind::kFinish) messages.push_back(chains_[action.slot]);
  }

  HeldMessages* held_;
  Reassembly state_ = Reassembly(ReassemblyConfig());
  Actions actions_;
  std::vector<uint32_t> ids_;
  std::map<uint32_t, std::pair<int, Datagram>> waiting_;
  std::map<uint32_t, std::vector<int>> chains_;
  std::map<uint32_t, Messages> delivered_;
};

// SHM-10: holding changes when a message is delivered, never what is delivered.
TEST(HeldMessagesProp, EachStreamDeliversTheSameAsIfTheSegmentsHadBeenKnown) {
  Floors floors;
  EXPECT_TRUE(rc::check([&floors] {
    floors.Begin();
    HeldMessages held;
    Receiver late(&held);
    Receiver early(nullptr);
    const int count = *rc::gen::resize(100, rc::gen::inRange(0, 60));
    std::set<uint32_t> known;
    for (int number = 0; number < count; ++number) {
      const auto stream = *rc::gen::element(1U, 2U);
      const int kind = *rc::gen::resize(100, rc::gen::inRange(0, 8));
      if (kind == 0) {
        if (held.MustFollow(1, stream)) floors.Reached("refused behind a held one");
        late.Refuse(stream);
        early.Refuse(stream);
      } else if (kind == 1) {
        const auto id = *rc::gen::element(0U, 1U, 2U, 3U, 4U, 5U);
        known.insert(id);
        late.Announced(id);
      } else {
        std::vector<uint32_t> unknown;
        const auto id = *rc::gen::element(0U, 1U, 2U, 3U, 4U, 5U);
        if (kind == 2 && !known.contains(id)) unknown.push_back(id);
        const bool nf = *rc::gen::arbitrary<bool>();
        const bool mf = *rc::gen::arbitrary<bool>();
        late.Arrive(number, stream, nf, mf, unknown);
        early.Arrive(number, stream, nf, mf, unknown);
      }
    }
    if (held.count() > 1) floors.Reached("resumed at the end");
    for (uint32_t id = 0; id < 6; ++id) late.Announced(id);
    RC_ASSERT(held.count() == 0U);
    for (const uint32_t stream : {1U, 2U}) {
      const auto of = [stream](const Receiver& receiver) {
        const auto found = receiver.delivered().find(stream);
        return found == receiver.delivered().end() ? Messages() : found->second;
      };
      RC_ASSERT(of(late) == of(early));
      for (const auto& message : of(late)) {
        if (message.size() > 1) floors.Reached("fragments delivered");
      }
    }
  }));
  floors.Expect({"refused behind a held one", "resumed at the end", "fragments delivered"});
}

}  // namespace
}  // namespace portproof
