#include "protocol/reassembly.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "protocol/control.h"

namespace portproof {
namespace {

using enum Rule;
using Kind = Action::Kind;

void Refuse(Rule rule, uint32_t payload_bytes, Actions& actions) {
  Action& action = actions.emplace_back();
  action.kind = Kind::kRefuse;
  action.rule = rule;
  action.payload_bytes = payload_bytes;
}

// What the sender of an accepted fragment broke, if anything.
std::optional<Rule> BrokenBy(const Datagram& datagram, const Reassembly::Assembly& assembly) {
  const Header& header = datagram.header;
  const bool repeats = header.pid == assembly.pid && header.reply_port == assembly.reply_port &&
                       (header.last || !assembly.last);
  if (!repeats) return kFrg3;
  if (datagram.payload_bytes == 0) return kFrg7;
  return std::nullopt;
}

Header MessageHeader(uint32_t stream, const Reassembly::Assembly& assembly) {
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

Reassembly::Reassembly(const ReassemblyConfig& config) : config_(config) {
  static_assert(sizeof(Table::value_type) == 32);
}

uint32_t Reassembly::OpenOf(int32_t sender) const {
  const auto found = open_by_sender_.find(sender);
  return found == open_by_sender_.end() ? 0 : found->second;
}

const Reassembly::Assembly* Reassembly::Find(int32_t sender, uint32_t stream) const {
  const auto found = table_.find(KeyOf(sender, stream));
  return found == table_.end() ? nullptr : &found->second;
}

size_t Reassembly::MemoryBytes() const {
  return sizeof(Reassembly) + table_.capacity() * (sizeof(Table::value_type) + 1) +
         open_by_sender_.capacity() * (sizeof(std::pair<int32_t, uint32_t>) + 1) +
         free_slots_.capacity() * sizeof(uint32_t);
}

void Reassembly::Reserve(size_t open) {
  table_.reserve(open);
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
  const auto found = table_.find(key);
  if (found == table_.end()) {
    Refuse(kFrg2, datagram.payload_bytes, actions);
    return;
  }
  Continue(datagram, found, actions);
}

void Reassembly::Open(const Datagram& datagram, uint64_t key, Actions& actions) {
  const ReassemblyLimits& limits = config_.limits;
  const uint32_t bytes = datagram.payload_bytes;
  table_.prefetch(key);
  const int32_t owner = config_.key_has_sender ? datagram.sender : datagram.header.pid;
  const auto count = open_by_sender_.try_emplace(owner, 0).first;
  const bool fits = table_.size() < limits.open && count->second < limits.open_per_sender &&
                    bytes <= limits.assembly_bytes && bytes <= limits.bytes - bytes_;
  const auto [found, is_new] = fits ? table_.try_emplace(key) : std::pair(table_.find(key), false);
  if (!is_new) {
    Refuse(found != table_.end() ? kFrg1 : kFrg8, bytes, actions);
    if (count->second == 0) open_by_sender_.erase(count);
    return;
  }
  Assembly& assembly = found->second;
  Begin(datagram, assembly);
  ++count->second;
  bytes_ += bytes;
  Action& action = actions.emplace_back();
  action.kind = Kind::kOpen;
  action.slot = assembly.slot;
  action.payload_bytes = bytes;
  if (bytes == 0) action.rule = kFrg7;
  Place(bytes, assembly.room, action);
}

void Reassembly::Begin(const Datagram& datagram, Assembly& assembly) {
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
}

void Reassembly::Continue(const Datagram& datagram, Table::iterator found, Actions& actions) {
  Assembly& assembly = found->second;
  const Header& header = datagram.header;
  const uint32_t bytes = datagram.payload_bytes;
  if (header.type != assembly.type) {
    Refuse(kFrg3, bytes, actions);
    Discard(found, kFrg3, actions);
    return;
  }
  if (bytes > config_.limits.assembly_bytes - assembly.bytes ||
      bytes > config_.limits.bytes - bytes_) {
    Refuse(kFrg8, bytes, actions);
    Discard(found, kFrg8, actions);
    return;
  }
  Action& action = actions.emplace_back();
  action.rule = BrokenBy(datagram, assembly);
  action.slot = assembly.slot;
  assembly.last |= header.last;  // FRG-4
  assembly.bytes += bytes;
  assembly.fragments += 1;
  bytes_ += bytes;
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
  Erase(found);
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

void Reassembly::Discard(Table::iterator found, Rule rule, Actions& actions) {
  Action& action = actions.emplace_back();
  action.kind = Kind::kDiscard;
  action.rule = rule;
  action.slot = found->second.slot;
  action.fragments = found->second.fragments;
  action.payload_bytes = found->second.bytes;
  Erase(found);
}

void Reassembly::Erase(Table::iterator found) {
  const Assembly& assembly = found->second;
  const auto owner = open_by_sender_.find(OwnerOf(found->first, assembly));
  if (--owner->second == 0) open_by_sender_.erase(owner);
  bytes_ -= assembly.bytes;
  free_slots_.push_back(assembly.slot);
  table_.erase(found);
}

// In the order of their slots: the table's own order differs from run to run.
void Reassembly::DiscardSlots(std::vector<uint64_t>& keys, Actions& actions) {
  const auto slot = [this](uint64_t key) { return table_.find(key)->second.slot; };
  std::sort(keys.begin(), keys.end(),
            [&slot](uint64_t a, uint64_t b) { return slot(a) < slot(b); });
  for (const uint64_t key : keys) Discard(table_.find(key), kFrg9, actions);
}

void Step(Reassembly& state, const Refused& refused, Actions& actions) {
  actions.clear();
  Refuse(refused.rule, 0, actions);
  if (!Discards(refused.rule)) return;
  const auto found = state.table_.find(state.KeyOf(refused.sender, refused.stream));
  if (found != state.table_.end()) state.Discard(found, refused.rule, actions);
}

void Step(Reassembly& state, const SenderDied& died, Actions& actions) {
  actions.clear();
  if (state.OpenOf(died.sender) == 0) return;
  std::vector<uint64_t> keys;
  for (const auto& [key, assembly] : state.table_) {
    if (state.OwnerOf(key, assembly) == died.sender) keys.push_back(key);
  }
  state.DiscardSlots(keys, actions);
}

void Step(Reassembly& state, const Closed&, Actions& actions) {
  actions.clear();
  std::vector<uint64_t> keys;
  for (const auto& [key, assembly] : state.table_) keys.push_back(key);
  state.DiscardSlots(keys, actions);
}

void Step(Reassembly& state, const Event& event, Actions& actions) {
  std::visit([&](const auto& one) { Step(state, one, actions); }, event);
}

uint64_t MemoryBytesMax(const ReassemblyLimits& limits) {
  return 1024 + uint64_t{256} * limits.open + 8 * limits.bytes;
}

}  // namespace portproof
