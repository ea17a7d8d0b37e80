#include "oracle/findings.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace portproof {
namespace {

constexpr size_t kCreditsMax = 4096;

}  // namespace

Severity SeverityOf(Rule rule) {
  if (rule == Rule::kIov4) return Severity::kWarning;
  return Info(rule).level == Level::kMust ? Severity::kError : Severity::kWarning;
}

bool Findings::Report(Rule rule, const Where& where, std::string detail, Lost explanation,
                      uint64_t key) {
  if (off_[static_cast<size_t>(rule)]) return false;
  const bool excused = Explained(where, explanation, key);
  const Severity severity = excused ? Severity::kNote : SeverityOf(rule);
  const auto index = static_cast<size_t>(severity);
  ++totals_[index];
  if (kept_[index].size() < kKept) {
    kept_[index].push_back({rule, severity, std::string(where.port), where.has_stream, where.stream,
                            where.pid, where.slot, where.time_us, where.line, where.file,
                            std::move(detail)});
  }
  return !excused;
}

void Findings::AddDamage(std::string_view port) {
  if (credits_.size() >= kCreditsMax) {
    credits_everywhere_ = true;
    return;
  }
  credits_.push_back({std::string(port), false, 0, false, false});
}

// One lost datagram has one port, one stream, one place in its thread's order.
bool Findings::Explained(const Where& where, Lost explanation, uint64_t key) {
  if (explanation == Lost::kNothing) return false;
  if (credits_everywhere_) return true;
  const auto fits = [&](const Credit& credit) {
    return credit.port.empty() || credit.port == where.port;
  };
  const auto usable = [&](const Credit& credit) {
    switch (explanation) {
      case Lost::kFragment:
        return !credit.bound || credit.key == key;
      case Lost::kDelivery:
        return !credit.delivery_used;
      case Lost::kSegment:
        return !credit.segment_used;
      case Lost::kNothing:
        return false;
    }
    return false;
  };
  // One already bound to this very stream first, so that others stay free.
  auto chosen = std::find_if(credits_.begin(), credits_.end(), [&](const Credit& credit) {
    return explanation == Lost::kFragment && credit.bound && credit.key == key &&
           credit.port == where.port;
  });
  if (chosen == credits_.end()) {
    chosen = std::find_if(credits_.begin(), credits_.end(),
                          [&](const Credit& credit) { return fits(credit) && usable(credit); });
  }
  if (chosen == credits_.end()) return false;
  if (explanation != Lost::kSegment) chosen->port.assign(where.port);
  if (explanation == Lost::kFragment) {
    chosen->bound = true;
    chosen->key = key;
  }
  if (explanation == Lost::kDelivery) chosen->delivery_used = true;
  if (explanation == Lost::kSegment) chosen->segment_used = true;
  return true;
}

void Findings::Retract(std::string_view port) {
  for (size_t i = 0; i < kept_.size(); ++i) {
    totals_[i] -=
        std::erase_if(kept_[i], [&](const Violation& found) { return found.port == port; });
  }
}

std::vector<Violation> Findings::Sorted() {
  std::sort(uncounted_.begin(), uncounted_.end());
  std::vector<Violation> all;
  for (std::vector<Violation>& some : kept_) {
    for (Violation& found : some) {
      const auto before = std::lower_bound(uncounted_.begin(), uncounted_.end(), found.datagram) -
                          uncounted_.begin();
      found.datagram -= static_cast<uint64_t>(before);
    }
    std::stable_sort(some.begin(), some.end(), [](const Violation& a, const Violation& b) {
      return std::tie(a.datagram, a.file, a.line, a.rule) <
             std::tie(b.datagram, b.file, b.line, b.rule);
    });
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace portproof
