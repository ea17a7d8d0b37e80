#include "oracle/suite/receive_model.h"

#include <algorithm>
#include <span>

#include "oracle/suite/pattern.h"

namespace portproof::suite {
namespace {

std::span<const uint8_t> PayloadOf(const Incoming& incoming) {
  return std::span(incoming.bytes).subspan(kHeaderBytes);
}

}  // namespace

int32_t ReceiveModel::SenderOf(const Incoming& incoming, const Header& header) const {
  return config_.by_credentials ? incoming.process : header.pid;
}

ReceiveModel::Key ReceiveModel::KeyOf(const Incoming& incoming, const Header& header) const {
  return {config_.profile->key_has_sender ? SenderOf(incoming, header) : 0, header.stream};
}

// The checks of section 5, in their order.
std::optional<Rule> ReceiveModel::Judge(const Incoming& incoming,
                                        const std::optional<Header>& header) const {
  if (incoming.fds.size() > config_.profile->fds_max) return Rule::kFds2;
  if (incoming.control_truncated) return Rule::kRcv1;
  if (incoming.bytes.empty()) return Rule::kHdr8;
  if (!header) return Rule::kHdr1;
  if (incoming.bytes.size() > config_.max_size + kHeaderBytes) return Rule::kRcv1;
  if (!config_.handled.contains(header->type)) return Rule::kHdr4;
  if (header->nf && !incoming.fds.empty()) return Rule::kFds1;
  return std::nullopt;
}

std::optional<Expected> ReceiveModel::On(const Incoming& incoming) {
  const auto decoded = DecodeHeader(incoming.bytes);
  std::optional<Header> header;
  if (decoded) header = decoded->header;
  const std::optional<Rule> refused = Judge(incoming, header);
  if (refused) {
    if (header) {
      const Key key = KeyOf(incoming, *header);
      if (*refused == Rule::kRcv1) Discard(key);
      if (const auto open = open_.find(key); open != open_.end())
        open->second.disturbed_by = incoming.about.value_or(*refused);
    }
    return Refuse(*refused, incoming);
  }
  if (header->nf || header->mf) return OnFragment(incoming, *header);
  Assembly whole;
  whole.first = *header;
  whole.fds = incoming.fds;
  whole.last = header->last;
  whole.bytes = incoming.bytes.size() - kHeaderBytes;
  whole.crc = UpdateCrc32(0, PayloadOf(incoming));
  if (const auto open = open_.find(KeyOf(incoming, *header)); open != open_.end())
    open->second.disturbed_by = Rule::kFrg6;
  return Deliver(incoming, whole, false);
}

std::optional<Expected> ReceiveModel::OnFragment(const Incoming& incoming, const Header& header) {
  const Key key = KeyOf(incoming, header);
  const uint64_t more = incoming.bytes.size() - kHeaderBytes;
  const auto open = open_.find(key);
  if (!header.nf) {
    if (open != open_.end()) {
      open->second.disturbed_by = Rule::kFrg1;
      return Refuse(Rule::kFrg1, incoming);
    }
    const int32_t sender = SenderOf(incoming, header);
    if (!Fits(key, sender, more, true)) return Refuse(Rule::kFrg8, incoming);
    Assembly& opened = open_[key];
    openers_[key] = sender;
    opened.first = header;
    opened.fds = incoming.fds;
    opened.last = header.last;
    opened.bytes = more;
    opened.crc = UpdateCrc32(0, PayloadOf(incoming));
    bytes_ += more;
    return std::nullopt;
  }
  if (open == open_.end()) return Refuse(Rule::kFrg2, incoming);
  Assembly& assembly = open->second;
  if (assembly.first.type != header.type || !Fits(key, 0, more, false)) {
    const Rule rule = assembly.first.type != header.type ? Rule::kFrg3 : Rule::kFrg8;
    Discard(key);
    return Refuse(rule, incoming);
  }
  assembly.last = assembly.last || header.last;
  assembly.bytes += more;
  bytes_ += more;
  assembly.crc = UpdateCrc32(assembly.crc, PayloadOf(incoming));
  if (header.mf) return std::nullopt;
  const Assembly whole = assembly;
  Discard(key);
  return Deliver(incoming, whole, true);
}

// FRG-8: exactly the limit is allowed; of a total, half of what the others leave free.
bool ReceiveModel::Fits(const Key& key, int32_t sender, uint64_t more, bool opens) const {
  const Limits& limits = config_.limits;
  const int32_t owner = opens ? sender : openers_.at(key);
  uint64_t own = 0;
  uint64_t own_bytes = 0;
  for (const auto& [other, opener] : openers_) {
    if (opener != owner) continue;
    ++own;
    own_bytes += open_.at(other).bytes;
  }
  const uint64_t others = open_.size() - own;
  const uint64_t others_bytes = bytes_ - own_bytes;
  if (opens && (own >= limits.assemblies_per_sender ||
                own + 1 > (limits.assemblies_per_port - others) / 2)) {
    return false;
  }
  const uint64_t has = opens ? 0 : open_.at(key).bytes;
  return has + more <= limits.assembly_bytes &&
         own_bytes + more <= (limits.total_bytes - others_bytes) / 2;
}

Expected ReceiveModel::Refuse(Rule rule, const Incoming& incoming) {
  Expected expected;
  expected.event.kind = SeenEvent::Kind::kRefused;
  expected.event.rule = std::string(Id(rule));
  expected.blame = incoming.about.value_or(rule);
  refused_ = true;
  return expected;
}

Expected ReceiveModel::Deliver(const Incoming& incoming, const Assembly& whole, bool fragmented) {
  Expected expected;
  expected.event.type = whole.first.type;
  expected.event.stream = whole.first.stream;
  expected.event.pid = whole.first.pid;
  expected.event.reply_port = whole.first.reply_port;
  expected.event.last = whole.last;
  expected.event.bytes = whole.bytes;
  expected.event.crc = CrcText(whole.crc);
  expected.event.fds = whole.fds;
  expected.blame = incoming.about.value_or(fragmented ? Rule::kFrg4 : Rule::kRcv3);
  expected.disturbed_by = whole.disturbed_by;
  expected.fragmented = fragmented;
  expected.refused_before = refused_;
  return expected;
}

void ReceiveModel::Discard(const Key& key) {
  const auto open = open_.find(key);
  if (open == open_.end()) return;
  bytes_ -= open->second.bytes;
  open_.erase(open);
  openers_.erase(key);
}

void ReceiveModel::DiscardSender(int32_t sender) {
  const auto openers = openers_;
  for (const auto& [key, opener] : openers) {
    if (opener == sender) Discard(key);
  }
}

bool ReceiveModel::IsOpen(uint32_t stream) const {
  return std::any_of(open_.begin(), open_.end(),
                     [stream](const auto& entry) { return entry.first.second == stream; });
}

std::vector<FileId> ReceiveModel::HeldFds() const {
  std::vector<FileId> held;
  for (const auto& [key, assembly] : open_)
    held.insert(held.end(), assembly.fds.begin(), assembly.fds.end());
  return held;
}

}  // namespace portproof::suite
