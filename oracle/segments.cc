// SHM-10, to 1.18: a reference needs as many announcements before it, from that process to
// that process, as its id says. An id that no segment can have is SHM-2.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "oracle/checker_state.h"

namespace portproof {
namespace {

constexpr size_t kUnattributedMax = 4096;
constexpr size_t kUnmetMax = 1024;
constexpr uint32_t kSegmentIds = 1024;           // SHM-8: ids are below
constexpr uint32_t kAnyReceiver = ~uint32_t{0};  // of a port nobody was seen to read
constexpr size_t kLedgersKept = 4096;            // beyond, those of dead processes are closed

uint64_t LedgerKey(uint32_t sender, uint32_t receiver) { return uint64_t{sender} << 32 | receiver; }

}  // namespace

Geometry Checker::State::GeometryOf(const Process* sender) const {
  const bool said = sender != nullptr && sender->segment_chunk_bytes != 0;
  const bool tiny =
      said ? sender->segment_chunk_bytes == kTinyGeometry.chunk_bytes : tiny_segments_;
  return tiny ? kTinyGeometry : kUnitGeometry;
}

void Checker::State::UseSegments(const Datagram& datagram) {
  const Event& event = *datagram.event;
  const bool announces = datagram.type == Type::kMmap;
  if (announces && event.segment_bytes != 0) {
    const std::optional<Geometry> geometry = GeometryOfSize(event.segment_bytes);
    if (!geometry) {
      findings_.Report(Rule::kShm8, datagram.where(),
                       absl::StrCat("announces a file of ", event.segment_bytes,
                                    " bytes, expected ", kUnitGeometry.SegmentBytes()),
                       Lost::kSegment);
    } else {
      if (datagram.process != nullptr)
        datagram.process->segment_chunk_bytes = geometry->chunk_bytes;
      tiny_segments_ = *geometry == kTinyGeometry;
    }
  }
  if (options_.profile->queues || datagram.process == nullptr) return;
  const bool refers = datagram.header.mmap && !references_.empty();
  if (!announces && (!refers || datagram.from_receive)) return;
  Port& port = *datagram.port;
  SegmentUse use{
      datagram.process->serial, datagram.process->partial, announces, datagram.sequence, 0,
      datagram.place()};
  if (!announces) {
    for (const Reference& reference : references_)
      use.segment_id = std::max(use.segment_id, reference.segment_id);
  }
  if (port.receiver_serial != 0) {
    Use(port.receiver_serial, port.receiver_partial, use);
  } else if (port.unattributed.size() < kUnattributedMax) {
    port.unattributed.push_back(std::move(use));
  }
}

// The port's reader is known now, or will never be (serial 0).
void Checker::State::Attribute(Port& port) {
  for (const SegmentUse& use : port.unattributed)
    Use(port.receiver_serial, port.receiver_partial || !port.opened, use);
  port.unattributed.clear();
}

void Checker::State::Use(uint32_t receiver, bool partial, const SegmentUse& use) {
  if (use.announces) {
    // A reader that is never known may be any: all announcements count for it, and what was
    // announced to it counts for all.
    const uint32_t known = receiver != 0 ? receiver : kAnyReceiver;
    ledgers_[LedgerKey(use.sender, known)].announced.push_back(use.sequence);
    if (receiver != 0) ledgers_[LedgerKey(use.sender, 0)].announced.push_back(use.sequence);
    return;
  }
  SegmentLedger& ledger = ledgers_[LedgerKey(use.sender, receiver)];
  ledger.partial = ledger.partial || partial || use.partial;
  if (use.segment_id < ledger.announced.size()) return;
  const bool known = std::any_of(
      ledger.unmet.begin(), ledger.unmet.end(),
      [&](const SegmentLedger::Unmet& unmet) { return unmet.segment_id == use.segment_id; });
  if (!known && ledger.unmet.size() < kUnmetMax) {
    ledger.unmet.push_back({use.segment_id, use.sequence, use.place});
  }
}

void Checker::State::EndLedger(uint64_t key, SegmentLedger& ledger) {
  const uint32_t sender = static_cast<uint32_t>(key >> 32);
  const uint32_t receiver = static_cast<uint32_t>(key);
  if (partial_.contains(sender) || partial_.contains(receiver)) ledger.partial = true;
  if (ledger.unmet.empty() || ledger.partial) return;
  const auto any = ledgers_.find(LedgerKey(sender, kAnyReceiver));
  if (any != ledgers_.end()) {
    ledger.announced.insert(ledger.announced.end(), any->second.announced.begin(),
                            any->second.announced.end());
  }
  std::sort(ledger.announced.begin(), ledger.announced.end());
  for (const SegmentLedger::Unmet& unmet : ledger.unmet) {
    const auto before =
        std::lower_bound(ledger.announced.begin(), ledger.announced.end(), unmet.sequence) -
        ledger.announced.begin();
    if (static_cast<uint64_t>(before) > unmet.segment_id) continue;
    const bool later = ledger.announced.size() > unmet.segment_id;
    const bool possible = unmet.segment_id < kSegmentIds;
    findings_.Report(possible ? Rule::kShm10 : Rule::kShm2, unmet.place.AsWhere(),
                     absl::StrCat("reference to segment ", unmet.segment_id, ", but ", before,
                                  " were announced to that process before it",
                                  later ? "" : ", and never so many"),
                     Lost::kSegment);
  }
}

void Checker::State::EndLedgers(bool all) {
  if (!all && ledgers_.size() < kLedgersKept) return;
  absl::flat_hash_set<uint32_t> alive;
  for (const auto& [pid, process] : processes_) alive.insert(process->serial);
  std::vector<uint64_t> ended;
  for (const auto& [key, ledger] : ledgers_) {
    const bool dead = !alive.contains(static_cast<uint32_t>(key >> 32));
    if (all || dead) ended.push_back(key);
  }
  std::sort(ended.begin(), ended.end());
  for (const uint64_t key : ended) {
    EndLedger(key, ledgers_[key]);
    ledgers_.erase(key);  // a sender's kAnyReceiver is its last
  }
}

}  // namespace portproof
