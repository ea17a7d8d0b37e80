// The judge: events of one trace in, violations and counts out.
//   shapes    events in the order a reader gives them; the profile says what is allowed
//   returns   Finish: everything found. The same events give the same result
//   holds     state per live process, per port, per unfinished stream and per datagram
//             on its way, each bounded; never a payload
//   rules     HDR-1, HDR-3, HDR-4, HDR-6, HDR-7; FRG-1, FRG-2, FRG-3, FRG-5, FRG-6,
//             FRG-7; IOV-3, IOV-4; SND-5; SHM-1, SHM-2, SHM-8, SHM-10; FDS-1, FDS-2,
//             FDS-6; RCV-1; SOC-3
//   source    none; README.md here says how each is judged on a recording
#ifndef PORTPROOF_ORACLE_CHECKER_H_
#define PORTPROOF_ORACLE_CHECKER_H_

#include <array>
#include <memory>
#include <vector>

#include "oracle/findings.h"
#include "oracle/trace.h"
#include "protocol/profile.h"
#include "protocol/rule.h"

namespace portproof {

struct CheckOptions {
  const Profile* profile = nullptr;
  ByteOrder byte_order = MachineByteOrder();
  std::array<bool, kRuleCount> off = {};  // rules not judged
};

struct CheckResult {
  Counts counts;
  std::vector<Violation> findings;  // errors, warnings, notes; at most Findings::kKept each
  uint64_t errors = 0;
  uint64_t warnings = 0;
  uint64_t notes = 0;
};

class Checker : public EventSink {
 public:
  explicit Checker(const CheckOptions& options);
  ~Checker() override;
  void OnEvent(const Event& event) override;
  CheckResult Finish();  // once

  // The rules this checker can find broken.
  static std::vector<Rule> Judged();

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_CHECKER_H_
