#include "protocol/held_messages.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace portproof {

bool HeldMessages::Fits(const HeldMessage& message, const Usage& usage) const {
  const auto of_sender = of_sender_.find(message.sender);
  const uint64_t held_of_sender = of_sender == of_sender_.end() ? 0 : of_sender->second;
  return usage.open_of_sender + held_of_sender < limits_.open_per_sender &&
         usage.open + held_.size() < limits_.open && message.bytes <= limits_.assembly_bytes &&
         usage.bytes + bytes_ + message.bytes <= limits_.bytes;
}

std::optional<Rule> HeldMessages::Hold(const HeldMessage& message,
                                       std::span<const uint32_t> unknown, const Usage& usage,
                                       uint32_t& slot, std::vector<uint32_t>& ask) {
  assert(!unknown.empty() || MustFollow(message.sender, message.stream));
  ask.clear();
  if (!Fits(message, usage)) return Rule::kFrg8;
  if (free_slots_.empty()) free_slots_.push_back(static_cast<uint32_t>(held_.size()));
  slot = free_slots_.back();
  free_slots_.pop_back();
  held_.push_back({message, slot, {unknown.begin(), unknown.end()}});
  ++streams_[KeyOf(message.sender, message.stream)];
  ++of_sender_[message.sender];
  bytes_ += message.bytes;
  for (const uint32_t id : unknown) {
    if (asked_.insert(KeyOf(message.sender, id)).second) ask.push_back(id);
  }
  return std::nullopt;
}

void HeldMessages::Leave(const Entry& entry, std::vector<uint32_t>& slots) {
  const HeldMessage& message = entry.message;
  slots.push_back(entry.slot);
  free_slots_.push_back(entry.slot);
  bytes_ -= message.bytes;
  const auto stream = streams_.find(KeyOf(message.sender, message.stream));
  if (--stream->second == 0) streams_.erase(stream);
  const auto sender = of_sender_.find(message.sender);
  if (--sender->second == 0) of_sender_.erase(sender);
}

void HeldMessages::Announced(int32_t sender, uint32_t id, std::vector<uint32_t>& resumed) {
  resumed.clear();
  asked_.erase(KeyOf(sender, id));
  absl::flat_hash_set<uint32_t> blocked;  // streams with something that still waits
  const auto goes_on = [&](Entry& entry) {
    if (entry.message.sender != sender) return false;
    std::erase(entry.unknown, id);
    if (!entry.unknown.empty() || blocked.contains(entry.message.stream)) {
      blocked.insert(entry.message.stream);
      return false;
    }
    Leave(entry, resumed);
    return true;
  };
  held_.erase(std::remove_if(held_.begin(), held_.end(), goes_on), held_.end());
}

void HeldMessages::SenderDied(int32_t sender, std::vector<uint32_t>& discarded) {
  discarded.clear();
  const auto goes = [&](const Entry& entry) {
    if (entry.message.sender != sender) return false;
    Leave(entry, discarded);
    return true;
  };
  held_.erase(std::remove_if(held_.begin(), held_.end(), goes), held_.end());
  absl::erase_if(asked_, [sender](uint64_t key) { return KeyOf(sender, 0) >> 32 == key >> 32; });
}

void HeldMessages::Close(std::vector<uint32_t>& discarded) {
  discarded.clear();
  for (const Entry& entry : held_) Leave(entry, discarded);
  held_.clear();
  asked_.clear();
}

}  // namespace portproof
