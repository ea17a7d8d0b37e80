#include "protocol/reassembly.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace portproof {
namespace {

using enum Rule;
using Kind = ReceiveAction::Kind;

// No limit bounds the number of empty fragments, so the count saturates.
constexpr uint32_t kFragmentsMost = std::numeric_limits<uint32_t>::max();

void Refuse(Rule rule, uint32_t payload_bytes, ReceiveActions& actions) {
  actions.push_back({.kind = Kind::kRefuse, .rule = rule, .payload_bytes = payload_bytes});
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

Reassembly::Reassembly(const ReassemblyConfig& config) : config_(config), budget_(config.limits) {}

const Assembly* Reassembly::Find(int32_t sender, uint32_t stream) const {
  const auto entry = table_.find(KeyOf(sender, stream));
  return entry == table_.end() ? nullptr : &entry->second;
}

size_t Reassembly::MemoryBytes() const {
  return sizeof(Reassembly) + table_.capacity() * kPlaceBytes + budget_.MemoryBytes() +
         free_slots_.capacity() * sizeof(uint32_t);
}

void Reassembly::Take(const Datagram& datagram, ReceiveActions& actions) {
  const Header& header = datagram.header;
  const uint32_t bytes = datagram.payload_bytes;
  const uint64_t key = KeyOf(datagram.sender, header.stream);
  const auto entry = table_.empty() ? table_.end() : table_.find(key);
  const bool open = entry != table_.end();
  if (IsMessage(header)) {
    ReceiveAction& action = actions.emplace_back();
    action.sender = datagram.sender;
    action.payload_bytes = bytes;
    action.header = header;
    if (open) action.rule = kFrg6;
  } else if (!config_.takes_fragments) {
    Refuse(kFrg10, bytes, actions);
  } else if (!header.nf) {
    if (open) return Refuse(kFrg1, bytes, actions);
    Open(datagram, key, actions);
  } else {
    if (!open) return Refuse(kFrg2, bytes, actions);
    Continue(datagram, entry, actions);
  }
}

void Reassembly::Open(const Datagram& datagram, uint64_t key, ReceiveActions& actions) {
  const uint32_t bytes = datagram.payload_bytes;
  const int32_t owner = config_.key_has_sender ? datagram.sender : datagram.header.pid;
  if (!budget_.Add(owner, bytes)) return Refuse(kFrg8, bytes, actions);
  Assembly& assembly = table_[key];
  assembly = Begin(datagram);
  ReceiveAction& action = actions.emplace_back();
  action.kind = Kind::kOpen;
  action.slot = assembly.slot;
  action.sender = datagram.sender;
  action.payload_bytes = bytes;
  if (bytes == 0) action.rule = kFrg7;
  Place(bytes, assembly.room, action);
}

Assembly Reassembly::Begin(const Datagram& datagram) {
  Assembly assembly;
  assembly.pid = datagram.header.pid;
  assembly.reply_port = datagram.header.reply_port;
  assembly.type = datagram.header.type;
  assembly.last = datagram.header.last;
  assembly.mmap = datagram.header.mmap;
  assembly.bytes = datagram.payload_bytes;
  assembly.fragments = 1;
  if (free_slots_.empty()) {
    assembly.slot = next_slot_++;
  } else {
    assembly.slot = free_slots_.back();
    free_slots_.pop_back();
  }
  return assembly;
}

void Reassembly::Continue(const Datagram& datagram, Table::iterator entry,
                          ReceiveActions& actions) {
  Assembly& assembly = entry->second;
  const Header& header = datagram.header;
  const uint32_t bytes = datagram.payload_bytes;
  if (assembly.cancelled) {  // SHM-14
    actions.push_back({.kind = Kind::kDrop, .slot = assembly.slot, .payload_bytes = bytes});
    if (!header.mf) Erase(entry);
    return;
  }
  const int32_t owner = OwnerOf(entry->first, assembly);
  const bool same_type = header.type == assembly.type;
  if (!same_type || !budget_.Grow(owner, assembly.bytes, bytes)) {
    const Rule rule = same_type ? kFrg8 : kFrg3;
    Refuse(rule, bytes, actions);
    DiscardEntry(entry, rule, actions);
    return;
  }
  ReceiveAction& action = actions.emplace_back();
  action.rule = BrokenBy(datagram, assembly);
  action.slot = assembly.slot;
  action.sender = datagram.sender;
  assembly.last |= header.last;  // FRG-4
  assembly.bytes += bytes;
  if (assembly.fragments != kFragmentsMost) assembly.fragments += 1;
  action.fragments = assembly.fragments;
  if (header.mf) {
    action.kind = Kind::kAppend;
    action.payload_bytes = bytes;
    Place(bytes, assembly.room, action);
    return;
  }
  action.kind = Kind::kFinish;
  action.storage = bytes == 0 ? Storage::kNone : Storage::kKeep;  // it leaves at once
  action.payload_bytes = assembly.bytes;
  action.header = MessageHeader(header.stream, assembly);
  Erase(entry);
}

void Reassembly::Place(uint32_t payload_bytes, uint32_t& room, ReceiveAction& action) const {
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

void Reassembly::DiscardEntry(Table::iterator entry, Rule rule, ReceiveActions& actions) {
  const Assembly& assembly = entry->second;
  actions.push_back({.kind = Kind::kDiscard,
                     .rule = rule,
                     .slot = assembly.slot,
                     .fragments = assembly.fragments,
                     .payload_bytes = assembly.bytes});
  Erase(entry);
}

void Reassembly::Erase(Table::iterator entry) {
  budget_.Remove(OwnerOf(entry->first, entry->second), entry->second.bytes);
  free_slots_.push_back(entry->second.slot);
  table_.erase(entry);
}

// Discards in the order of slots, since the table's own order differs from run to run.
template <typename Wanted>
void Reassembly::DiscardAll(Wanted wanted, ReceiveActions& actions) {
  std::vector<std::pair<uint32_t, uint64_t>> slots_and_keys;
  for (const auto& [key, assembly] : table_) {
    if (wanted(OwnerOf(key, assembly))) slots_and_keys.emplace_back(assembly.slot, key);
  }
  std::sort(slots_and_keys.begin(), slots_and_keys.end());
  for (const auto& [slot, key] : slots_and_keys) DiscardEntry(table_.find(key), kFrg9, actions);
}

void Reassembly::Discard(int32_t sender, uint32_t stream, Rule rule, ReceiveActions& actions) {
  const auto entry = table_.find(KeyOf(sender, stream));
  if (entry != table_.end()) DiscardEntry(entry, rule, actions);
}

void Reassembly::SenderDied(int32_t sender, ReceiveActions& actions) {
  if (budget_.CountOf(sender) == 0) return;
  DiscardAll([sender](int32_t owner) { return owner == sender; }, actions);
}

void Reassembly::Close(ReceiveActions& actions) {
  DiscardAll([](int32_t) { return true; }, actions);
}

void Reassembly::Cancel(int32_t sender, uint32_t stream, ReceiveActions& actions) {
  const auto entry = table_.find(KeyOf(sender, stream));
  assert(entry != table_.end() && !entry->second.cancelled);
  Assembly& assembly = entry->second;
  actions.push_back(
      {.kind = Kind::kCancel, .slot = assembly.slot, .payload_bytes = assembly.bytes});
  budget_.Shrink(OwnerOf(entry->first, assembly), assembly.bytes);
  assembly.cancelled = true;
  assembly.bytes = 0;
  assembly.room = 0;
}

// For each assembly allowed: a table entry and a counter in tables up to four times
// too large, a slot, a slab and the first stretches. For each byte of payload:
//   - 4 of capacity. A buffer holds at least half of what it could, or together with
//     the next one more than it could alone.
//   - 4 for stretches. A plain byte and a reference of twelve in turn begin two of them
//     for 13 bytes; two buffers in a row hold more than a slab of the smallest.
uint64_t MemoryBytesMax(const ReassemblyLimits& limits) {
  constexpr uint64_t kTableBytes = Reassembly::kPlaceBytes + Budget::kPlaceBytes;
  constexpr uint64_t kAssemblyBytes =
      4 * kTableBytes + 2 * sizeof(uint32_t) + kSlabBytesMin + uint64_t{2} * kChainEntryBytes;
  return 1024 + kAssemblyBytes * limits.open + 8 * limits.bytes;
}

// One line for the whole, one for each open assembly, by slot.
std::string ToString(const Reassembly& state) {
  std::string text = absl::StrCat(state.open(), " open, ", state.budget().bytes(), " bytes\n");
  std::vector<std::pair<uint32_t, std::string>> lines;
  for (const auto& [key, assembly] : state.table_) {
    lines.emplace_back(
        assembly.slot,
        absl::StrCat("slot ", assembly.slot, " sender ", state.OwnerOf(key, assembly), " stream ",
                     static_cast<uint32_t>(key), " type ", static_cast<int>(assembly.type),
                     assembly.last ? " last" : "", assembly.cancelled ? " cancelled" : "",
                     " fragments ", assembly.fragments, " bytes ", assembly.bytes, " room ",
                     assembly.room, "\n"));
  }
  std::sort(lines.begin(), lines.end());
  for (const auto& [slot, line] : lines) text += line;
  return text;
}

}  // namespace portproof
