#include "props/held_play.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "protocol/held_messages.h"
#include "protocol/reassembly.h"

namespace portproof {
namespace {

using Slots = std::vector<uint32_t>;
using Key = std::pair<int32_t, uint32_t>;

struct Arrival {
  Key key;
  bool nf = false;
  bool mf = false;
  uint32_t bytes = 0;
  std::set<uint32_t> unknown = {};
};

class Model {
 public:
  explicit Model(const ReassemblyLimits& limits) : limits_(limits) {}

  bool MustFollow(const Key& key) const {
    return std::any_of(held_.begin(), held_.end(),
                       [&](const auto& held) { return held.second.key == key; });
  }
  bool Fits(int32_t sender, uint32_t bytes) const {
    uint64_t of_sender = 0;
    for (const auto& [slot, held] : held_) of_sender += held.key.first == sender ? 1 : 0;
    for (const auto& [key, open_bytes] : open_) of_sender += key.first == sender ? 1 : 0;
    const uint64_t of_others = count() - of_sender;
    return of_sender < limits_.open_per_sender && bytes <= limits_.assembly_bytes &&
           of_sender + 1 <= (limits_.open - of_others) / 2 && FitsMore(sender, bytes);
  }
  // Half of what the others leave free.
  bool FitsMore(int32_t sender, uint32_t bytes) const {
    uint64_t of_sender = 0;
    for (const auto& [slot, held] : held_) of_sender += held.key.first == sender ? held.bytes : 0;
    for (const auto& [key, open_bytes] : open_) of_sender += key.first == sender ? open_bytes : 0;
    const uint64_t of_others = this->bytes() - of_sender;
    return of_sender + bytes <= (limits_.bytes - of_others) / 2;
  }
  std::set<uint32_t> Hold(uint32_t slot, const Arrival& arrival) {
    std::set<uint32_t> ask = arrival.unknown;
    for (const auto& [other, held] : held_) {
      if (held.key.first != arrival.key.first) continue;
      for (const uint32_t id : held.unknown) ask.erase(id);
    }
    held_.emplace_back(slot, arrival);
    return ask;
  }
  Slots Announced(int32_t sender, uint32_t id) {
    for (auto& [slot, held] : held_) {
      if (held.key.first == sender) held.unknown.erase(id);
    }
    return Free();
  }
  // From the back to what finished the message before.
  bool Refuse(const Key& key, Slots& discarded, Slots& resumed) {
    bool open_goes_too = true;
    for (size_t i = held_.size(); i-- > 0;) {
      const Arrival held = held_[i].second;
      if (held.key != key || (!held.nf && !held.mf)) continue;
      if (held.nf && !held.mf) {
        open_goes_too = false;
        break;
      }
      discarded.insert(discarded.begin(), held_[i].first);
      held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    resumed = Free();
    return open_goes_too;
  }
  Slots Die(int32_t sender) {
    std::erase_if(open_, [&](const auto& open) { return open.first.first == sender; });
    return Take([&](size_t i) { return held_[i].second.key.first == sender; });
  }
  Slots Close() {
    open_.clear();
    return Take([](size_t) { return true; });
  }
  // What becomes of a datagram that is not held: true, it or its message is kept.
  void Assemble(const Arrival& arrival) {
    const auto open = open_.find(arrival.key);
    if (!arrival.nf && !arrival.mf) return;
    if (!arrival.nf) {
      if (open == open_.end() && Fits(arrival.key.first, arrival.bytes)) {
        open_[arrival.key] = arrival.bytes;
      }
      return;
    }
    if (open == open_.end()) return;
    const bool fits = open->second + arrival.bytes <= limits_.assembly_bytes &&
                      FitsMore(arrival.key.first, arrival.bytes);
    if (fits && arrival.mf) {
      open->second += arrival.bytes;
    } else {
      open_.erase(open);
    }
  }
  void DiscardOpen(const Key& key) { open_.erase(key); }

  uint64_t count() const { return held_.size() + open_.size(); }
  uint64_t bytes() const {
    uint64_t bytes = 0;
    for (const auto& [slot, held] : held_) bytes += held.bytes;
    for (const auto& [key, open_bytes] : open_) bytes += open_bytes;
    return bytes;
  }
  bool Uses(uint32_t slot) const {
    return std::any_of(held_.begin(), held_.end(),
                       [&](const auto& held) { return held.first == slot; });
  }
  Arrival Find(uint32_t slot) const {
    return std::find_if(held_.begin(), held_.end(),
                        [&](const auto& held) { return held.first == slot; })
        ->second;
  }
  size_t held() const { return held_.size(); }
  size_t open() const { return open_.size(); }

 private:
  template <typename Goes>
  Slots Take(Goes goes) {
    Slots slots;
    for (size_t i = 0; i < held_.size();) {
      if (!goes(i)) {
        ++i;
        continue;
      }
      slots.push_back(held_[i].first);
      held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    return slots;
  }
  // Waits for nothing, and nothing of its key is in front.
  Slots Free() {
    return Take([this](size_t i) {
      const Arrival& held = held_[i].second;
      return held.unknown.empty() &&
             std::none_of(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(i),
                          [&](const auto& front) { return front.second.key == held.key; });
    });
  }

  ReassemblyLimits limits_;
  std::vector<std::pair<uint32_t, Arrival>> held_;  // by slot, in the order they came
  std::map<Key, uint32_t> open_;                    // bytes
};

ReassemblyConfig With(const ReassemblyLimits& limits) {
  ReassemblyConfig config;
  config.limits = limits;
  return config;
}

class Play {
 public:
  Play(std::span<const uint8_t> actions, const ReassemblyLimits& limits,
       std::set<std::string>& reached)
      : rest_(actions),
        limits_(limits),
        reached_(reached),
        assemblies_(With(limits)),
        model_(limits) {}

  std::string Run() {
    while (!rest_.empty() && difference_.empty()) Perform();
    if (difference_.empty()) Close();
    return difference_;
  }

 private:
  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const uint8_t byte = rest_.front();
    rest_ = rest_.subspan(1);
    return byte;
  }
  void Require(bool holds, const char* what) {
    if (!holds && difference_.empty()) difference_ = what;
  }

  void Perform() {
    const uint8_t kind = Byte() % 6;
    if (kind == 5) return Close();
    const uint8_t k = Byte();
    Arrival arrival = {.key = {1 + (k & 1), 1 + (k >> 1 & 1)},
                       .nf = (k & 4) != 0,
                       .mf = (k & 8) != 0,
                       .bytes = 12U + 16 * (k >> 4)};
    if (kind == 0) {
      const uint8_t named = Byte();
      for (uint32_t id = 0; id < 4; ++id) {
        if (named >> id & 1) arrival.unknown.insert(id);
      }
    }
    if (kind <= 1) Arrive(arrival);
    if (kind == 2) Announce(arrival.key.first, Byte() % 4);
    if (kind == 3) Refuse(arrival.key, Rule::kRcv1);
    if (kind == 4) Die(arrival.key.first);
    Check();
  }

  void Arrive(const Arrival& arrival) {
    const auto& [sender, stream] = arrival.key;
    const bool must = held_.MustFollow(sender, stream);
    Require(must == model_.MustFollow(arrival.key), "MustFollow");
    if (arrival.unknown.empty() && !must) return Assemble(arrival);
    const bool fits = model_.Fits(sender, arrival.bytes);
    const Slots unknown(arrival.unknown.begin(), arrival.unknown.end());
    uint32_t slot = 0;
    Slots ask = {99};
    const auto refused = held_.Hold({sender, stream, arrival.bytes, arrival.nf, arrival.mf},
                                    unknown, assemblies_.budget(), slot, ask);
    Require(refused.has_value() != fits, "Hold: refused (FRG-8)");
    if (refused) {
      reached_.insert("limit hit");
      Require(ask.empty(), "Hold: asks for what it refused");
      return Refuse(arrival.key, Rule::kFrg8);
    }
    if (must) reached_.insert("follows");
    if (model_.open() > 0) reached_.insert("held beside an assembly");
    Require(!model_.Uses(slot), "Hold: a slot twice");
    const std::set<uint32_t> wanted = model_.Hold(slot, arrival);
    Require(ask == Slots(wanted.begin(), wanted.end()), "Hold: ask");
  }

  void Assemble(const Arrival& arrival) {
    Datagram datagram;
    datagram.sender = arrival.key.first;
    datagram.payload_bytes = arrival.bytes;
    datagram.header.pid = arrival.key.first;
    datagram.header.stream = arrival.key.second;
    datagram.header.nf = arrival.nf;
    datagram.header.mf = arrival.mf;
    const bool held = model_.held() > 0;
    Step(assemblies_, datagram, actions_);
    model_.Assemble(arrival);
    if (held && actions_[0].rule == Rule::kFrg8) reached_.insert("limit hit by an assembly");
  }

  // What goes on takes the place it had in its stream.
  void GoOn(const Slots& resumed, const std::vector<Arrival>& arrivals) {
    if (!resumed.empty()) reached_.insert("resumed");
    for (const Arrival& arrival : arrivals) Assemble(arrival);
  }
  std::vector<Arrival> ArrivalsOf(const Slots& slots, const Model& before) {
    std::vector<Arrival> arrivals;
    for (const uint32_t slot : slots) {
      if (before.Uses(slot)) arrivals.push_back(before.Find(slot));
    }
    return arrivals;
  }

  void Announce(int32_t sender, uint32_t id) {
    const Model before = model_;
    Slots resumed = {99};
    held_.Announced(sender, id, assemblies_.budget(), resumed);
    Require(resumed == model_.Announced(sender, id), "Announced: resumed");
    GoOn(resumed, ArrivalsOf(resumed, before));
  }

  void Refuse(const Key& key, Rule rule) {
    const Model before = model_;
    Slots discarded = {99};
    Slots resumed = {99};
    const bool open_goes_too =
        held_.Refuse(key.first, key.second, assemblies_.budget(), discarded, resumed);
    Slots gone;
    Slots freed;
    Require(open_goes_too == model_.Refuse(key, gone, freed), "Refuse: whose message");
    Require(discarded == gone, "Refuse: discarded");
    Require(resumed == freed, "Refuse: resumed");
    if (!gone.empty()) reached_.insert("torn");
    if (open_goes_too) {
      Step(assemblies_, Refused{key.second, key.first, rule}, actions_);
      model_.DiscardOpen(key);
    }
    GoOn(resumed, ArrivalsOf(resumed, before));
  }

  void Die(int32_t sender) {
    Slots discarded = {99};
    held_.SenderDied(sender, assemblies_.budget(), discarded);
    Step(assemblies_, SenderDied{sender}, actions_);
    if (!discarded.empty()) reached_.insert("died");
    Require(discarded == model_.Die(sender), "SenderDied: discarded");
  }

  void Close() {
    Slots discarded = {99};
    held_.Close(assemblies_.budget(), discarded);
    Step(assemblies_, Closed(), actions_);
    Require(discarded == model_.Close(), "Close: discarded");
    Check();
  }

  void Check() {
    Require(held_.count() == model_.held(), "how many are held");
    Require(assemblies_.open() == model_.open(), "how many are open");
    Require(assemblies_.budget().count() == model_.count(), "how many are counted");
    Require(assemblies_.budget().bytes() == model_.bytes(), "how many bytes are counted");
    Require(held_.MemoryBytes() <= HeldBytesMax(limits_), "memory");
  }

  std::span<const uint8_t> rest_;
  ReassemblyLimits limits_;
  std::set<std::string>& reached_;
  Reassembly assemblies_;
  HeldMessages held_;
  Model model_;
  Actions actions_;
  std::string difference_;
};

}  // namespace

std::string PlayHeld(std::span<const uint8_t> actions, const ReassemblyLimits& limits,
                     std::set<std::string>& reached) {
  return Play(actions, limits, reached).Run();
}

}  // namespace portproof
