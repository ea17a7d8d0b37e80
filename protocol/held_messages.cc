#include "protocol/held_messages.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

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

std::optional<Rule> HeldMessages::Hold(HeldMessage& message, std::span<const uint32_t> unknown,
                                       Budget& budget, std::vector<uint32_t>& ask) {
  const Datagram& datagram = message.datagram;
  assert(!unknown.empty() || MustFollow(datagram.sender, datagram.header.stream));
  ask.clear();
  if (!budget.Add(datagram.sender, datagram.payload_bytes)) return Rule::kFrg8;
  if (free_slots_.empty()) free_slots_.push_back(static_cast<uint32_t>(held_.size()));
  message.slot = free_slots_.back();
  free_slots_.pop_back();
  held_.push_back({message, {unknown.begin(), unknown.end()}});
  ++streams_[KeyOf(datagram.sender, datagram.header.stream)];
  for (const uint32_t id : unknown) {
    if (++wanted_[KeyOf(datagram.sender, id)] == 1) ask.push_back(id);
  }
  MarkReady(datagram.sender);
  return std::nullopt;
}

void HeldMessages::Leave(const Entry& entry, Budget& budget) {
  const Datagram& datagram = entry.message.datagram;
  free_slots_.push_back(entry.message.slot);
  budget.Remove(datagram.sender, datagram.payload_bytes);
  CountDown(streams_, KeyOf(datagram.sender, datagram.header.stream));
  for (const uint32_t id : entry.unknown) CountDown(wanted_, KeyOf(datagram.sender, id));
  ready_ -= entry.ready ? 1 : 0;
}

template <typename Goes>
void HeldMessages::DiscardIf(size_t from, Goes goes, Budget& budget,
                             std::vector<HeldMessage>& discarded) {
  discarded.clear();
  const auto first = held_.begin() + static_cast<std::ptrdiff_t>(from);
  const auto leaves = [&](Entry& entry) {
    if (!goes(entry.message.datagram)) return false;
    Leave(entry, budget);
    discarded.push_back(std::move(entry.message));
    return true;
  };
  held_.erase(std::remove_if(first, held_.end(), leaves), held_.end());
}

// Marks the datagrams of a sender that wait for no id and are behind none of their stream that
// does.
void HeldMessages::MarkReady(int32_t sender) {
  absl::flat_hash_set<uint32_t> blocked;  // streams with something that still waits
  for (Entry& entry : held_) {
    if (entry.message.datagram.sender != sender || entry.ready) continue;
    const uint32_t stream = entry.message.datagram.header.stream;
    if (!entry.unknown.empty() || blocked.contains(stream)) {
      blocked.insert(stream);
    } else {
      entry.ready = true;
      ++ready_;
    }
  }
}

void HeldMessages::Announced(int32_t sender, uint32_t id) {
  if (wanted_.erase(KeyOf(sender, id)) == 0) return;
  for (Entry& entry : held_) {
    if (entry.message.datagram.sender == sender) std::erase(entry.unknown, id);
  }
  MarkReady(sender);
}

HeldMessage HeldMessages::TakeReady(Budget& budget) {
  const auto entry =
      std::find_if(held_.begin(), held_.end(), [](const Entry& held) { return held.ready; });
  assert(entry != held_.end());
  Leave(*entry, budget);
  HeldMessage message = std::move(entry->message);
  held_.erase(entry);
  return message;
}

bool HeldMessages::Refuse(int32_t sender, uint32_t stream, Budget& budget,
                          std::vector<HeldMessage>& discarded) {
  const auto of_key = [&](const Datagram& datagram) {
    return datagram.sender == sender && datagram.header.stream == stream;
  };
  const auto finishes = [&](const Entry& entry) {
    const Datagram& datagram = entry.message.datagram;
    return of_key(datagram) && datagram.header.nf && !datagram.header.mf;
  };
  const auto last = std::find_if(held_.rbegin(), held_.rend(), finishes);
  const bool open_goes_too = last == held_.rend();
  const auto torn = [&](const Datagram& datagram) {  // messages of one datagram are whole
    return of_key(datagram) && !IsMessage(datagram.header);
  };
  DiscardIf(static_cast<size_t>(last.base() - held_.begin()), torn, budget, discarded);
  if (!discarded.empty()) MarkReady(sender);
  return open_goes_too;
}

void HeldMessages::SenderDied(int32_t sender, Budget& budget, std::vector<HeldMessage>& discarded) {
  const auto of_sender = [sender](const Datagram& datagram) { return datagram.sender == sender; };
  DiscardIf(0, of_sender, budget, discarded);
}

void HeldMessages::Close(Budget& budget, std::vector<HeldMessage>& discarded) {
  DiscardIf(
      0, [](const Datagram&) { return true; }, budget, discarded);
}

size_t HeldMessages::MemoryBytes() const {
  size_t bytes = sizeof(HeldMessages) + held_.capacity() * sizeof(Entry) + BytesOf(streams_) +
                 BytesOf(wanted_) + free_slots_.capacity() * sizeof(uint32_t);
  for (const Entry& entry : held_) {
    bytes += entry.unknown.capacity() * sizeof(uint32_t);
    if (entry.message.named) bytes += entry.message.named->references.capacity() * kReferenceBytes;
  }
  return bytes;
}

// Vectors and tables up to four times too large: of entries, slots and streams for each
// thing held; of ids for each reference of 12 bytes; and the references themselves.
uint64_t HeldBytesMax(const ReassemblyLimits& limits) {
  return 1024 + uint64_t{512} * limits.open + 6 * limits.bytes;
}

std::string ToString(const HeldMessages& held) {
  std::string text;
  for (const HeldMessages::Entry& entry : held.held_) {
    const Datagram& datagram = entry.message.datagram;
    absl::StrAppend(&text, "held ", entry.message.slot, " from ", datagram.sender, ": ",
                    ToString(datagram.header), ", ", datagram.payload_bytes, " bytes",
                    entry.ready ? ", ready" : "", entry.unknown.empty() ? "" : ", waits for ",
                    absl::StrJoin(entry.unknown, " "), "\n");
  }
  return text;
}

}  // namespace portproof
