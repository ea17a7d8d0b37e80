#include "protocol/held_messages.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace portproof {
namespace {

using Counts = absl::flat_hash_map<uint64_t, uint32_t>;

void CountDown(Counts& counts, uint64_t key) {
  const auto found = counts.find(key);
  if (--found->second == 0) counts.erase(found);
}

// A slot and a byte of control for each place, and a group more of these.
size_t BytesOf(const Counts& counts) {
  return counts.capacity() * (sizeof(Counts::value_type) + 1) + 16;
}

}  // namespace

bool HeldMessages::IsHeld(int32_t sender, uint32_t stream) const {
  return streams_.contains(KeyOf(sender, stream));
}

std::optional<Rule> HeldMessages::Hold(const HeldMessage& message,
                                       std::span<const uint32_t> unknown, Budget& budget,
                                       uint32_t& slot, std::vector<uint32_t>& ask) {
  assert(!unknown.empty() || MustFollow(message.sender, message.stream));
  ask.clear();
  Budget::Sender& sender = budget.SenderOf(message.sender);
  if (!budget.Admits(sender, message.bytes)) return Rule::kFrg8;
  budget.Add(sender, message.bytes);
  if (free_slots_.empty()) free_slots_.push_back(static_cast<uint32_t>(held_.size()));
  slot = free_slots_.back();
  free_slots_.pop_back();
  held_.push_back({message, slot, {unknown.begin(), unknown.end()}});
  ++streams_[KeyOf(message.sender, message.stream)];
  for (const uint32_t id : unknown) {
    if (++wanted_[KeyOf(message.sender, id)] == 1) ask.push_back(id);
  }
  return std::nullopt;
}

void HeldMessages::Leave(const Entry& entry, Budget& budget, std::vector<uint32_t>& slots) {
  const HeldMessage& message = entry.message;
  slots.push_back(entry.slot);
  free_slots_.push_back(entry.slot);
  budget.Remove(message.sender, message.bytes);
  CountDown(streams_, KeyOf(message.sender, message.stream));
  for (const uint32_t id : entry.unknown) CountDown(wanted_, KeyOf(message.sender, id));
}

// Those of a sender that wait for nothing any more, themselves or in front of them.
void HeldMessages::GoOn(int32_t sender, Budget& budget, std::vector<uint32_t>& resumed) {
  absl::flat_hash_set<uint32_t> blocked;  // streams with something that still waits
  const auto goes_on = [&](const Entry& entry) {
    if (entry.message.sender != sender) return false;
    if (!entry.unknown.empty() || blocked.contains(entry.message.stream)) {
      blocked.insert(entry.message.stream);
      return false;
    }
    Leave(entry, budget, resumed);
    return true;
  };
  held_.erase(std::remove_if(held_.begin(), held_.end(), goes_on), held_.end());
}

void HeldMessages::Announced(int32_t sender, uint32_t id, Budget& budget,
                             std::vector<uint32_t>& resumed) {
  resumed.clear();
  if (wanted_.erase(KeyOf(sender, id)) == 0) return;
  for (Entry& entry : held_) {
    if (entry.message.sender == sender) std::erase(entry.unknown, id);
  }
  GoOn(sender, budget, resumed);
}

bool HeldMessages::Refuse(int32_t sender, uint32_t stream, Budget& budget,
                          std::vector<uint32_t>& discarded, std::vector<uint32_t>& resumed) {
  discarded.clear();
  resumed.clear();
  const auto of_key = [&](const HeldMessage& message) {
    return message.sender == sender && message.stream == stream;
  };
  const auto finishes = [&](const Entry& entry) {
    return of_key(entry.message) && entry.message.nf && !entry.message.mf;
  };
  const auto last = std::find_if(held_.rbegin(), held_.rend(), finishes);
  const bool open_goes_too = last == held_.rend();
  const auto torn = [&](const Entry& entry) {  // messages of one datagram are whole
    if (!of_key(entry.message) || !(entry.message.nf || entry.message.mf)) return false;
    Leave(entry, budget, discarded);
    return true;
  };
  held_.erase(std::remove_if(last.base(), held_.end(), torn), held_.end());
  if (!discarded.empty()) GoOn(sender, budget, resumed);
  return open_goes_too;
}

void HeldMessages::SenderDied(int32_t sender, Budget& budget, std::vector<uint32_t>& discarded) {
  discarded.clear();
  const auto goes = [&](const Entry& entry) {
    if (entry.message.sender != sender) return false;
    Leave(entry, budget, discarded);
    return true;
  };
  held_.erase(std::remove_if(held_.begin(), held_.end(), goes), held_.end());
}

void HeldMessages::Close(Budget& budget, std::vector<uint32_t>& discarded) {
  discarded.clear();
  for (const Entry& entry : held_) Leave(entry, budget, discarded);
  held_.clear();
}

size_t HeldMessages::MemoryBytes() const {
  size_t bytes = sizeof(HeldMessages) + held_.capacity() * sizeof(Entry) + BytesOf(streams_) +
                 BytesOf(wanted_) + free_slots_.capacity() * sizeof(uint32_t);
  for (const Entry& entry : held_) bytes += entry.unknown.capacity() * sizeof(uint32_t);
  return bytes;
}

// Vectors and tables up to four times too large: of entries, slots and streams for each
// thing held; of ids for each reference of 12 bytes.
uint64_t HeldBytesMax(const ReassemblyLimits& limits) {
  return 1024 + uint64_t{256} * limits.open + 4 * limits.bytes;
}

}  // namespace portproof
