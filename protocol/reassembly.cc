#include "protocol/reassembly.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "protocol/control.h"

namespace portproof {
namespace {

using enum Rule;
using Kind = Action::Kind;

// No limit counts empty fragments, and an entry of none is free: the count stops there.
constexpr uint32_t kFragmentsMost = std::numeric_limits<uint32_t>::max();

void Refuse(Rule rule, uint32_t payload_bytes, Actions& actions) {
  Action& action = actions.emplace_back();
  action.kind = Kind::kRefuse;
  action.rule = rule;
  action.payload_bytes = payload_bytes;
}

// What the sender of an accepted fragment broke, if anything.
std::optional<Rule> BrokenBy(const Datagram& datagram, const Assembly& assembly) {
  const Header& header = datagram.header;
  const bool repeats = header.pid == assembly.pid && header.reply_port == assembly.reply_port &&
                       (header.last || !assembly.last);
  if (!repeats) return kFrg3;
  if (datagram.payload_bytes == 0) return kFrg7;
  return std::nullopt;
}

Header MessageHeader(uint32_t stream, const Assembly& assembly) {
  Header header;
  header.stream = stream;
  header.pid = assembly.pid;
  header.reply_port = assembly.reply_port;
  header.type = assembly.type;
  header.last = assembly.last;
  header.mmap = assembly.mmap;
  return header;
}

}  // namespace

ReassemblyConfig ConfigFor(const Profile& profile, uint32_t max_size) {
  ReassemblyConfig config;
  config.key_has_sender = profile.key_has_sender;
  config.buffer_bytes = static_cast<uint32_t>(DatagramBytesMax(max_size));
  return config;
}

Reassembly::Reassembly(const ReassemblyConfig& config) : config_(config), budget_(config.limits) {}

const Assembly* Reassembly::Find(int32_t sender, uint32_t stream) const {
  const Entry* entry = table_.Find(KeyOf(sender, stream));
  return entry == nullptr ? nullptr : &entry->assembly;
}

size_t Reassembly::MemoryBytes() const {
  return sizeof(Reassembly) + table_.MemoryBytes() + budget_.MemoryBytes() +
         free_slots_.capacity() * sizeof(uint32_t);
}

void Reassembly::Reserve(size_t open) {
  table_.Reserve(open);
  free_slots_.reserve(open);
}

void Reassembly::StepFragment(const Datagram& datagram, Actions& actions) {
  if (!config_.takes_fragments) {
    Refuse(kFrg10, datagram.payload_bytes, actions);
    return;
  }
  const uint64_t key = KeyOf(datagram.sender, datagram.header.stream);
  if (!datagram.header.nf) {
    Open(datagram, key, actions);
    return;
  }
  Entry* entry = table_.Find(key);
  if (entry == nullptr) {
    Refuse(kFrg2, datagram.payload_bytes, actions);
    return;
  }
  Continue(datagram, *entry, actions);
}

void Reassembly::Open(const Datagram& datagram, uint64_t key, Actions& actions) {
  const uint32_t bytes = datagram.payload_bytes;
  const int32_t owner = config_.key_has_sender ? datagram.sender : datagram.header.pid;
  Budget::Sender& sender = budget_.SenderOf(owner);
  const bool fits = budget_.Admits(sender, bytes);
  Entry* entry = fits ? &table_.Place(key) : table_.Find(key);
  if (!fits || !entry->IsFree()) {
    Refuse(entry != nullptr ? kFrg1 : kFrg8, bytes, actions);
    return;
  }
  Begin(datagram, entry->assembly);
  table_.Placed();
  budget_.Add(sender, bytes);
  Action& action = actions.emplace_back();
  action.kind = Kind::kOpen;
  action.slot = entry->assembly.slot;
  action.payload_bytes = bytes;
  if (bytes == 0) action.rule = kFrg7;
  Place(bytes, entry->assembly.room, action);
}

void Reassembly::Begin(const Datagram& datagram, Assembly& assembly) {
  assembly.pid = datagram.header.pid;
  assembly.reply_port = datagram.header.reply_port;
  assembly.type = datagram.header.type;
  assembly.last = datagram.header.last;
  assembly.mmap = datagram.header.mmap;
  assembly.cancelled = false;
  assembly.bytes = datagram.payload_bytes;
  assembly.fragments = 1;
  assembly.room = 0;
  if (free_slots_.empty()) {
    assembly.slot = next_slot_++;
  } else {
    assembly.slot = free_slots_.back();
    free_slots_.pop_back();
  }
}

void Reassembly::Continue(const Datagram& datagram, Entry& entry, Actions& actions) {
  Assembly& assembly = entry.assembly;
  const Header& header = datagram.header;
  const uint32_t bytes = datagram.payload_bytes;
  if (assembly.cancelled) {  // SHM-14
    Action& action = actions.emplace_back();
    action.kind = Kind::kDrop;
    action.slot = assembly.slot;
    action.payload_bytes = bytes;
    if (!header.mf) Erase(entry);
    return;
  }
  if (header.type != assembly.type) {
    Refuse(kFrg3, bytes, actions);
    Discard(entry, kFrg3, actions);
    return;
  }
  Budget::Sender& sender = budget_.SenderOf(OwnerOf(entry));
  if (!budget_.AdmitsMore(sender, assembly.bytes, bytes)) {
    Refuse(kFrg8, bytes, actions);
    Discard(entry, kFrg8, actions);
    return;
  }
  Action& action = actions.emplace_back();
  action.rule = BrokenBy(datagram, assembly);
  action.slot = assembly.slot;
  assembly.last |= header.last;  // FRG-4
  assembly.bytes += bytes;
  if (assembly.fragments != kFragmentsMost) assembly.fragments += 1;
  budget_.Grow(sender, bytes);
  if (header.mf) {
    action.kind = Kind::kAppend;
    action.fragments = assembly.fragments;
    action.payload_bytes = bytes;
    Place(bytes, assembly.room, action);
    return;
  }
  action.kind = Kind::kFinish;
  action.storage = bytes == 0 ? Storage::kNone : Storage::kKeep;  // it leaves at once
  action.fragments = assembly.fragments;
  action.payload_bytes = assembly.bytes;
  action.header = MessageHeader(header.stream, assembly);
  Erase(entry);
}

void Reassembly::Place(uint32_t payload_bytes, uint32_t& room, Action& action) const {
  if (payload_bytes == 0) {
    action.storage = Storage::kNone;
  } else if (payload_bytes >= config_.buffer_bytes / 2) {  // large: never copied
    action.storage = Storage::kKeep;
    room = config_.buffer_bytes - std::min(payload_bytes, config_.buffer_bytes);
  } else if (payload_bytes <= room) {
    action.storage = Storage::kTail;
    room -= payload_bytes;
  } else {
    action.storage = Storage::kSlab;
    action.slab_bytes = std::bit_ceil(std::max(payload_bytes, kSlabBytesMin));
    room = action.slab_bytes - payload_bytes;
  }
}

void Reassembly::Discard(Entry& entry, Rule rule, Actions& actions) {
  Action& action = actions.emplace_back();
  action.kind = Kind::kDiscard;
  action.rule = rule;
  action.slot = entry.assembly.slot;
  action.fragments = entry.assembly.fragments;
  action.payload_bytes = entry.assembly.bytes;
  Erase(entry);
}

void Reassembly::Erase(Entry& entry) {
  budget_.Remove(OwnerOf(entry), entry.assembly.bytes);
  free_slots_.push_back(entry.assembly.slot);
  table_.Close(entry);
}

// In the order of their slots: the table's own order differs from run to run.
template <typename Wanted>
void Reassembly::DiscardAll(Wanted wanted, Actions& actions) {
  std::vector<std::pair<uint32_t, uint64_t>> slots_and_keys;
  table_.ForEach([&](const Entry& entry) {
    if (wanted(entry)) slots_and_keys.emplace_back(entry.assembly.slot, entry.key);
  });
  std::sort(slots_and_keys.begin(), slots_and_keys.end());
  for (const auto& [slot, key] : slots_and_keys) Discard(*table_.Find(key), kFrg9, actions);
}

void Step(Reassembly& state, const Refused& refused, Actions& actions) {
  actions.clear();
  Refuse(refused.rule, 0, actions);
  if (!Discards(refused.rule)) return;
  Reassembly::Entry* entry = state.table_.Find(state.KeyOf(refused.sender, refused.stream));
  if (entry != nullptr) state.Discard(*entry, refused.rule, actions);
}

void Step(Reassembly& state, const SenderDied& died, Actions& actions) {
  actions.clear();
  if (state.budget_.CountOf(died.sender) == 0) return;
  state.DiscardAll(
      [&](const Reassembly::Entry& entry) { return state.OwnerOf(entry) == died.sender; }, actions);
}

void Step(Reassembly& state, const Closed&, Actions& actions) {
  actions.clear();
  state.DiscardAll([](const Reassembly::Entry&) { return true; }, actions);
}

void Step(Reassembly& state, const Cancelled& cancelled, Actions& actions) {
  actions.clear();
  Reassembly::Entry* entry = state.table_.Find(state.KeyOf(cancelled.sender, cancelled.stream));
  assert(entry != nullptr && !entry->assembly.cancelled);
  Assembly& assembly = entry->assembly;
  Action& action = actions.emplace_back();
  action.kind = Kind::kCancel;
  action.slot = assembly.slot;
  action.payload_bytes = assembly.bytes;
  state.budget_.Shrink(state.budget_.SenderOf(state.OwnerOf(*entry)), assembly.bytes);
  assembly.cancelled = true;
  assembly.bytes = 0;
  assembly.room = 0;
}

void Step(Reassembly& state, const ReassemblyEvent& event, Actions& actions) {
  std::visit([&](const auto& one) { Step(state, one, actions); }, event);
}

// For each assembly allowed: a table entry and a counter in tables up to four times
// too large, a slot, a slab and the first stretches. For each byte of payload:
//   - 4 of capacity. A buffer holds at least half of what it could, or together with
//     the next one more than it could alone.
//   - 4 for stretches. A plain byte and a reference of twelve in turn begin two of them
//     for 13 bytes; two buffers in a row hold more than a slab of the smallest.
uint64_t MemoryBytesMax(const ReassemblyLimits& limits) {
  constexpr uint64_t kAssemblyBytes = 4 * sizeof(Reassembly::Entry) + 4 * sizeof(Budget::Sender) +
                                      2 * sizeof(uint32_t) + kSlabBytesMin +
                                      uint64_t{2} * kChainEntryBytes;
  return 1024 + kAssemblyBytes * limits.open + 8 * limits.bytes;
}

}  // namespace portproof
