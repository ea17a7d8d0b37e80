#include "props/naive_process.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace portproof {
namespace {

uint32_t Number(const std::string& bytes, size_t offset, size_t width) {
  uint32_t value = 0;
  for (size_t i = width; i > 0; --i) {
    value = value * 256 + static_cast<uint8_t>(bytes[offset + i - 1]);
  }
  return value;
}

bool DiscardsMessage(std::string_view rule) {
  for (const char* const one : {"RCV-1", "FRG-3", "FRG-8", "SHM-1", "SHM-2", "SHM-10", "SHM-14"}) {
    if (rule == one) return true;
  }
  return false;
}

}  // namespace

// ------------------------------------------------------------ the datagram

void NaiveProcess::Look(const Wire& wire) {
  has_header_ = wire.bytes.size() >= 16;
  names_ = list_ = tracked_ = false;
  references_.clear();
  chunks_.clear();
  if (!has_header_) return;
  now_.stream = Number(wire.bytes, 0, 4);
  now_.pid = static_cast<int32_t>(Number(wire.bytes, 4, 4));
  now_.reply_port = static_cast<uint16_t>(Number(wire.bytes, 8, 2));
  now_.type = static_cast<uint8_t>(wire.bytes[10]);
  now_.last = wire.bytes[11] != 0;
  nf_ = wire.bytes[13] != 0;
  mf_ = wire.bytes[14] != 0;
  now_.fds = wire.fds;
  now_.payload = wire.bytes.substr(16);
  now_.kinds.assign(now_.payload.size(), 'p');
  wire_bytes_ = now_.payload.size();
  sender_ = wire.credentials_pid != 0 ? wire.credentials_pid : now_.pid;
  names_ = wire.bytes[12] != 0 && now_.type != port_.read_queue_type;
  if (!names_) return;
  std::string list = now_.payload;
  const bool tracking = port_.has_tracking && wire.bytes[15] != 0;
  if (tracking && list.size() >= 8) {
    track_id_ = Number(list, 0, 4);
    track_slot_ = Number(list, 4, 4);
    list = list.substr(8);
  } else if (tracking) {
    return;
  }
  list_ = !list.empty() && list.size() % 12 == 0;
  if (!list_) return;
  tracked_ = tracking && !nf_;
  for (size_t at = 0; at < list.size(); at += 12) {
    references_.push_back({Number(list, at, 4), Number(list, at + 4, 4), Number(list, at + 8, 4)});
  }
  now_.payload = list;
  now_.kinds.assign(list.size(), 's');
}

const char* NaiveProcess::CheckFirst(const Wire& wire) const {
  if (wire.fds.size() > port_.fds_max || wire.rights_messages > 1) return "FDS-2";
  if (wire.control_truncated) return "RCV-1";
  if (wire.bytes.empty()) return "HDR-8";
  if (!has_header_) return "HDR-1";
  if (wire.truncated || wire.bytes.size() > port_.max_size + 16) return "RCV-1";
  if (now_.type >= port_.type_count) return "HDR-4";
  if (nf_ && !wire.fds.empty()) return "FDS-1";
  return nullptr;
}

void NaiveProcess::Receive(uint32_t port, const Wire& wire, Outcome& outcome) {
  outcome.Clear();
  Place& place = places_[port];
  if (wire.bytes.empty() && wire.fds.empty() && wire.hung_up) {
    outcome.ended = true;
    return;
  }
  Look(wire);
  if (const char* const rule = CheckFirst(wire)) {
    if (!wire.truncated) FreeNamed(outcome);
    Refuse(place, wire, rule, false, outcome);
    return;
  }
  const auto& free = port_.pid_free_types;
  if (sender_ != now_.pid && std::find(free.begin(), free.end(), now_.type) == free.end()) {
    auto& reported = place.reported;
    const std::pair pair(now_.pid, sender_);
    if (std::find(reported.begin(), reported.end(), pair) == reported.end()) {
      reported.push_back(pair);
      if (reported.size() > 16) reported.erase(reported.begin());
      outcome.reported.push_back("HDR-7");
    }
  }
  Admit(place, wire, false, outcome);
}

// From here on a datagram that was held goes the same way.
void NaiveProcess::Admit(Place& place, const Wire& wire, bool resumed, Outcome& outcome) {
  if (names_ && !list_) return Refuse(place, wire, "SHM-1", resumed, outcome);
  if (!resumed && port_.holds && Hold(place, wire, outcome)) return;
  if (names_) {
    std::vector<Chunks> good;
    const char* rule = Judge(good);
    if (rule == nullptr && tracked_) {
      Segment* const segment = Known(sender_, track_id_);
      const bool has_word =
          segment != nullptr && !segment->spoiled && track_slot_ < port_.tracking_slots;
      if (!has_word) rule = "SHM-14";
    }
    if (rule != nullptr) {
      Free(good, outcome);
      return Refuse(place, wire, rule, resumed, outcome);
    }
    chunks_ = good;
  }
  Assemble(place, wire, outcome);
}

bool NaiveProcess::Hold(Place& place, const Wire& wire, Outcome& outcome) {
  const bool follows = IsHeld(place, sender_, now_.stream);
  if (!names_ && (!follows || (now_.type == port_.mmap_type && !nf_ && !mf_))) return false;
  std::set<uint32_t> unknown;
  for (const Reference& reference : references_) {
    const bool known = Known(sender_, reference.id) != nullptr;
    if (!known && reference.id >= kWireIds) return false;
    if (!known) unknown.insert(reference.id);
  }
  if (unknown.empty() && !follows) return false;
  if (wire_bytes_ > port_.assembly_bytes || !HasQuota(place, sender_, 1, wire_bytes_)) {
    FreeNamed(outcome);
    Refuse(place, wire, "FRG-8", false, outcome);
    return true;
  }
  for (const uint32_t id : unknown) {
    const bool asked = std::any_of(place.held.begin(), place.held.end(), [&](const Held& held) {
      Look(held.wire);
      return held.waits.contains(id) &&
             sender_ == (wire.credentials_pid != 0
                             ? wire.credentials_pid
                             : static_cast<int32_t>(Number(wire.bytes, 4, 4)));
    });
    Look(wire);
    if (!asked) outcome.asks.emplace_back(sender_, id);
  }
  place.held.push_back({wire, unknown});
  outcome.kept = true;
  return true;
}

// ---------------------------------------------------------------- messages

void NaiveProcess::Assemble(Place& place, const Wire& wire, Outcome& outcome) {
  const int found = FindOpen(place, sender_, now_.stream);
  const bool cancelled = tracked_ && track_slot_ % 2 == 1;
  if (!nf_ && !mf_) {
    if (cancelled) {
      outcome.cancelled = true;
      outcome.closed = now_.fds;
      return Free(chunks_, outcome);
    }
    if (found >= 0) outcome.reported.push_back("FRG-6");
    return Finish(place, now_, chunks_, wire, outcome);
  }
  const char* rule = nullptr;
  if (!port_.takes_fragments) {
    rule = "FRG-10";
  } else if (!nf_) {
    rule = found >= 0 ? "FRG-1" : Begin(place, cancelled, outcome);
  } else if (found < 0) {
    rule = "FRG-2";
  } else {
    rule = Continue(place, static_cast<size_t>(found), wire, outcome);
  }
  if (rule == nullptr) return;
  Free(chunks_, outcome);
  outcome.refused = rule;
  outcome.closed.insert(outcome.closed.end(), wire.fds.begin(), wire.fds.end());
}

const char* NaiveProcess::Begin(Place& place, bool cancelled, Outcome& outcome) {
  const int32_t owner = port_.key_has_sender ? sender_ : now_.pid;
  if (wire_bytes_ > port_.assembly_bytes || !HasQuota(place, owner, 1, wire_bytes_)) return "FRG-8";
  if (wire_bytes_ == 0) outcome.reported.push_back("FRG-7");
  place.open.push_back(Open{sender_, now_, wire_bytes_, chunks_, cancelled});
  if (cancelled) {
    Open& open = place.open.back();
    outcome.cancelled = true;
    outcome.closed = now_.fds;
    Free(chunks_, outcome);
    open.message.fds.clear();
    open.wire_bytes = 0;
    open.chunks.clear();
  }
  return nullptr;
}

const char* NaiveProcess::Continue(Place& place, size_t index, const Wire& wire, Outcome& outcome) {
  Open& open = place.open[index];
  if (open.cancelled) {
    outcome.cancelled = true;
    Free(chunks_, outcome);
    if (!mf_) place.open.erase(place.open.begin() + static_cast<std::ptrdiff_t>(index));
    return nullptr;
  }
  const int32_t owner = port_.key_has_sender ? open.sender : open.message.pid;
  const char* discards = nullptr;
  if (now_.type != open.message.type) {
    discards = "FRG-3";
  } else if (open.wire_bytes + wire_bytes_ > port_.assembly_bytes ||
             !HasQuota(place, owner, 0, wire_bytes_)) {
    discards = "FRG-8";
  }
  if (discards != nullptr) {
    Discard(place, index, discards, outcome);
    return discards;
  }
  Message& message = open.message;
  if (now_.pid != message.pid || now_.reply_port != message.reply_port ||
      (message.last && !now_.last)) {
    outcome.reported.push_back("FRG-3");
  } else if (wire_bytes_ == 0) {
    outcome.reported.push_back("FRG-7");
  }
  message.last = message.last || now_.last;
  message.payload += now_.payload;
  message.kinds += now_.kinds;
  open.wire_bytes += wire_bytes_;
  open.chunks.insert(open.chunks.end(), chunks_.begin(), chunks_.end());
  if (mf_) return nullptr;
  const Open whole = open;
  place.open.erase(place.open.begin() + static_cast<std::ptrdiff_t>(index));
  Finish(place, whole.message, whole.chunks, wire, outcome);
  return nullptr;
}

void NaiveProcess::Finish(Place& place, Message message, std::vector<Chunks> chunks,
                          const Wire& wire, Outcome& outcome) {
  if (message.type == port_.mmap_type) {
    Free(chunks, outcome);
    Announce(message, wire.file, outcome);
    return;
  }
  if (message.type == port_.remove_pid_type && message.kinds == "pppp") {
    Die(place, static_cast<int32_t>(Number(message.payload, 0, 4)), outcome);
  }
  outcome.delivered = true;
  outcome.message = std::move(message);
  taken_.insert(taken_.end(), chunks.begin(), chunks.end());
}

void NaiveProcess::Announce(const Message& message, const SegmentFile& file, Outcome& outcome) {
  outcome.closed.insert(outcome.closed.end(), message.fds.begin(), message.fds.end());
  const int32_t sender = sender_;
  const bool good = message.fds.size() == 1 && file.right_size && (file.sealed || file.guarded) &&
                    file.source == sender && file.id < kWireIds &&
                    Known(sender, file.id) == nullptr && file.maps;
  if (!good) {
    outcome.refused = "SHM-8";
    return;
  }
  const std::tuple<int32_t, uint32_t> name(sender, file.id);
  const auto serial = std::count(announced_.begin(), announced_.end(), name);
  announced_.push_back(name);
  segments_.push_back({sender, file.id, static_cast<int>(serial), {}, {}, false, false});
  for (Place& place : places_) {
    for (Held& held : place.held) {
      Look(held.wire);
      if (sender_ == sender) held.waits.erase(file.id);
    }
  }
}

void NaiveProcess::GoOn(Outcome& outcome) {
  outcome.Clear();
  for (Place& place : places_) {
    std::set<std::pair<int32_t, uint32_t>> blocked;
    for (size_t i = 0; i < place.held.size(); ++i) {
      Look(place.held[i].wire);
      const std::pair key(sender_, now_.stream);
      if (!place.held[i].waits.empty() || blocked.contains(key)) {
        blocked.insert(key);
        continue;
      }
      const Wire wire = place.held[i].wire;
      place.held.erase(place.held.begin() + static_cast<std::ptrdiff_t>(i));
      return Admit(place, wire, true, outcome);
    }
  }
}

// ---------------------------------------------------------------- refusals

void NaiveProcess::Refuse(Place& place, const Wire& wire, const char* rule, bool resumed,
                          Outcome& outcome) {
  outcome.refused = rule;
  outcome.closed.insert(outcome.closed.end(), wire.fds.begin(), wire.fds.end());
  if (has_header_ && DiscardsMessage(rule)) Tear(place, rule, resumed, outcome);
}

void NaiveProcess::Tear(Place& place, const char* rule, bool resumed, Outcome& outcome) {
  const int32_t sender = sender_;
  const uint32_t stream = now_.stream;
  bool open_goes = true;
  size_t behind = 0;  // what finishes the message before
  for (size_t i = 0; !resumed && i < place.held.size(); ++i) {
    Look(place.held[i].wire);
    if (sender_ != sender || now_.stream != stream || !nf_ || mf_) continue;
    open_goes = false;
    behind = i + 1;
  }
  for (size_t i = behind; !resumed && i < place.held.size();) {
    Look(place.held[i].wire);
    const bool torn = sender_ == sender && now_.stream == stream && (nf_ || mf_);
    if (torn) DropHeld(place, i, outcome);
    if (!torn) ++i;
  }
  const int found = FindOpen(place, sender, stream);
  if (open_goes && found >= 0) Discard(place, static_cast<size_t>(found), rule, outcome);
}

void NaiveProcess::DropHeld(Place& place, size_t index, Outcome& outcome) {
  const Held held = place.held[index];
  place.held.erase(place.held.begin() + static_cast<std::ptrdiff_t>(index));
  Look(held.wire);
  FreeNamed(outcome);
  outcome.closed.insert(outcome.closed.end(), held.wire.fds.begin(), held.wire.fds.end());
}

void NaiveProcess::Discard(Place& place, size_t index, const char* rule, Outcome& outcome) {
  const Open open = place.open[index];
  place.open.erase(place.open.begin() + static_cast<std::ptrdiff_t>(index));
  outcome.discarded.push_back(rule);
  outcome.closed.insert(outcome.closed.end(), open.message.fds.begin(), open.message.fds.end());
  Free(open.chunks, outcome);
}

void NaiveProcess::Die(Place& place, int32_t sender, Outcome& outcome) {
  for (size_t i = 0; i < place.held.size();) {
    Look(place.held[i].wire);
    const bool goes = sender_ == sender;
    if (goes) DropHeld(place, i, outcome);
    if (!goes) ++i;
  }
  for (size_t i = place.open.size(); i > 0; --i) {
    const Open& open = place.open[i - 1];
    const int32_t owner = port_.key_has_sender ? open.sender : open.message.pid;
    if (owner == sender) Discard(place, i - 1, "FRG-9", outcome);
  }
  for (Segment& segment : segments_) segment.gone = segment.gone || segment.sender == sender;
  outcome.unmapped += std::erase_if(
      segments_, [](const Segment& segment) { return segment.gone && segment.held.empty(); });
}

void NaiveProcess::SenderDied(uint32_t port, int32_t sender, Outcome& outcome) {
  outcome.Clear();
  Die(places_[port], sender, outcome);
}

void NaiveProcess::Reopen(uint32_t port, Outcome& outcome) {
  outcome.Clear();
  Place& place = places_[port];
  while (!place.held.empty()) DropHeld(place, 0, outcome);
  while (!place.open.empty()) Discard(place, 0, "FRG-9", outcome);
  place = Place();
}

// ------------------------------------------------------------------- lists

int NaiveProcess::FindOpen(const Place& place, int32_t sender, uint32_t stream) const {
  for (size_t i = 0; i < place.open.size(); ++i) {
    const Open& open = place.open[i];
    if (open.message.stream != stream) continue;
    if (!port_.key_has_sender || open.sender == sender) return static_cast<int>(i);
  }
  return -1;
}

bool NaiveProcess::IsHeld(const Place& place, int32_t sender, uint32_t stream) const {
  for (const Held& held : place.held) {
    const std::string& bytes = held.wire.bytes;
    const int32_t of = held.wire.credentials_pid != 0 ? held.wire.credentials_pid
                                                      : static_cast<int32_t>(Number(bytes, 4, 4));
    if (of == sender && Number(bytes, 0, 4) == stream) return true;
  }
  return false;
}

// Half of what the others leave free.
bool NaiveProcess::HasQuota(const Place& place, int32_t owner, size_t more, size_t bytes) const {
  size_t own = more, own_bytes = bytes, others = 0, others_bytes = 0;
  const auto count = [&](int32_t of, size_t size) {
    (of == owner ? own : others) += 1;
    (of == owner ? own_bytes : others_bytes) += size;
  };
  for (const Open& open : place.open) {
    count(port_.key_has_sender ? open.sender : open.message.pid, open.wire_bytes);
  }
  for (const Held& held : place.held) {
    const std::string& wire = held.wire.bytes;
    count(held.wire.credentials_pid != 0 ? held.wire.credentials_pid
                                         : static_cast<int32_t>(Number(wire, 4, 4)),
          wire.size() - 16);
  }
  if (more > 0 && own > port_.open_per_sender) return false;
  if (more > 0 && own > (port_.open - others) / 2) return false;
  return own_bytes <= (port_.bytes - others_bytes) / 2;
}

uint64_t NaiveProcess::bytes(uint32_t port) const {
  uint64_t bytes = 0;
  for (const Open& open : places_[port].open) bytes += open.wire_bytes;
  for (const Held& held : places_[port].held) bytes += held.wire.bytes.size() - 16;
  return bytes;
}

// ---------------------------------------------------------------- segments

NaiveProcess::Segment* NaiveProcess::Known(int32_t sender, uint32_t id) {
  for (Segment& segment : segments_) {
    if (segment.sender == sender && segment.id == id && !segment.gone) return &segment;
  }
  return nullptr;
}

NaiveProcess::Segment* NaiveProcess::Newest(int32_t sender, uint32_t id) {
  Segment* newest = nullptr;
  for (Segment& segment : segments_) {
    if (segment.sender == sender && segment.id == id) newest = &segment;
  }
  return newest;
}

// The rule of the first bad reference; the good ones are held.
const char* NaiveProcess::Judge(std::vector<Chunks>& good) {
  const char* first_rule = nullptr;
  for (const Reference& reference : references_) {
    Segment* const segment = Known(sender_, reference.id);
    const char* rule = nullptr;
    const uint64_t end = uint64_t{reference.first} * kWireChunkBytes + reference.bytes;
    if (reference.id < kWireIds && segment == nullptr) {
      rule = "SHM-10";
    } else if (reference.id >= kWireIds || segment->spoiled || reference.bytes == 0 ||
               end > uint64_t{kWireChunks} * kWireChunkBytes) {
      rule = "SHM-2";
    }
    const uint64_t last = rule == nullptr ? (end - 1) / kWireChunkBytes : 0;
    for (uint64_t chunk = reference.first; rule == nullptr && chunk <= last; ++chunk) {
      const auto named = static_cast<uint32_t>(chunk);
      if (segment->free.contains(named) || segment->held.contains(named)) rule = "SHM-2";
    }
    if (rule != nullptr) {
      if (first_rule == nullptr) first_rule = rule;
      continue;
    }
    const auto count = static_cast<uint32_t>(last - reference.first + 1);
    for (uint32_t i = 0; i < count; ++i) segment->held.insert(reference.first + i);
    good.push_back({{sender_, reference.id, segment->serial, reference.first}, count});
  }
  return first_rule;
}

// They are the sender's again, and a dead one's segment goes with the last of them.
void NaiveProcess::Free(const std::vector<Chunks>& chunks, Outcome& outcome) {
  for (const Chunks& range : chunks) {
    const auto& [sender, id, serial, first] = range.first;
    for (size_t i = 0; i < segments_.size(); ++i) {
      Segment& segment = segments_[i];
      if (segment.sender != sender || segment.id != id || segment.serial != serial) continue;
      for (uint32_t chunk = first; chunk < first + range.count; ++chunk) {
        segment.held.erase(chunk);
        segment.free.insert(chunk);
        outcome.freed.emplace_back(sender, id, serial, chunk);
      }
      if (segment.gone && segment.held.empty()) {
        outcome.unmapped += 1;
        segments_.erase(segments_.begin() + static_cast<std::ptrdiff_t>(i));
      }
      break;
    }
  }
}

// Of a datagram that goes no further.
void NaiveProcess::FreeNamed(Outcome& outcome) {
  std::vector<Chunks> good;
  Judge(good);
  Free(good, outcome);
}

void NaiveProcess::Release(size_t which, Outcome& outcome) {
  outcome.Clear();
  if (taken_.empty()) return;
  const auto at = taken_.begin() + static_cast<std::ptrdiff_t>(which % taken_.size());
  const std::vector<Chunks> one = {*at};
  taken_.erase(at);
  Free(one, outcome);
}

void NaiveProcess::Take(int32_t sender, uint32_t id, uint32_t chunk) {
  if (Segment* const segment = Newest(sender, id)) segment->free.erase(chunk);
}

void NaiveProcess::Turn(int32_t sender, uint32_t id, uint32_t chunk) {
  Segment* const segment = Newest(sender, id);
  if (segment != nullptr && segment->free.erase(chunk) == 0) segment->free.insert(chunk);
}

void NaiveProcess::Spoil(int32_t sender, uint32_t id) {
  if (Segment* const segment = Newest(sender, id)) segment->spoiled = true;
}

size_t NaiveProcess::held_chunks() const {
  size_t count = 0;
  for (const Segment& segment : segments_) count += segment.held.size();
  return count;
}

}  // namespace portproof
