// What a check found: violations, notes, counts; and how datagrams are numbered.
//   shapes    Where: the datagram a finding speaks of. Slots are handed out in the
//             order of the trace; a slot's number is its rank among those that count
//   returns   Report: true unless the rule is switched off or damage explains it
//   holds     the first kKept findings of each severity; all are counted
//   rules     all that a recording can show
//   source    none
#ifndef PORTPROOF_ORACLE_FINDINGS_H_
#define PORTPROOF_ORACLE_FINDINGS_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "oracle/trace.h"
#include "protocol/rule.h"

namespace portproof {

enum class Severity : uint8_t { kError, kWarning, kNote };

// A broken MUST is an error, a broken SHOULD a warning; IOV-4 harms no receiver
// and is a warning too.
Severity SeverityOf(Rule rule);

struct Where {
  std::string_view port;
  bool has_stream = false;
  uint32_t stream = 0;
  int32_t pid = kNoPid;
  uint64_t slot = 0;
  int64_t time_us = kNoTime;
  uint64_t line = 0;
  uint32_t file = 0;
};

struct Violation {
  Rule rule = Rule::kHdr1;
  Severity severity = Severity::kError;
  std::string port;
  bool has_stream = false;
  uint32_t stream = 0;
  int32_t pid = kNoPid;
  uint64_t datagram = 0;
  int64_t time_us = kNoTime;
  uint64_t line = 0;
  uint32_t file = 0;  // of the trace's files, from 0
  std::string detail;
};

struct Counts {
  uint64_t datagrams = 0;
  uint64_t received = 0;
  uint64_t undelivered = 0;
  uint64_t messages = 0;
  uint64_t ports = 0;
  uint64_t processes = 0;
  uint64_t fragmented_streams = 0;
  uint64_t unfinished_streams = 0;
  uint64_t mmap_datagrams = 0;
  uint64_t mmap_read_queue = 0;
  uint64_t fd_datagrams = 0;
  uint64_t two_fd_datagrams = 0;
  uint64_t damaged_lines = 0;
  uint64_t bytes = 0;

  friend bool operator==(const Counts&, const Counts&) = default;
};

// What one lost datagram could explain, after a line that could not be read.
enum class Lost : uint8_t { kNothing, kFragment, kDelivery, kSegment };

class Findings {
 public:
  static constexpr size_t kKept = 1000;

  explicit Findings(std::array<bool, kRuleCount> off) : off_(off) {}

  bool Report(Rule rule, const Where& where, std::string detail, Lost explanation = Lost::kNothing,
              uint64_t key = 0);

  // A damaged line; `port` empty: it could have been of any port.
  void AddDamage(std::string_view port);

  uint64_t NextSlot() { return ++slots_; }
  // The slot turned out not to count: nothing was sent there.
  void Uncount(uint64_t slot) { uncounted_.push_back(slot); }
  // A finding about a receive that, as it turned out, cannot be judged.
  void Retract(std::string_view port);

  uint64_t errors() const { return totals_[0]; }
  uint64_t warnings() const { return totals_[1]; }
  uint64_t notes() const { return totals_[2]; }
  // Most severe first, then in the order of the trace; numbers resolved.
  std::vector<Violation> Sorted();

 private:
  struct Credit {
    std::string port;    // empty: not bound yet
    bool bound = false;  // to `key`
    uint64_t key = 0;
    bool delivery_used = false;
    bool segment_used = false;
  };
  bool Explained(const Where& where, Lost explanation, uint64_t key);

  std::array<bool, kRuleCount> off_;
  std::array<std::vector<Violation>, 3> kept_;
  std::array<uint64_t, 3> totals_{};
  std::vector<Credit> credits_;
  bool credits_everywhere_ = false;  // more damage than is kept apart
  uint64_t slots_ = 0;
  std::vector<uint64_t> uncounted_;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_FINDINGS_H_
