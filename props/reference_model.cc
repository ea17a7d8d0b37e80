#include "props/reference_model.h"

namespace portproof {
namespace {

uint32_t Number(const std::string& bytes, size_t offset, int width) {
  uint32_t value = 0;
  for (int i = width - 1; i >= 0; --i) {
    value = value * 256 + static_cast<uint8_t>(bytes[offset + static_cast<size_t>(i)]);
  }
  return value;
}

bool IsGoodReference(const std::string& bytes, size_t offset) {
  const uint64_t chunk = Number(bytes, offset + 4, 4);
  const uint64_t count = Number(bytes, offset + 8, 4);
  return count > 0 && chunk < 640 && chunk * 16384 + count <= uint64_t{640} * 16384;
}

// "SHM-1", "SHM-2", or nothing.
const char* CheckReferences(const Wire& wire, bool tracking) {
  const size_t begin = 16 + (tracking ? 8 : 0);
  if (wire.bytes.size() <= begin || (wire.bytes.size() - begin) % 12 != 0) return "SHM-1";
  for (size_t offset = begin; offset < wire.bytes.size(); offset += 12) {
    if (!IsGoodReference(wire.bytes, offset)) return "SHM-2";
    const uint32_t first = Number(wire.bytes, offset + 4, 4);
    const uint32_t last = first + (Number(wire.bytes, offset + 8, 4) - 1) / 16384;
    for (size_t other = begin; other < offset; other += 12) {
      const uint32_t other_first = Number(wire.bytes, other + 4, 4);
      const uint32_t other_last = other_first + (Number(wire.bytes, other + 8, 4) - 1) / 16384;
      const bool same_segment = Number(wire.bytes, other, 4) == Number(wire.bytes, offset, 4);
      if (same_segment && first <= other_last && other_first <= last) return "SHM-2";
    }
  }
  return nullptr;
}

void Parse(const Wire& wire, Message& message) {
  message.stream = Number(wire.bytes, 0, 4);
  message.pid = static_cast<int32_t>(Number(wire.bytes, 4, 4));
  message.reply_port = static_cast<uint16_t>(Number(wire.bytes, 8, 2));
  message.type = static_cast<uint8_t>(wire.bytes[10]);
  message.last = wire.bytes[11] != 0;
  message.payload.assign(wire.bytes, 16);
  message.kinds.assign(message.payload.size(), wire.bytes[12] != 0 ? 's' : 'p');
  message.fds = wire.fds;
}

}  // namespace

uint64_t ReferenceModel::bytes() const {
  uint64_t bytes = 0;
  for (const Open& open : open_) bytes += open.message.payload.size();
  return bytes;
}

bool ReferenceModel::IsKeyOf(const Open& open, int32_t sender, uint32_t stream) const {
  return open.message.stream == stream && (!port_.key_has_sender || open.sender == sender);
}

int ReferenceModel::Find(int32_t sender, uint32_t stream) const {
  for (size_t i = 0; i < open_.size(); ++i) {
    if (IsKeyOf(open_[i], sender, stream)) return static_cast<int>(i);
  }
  return -1;
}

void ReferenceModel::Discard(int index, const char* rule, Outcome& outcome) {
  if (index < 0) return;
  for (const int fd : open_[static_cast<size_t>(index)].message.fds) outcome.closed.push_back(fd);
  outcome.discarded.push_back(rule);
  open_.erase(open_.begin() + index);
}

// The rule that refuses, or nothing.
const char* ReferenceModel::Check(const Wire& wire, Outcome& outcome) {
  if (wire.fds.size() > port_.fds_max || wire.rights_messages > 1) return "FDS-2";
  const bool has_header = wire.bytes.size() >= 16;
  if (wire.control_truncated && !has_header) return "RCV-1";
  if (wire.bytes.empty()) return "HDR-8";
  if (!has_header) return "HDR-1";
  Parse(wire, now_);
  const int32_t sender = wire.credentials_pid != 0 ? wire.credentials_pid : now_.pid;
  const int found = Find(sender, now_.stream);
  const char* discards = nullptr;
  if (wire.control_truncated || wire.truncated || wire.bytes.size() > port_.max_size + 16) {
    discards = "RCV-1";
  } else if (now_.type >= port_.type_count) {
    return "HDR-4";
  } else if (wire.bytes[13] != 0 && !wire.fds.empty()) {
    return "FDS-1";
  } else if (wire.bytes[12] != 0) {
    discards = CheckReferences(wire, port_.has_tracking && wire.bytes[15] != 0);
  }
  if (discards != nullptr) {
    Discard(found, discards, outcome);
    return discards;
  }
  const bool later = wire.bytes[13] != 0;
  const bool more = wire.bytes[14] != 0;
  const bool tracked = port_.has_tracking && wire.bytes[12] != 0 && wire.bytes[15] != 0;
  const bool cancelled = tracked && Number(wire.bytes, 20, 4) == 1;  // of a first datagram
  if (!later && !more) {
    if (cancelled) {
      outcome.closed = now_.fds;
      return nullptr;
    }
    outcome.delivered = true;
    outcome.message = now_;
    return nullptr;
  }
  if (!port_.takes_fragments) return "FRG-10";
  if (!later) return found >= 0 ? "FRG-1" : Begin(sender, cancelled, outcome);
  if (found < 0) return "FRG-2";
  return Continue(static_cast<size_t>(found), more, outcome);
}

// Half of what the others leave free.
bool ReferenceModel::HasQuota(int32_t owner, size_t more_open, size_t more_bytes) const {
  size_t own_open = more_open;
  size_t own_bytes = more_bytes;
  size_t others_open = 0;
  size_t others_bytes = 0;
  for (const Open& open : open_) {
    if ((port_.key_has_sender ? open.sender : open.message.pid) == owner) {
      own_open += 1;
      own_bytes += open.message.payload.size();
    } else {
      others_open += 1;
      others_bytes += open.message.payload.size();
    }
  }
  if (more_open > 0 && own_open > port_.open_per_sender) return false;
  if (more_open > 0 && own_open > (port_.open - others_open) / 2) return false;
  return own_bytes <= (port_.bytes - others_bytes) / 2;
}

const char* ReferenceModel::Begin(int32_t sender, bool cancelled, Outcome& outcome) {
  const int32_t owner = port_.key_has_sender ? sender : now_.pid;
  const size_t size = now_.payload.size();
  if (size > port_.assembly_bytes || !HasQuota(owner, 1, size)) return "FRG-8";
  open_.push_back(Open{sender, now_, cancelled});
  if (cancelled) {
    outcome.closed = now_.fds;
    Message& kept = open_.back().message;
    kept.fds.clear();
    kept.payload.clear();
    kept.kinds.clear();
  }
  return nullptr;
}

const char* ReferenceModel::Continue(size_t index, bool more, Outcome& outcome) {
  Message& open = open_[index].message;
  if (open_[index].cancelled) {
    if (!more) open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(index));
    return nullptr;
  }
  const char* discards = nullptr;
  if (now_.type != open.type) {
    discards = "FRG-3";
  } else if (open.payload.size() + now_.payload.size() > port_.assembly_bytes ||
             !HasQuota(port_.key_has_sender ? open_[index].sender : open.pid, 0,
                       now_.payload.size())) {
    discards = "FRG-8";
  }
  if (discards != nullptr) {
    Discard(static_cast<int>(index), discards, outcome);
    return discards;
  }
  open.last = open.last || now_.last;
  open.payload += now_.payload;
  open.kinds += now_.kinds;
  if (more) return nullptr;
  outcome.delivered = true;
  outcome.message = open;
  open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(index));
  return nullptr;
}

void ReferenceModel::Receive(const Wire& wire, Outcome& outcome) {
  outcome.Clear();
  const char* rule = Check(wire, outcome);
  if (rule == nullptr) return;
  outcome.refused = rule;
  for (const int fd : wire.fds) outcome.closed.push_back(fd);
}

void ReferenceModel::SenderDied(int32_t sender, Outcome& outcome) {
  outcome.Clear();
  for (int i = static_cast<int>(open_.size()) - 1; i >= 0; --i) {
    const Open& open = open_[static_cast<size_t>(i)];
    const int32_t owner = port_.key_has_sender ? open.sender : open.message.pid;
    if (owner == sender) Discard(i, "FRG-9", outcome);
  }
}

void ReferenceModel::Close(Outcome& outcome) {
  outcome.Clear();
  while (!open_.empty()) Discard(0, "FRG-9", outcome);
}

}  // namespace portproof
