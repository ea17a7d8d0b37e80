// A second opinion on a recording: every rule a recording can show, judged the slow way.
//   shapes    a Recording owns its events. The whole of it is in memory and is walked as
//             often as a rule likes, so that "is never received" or "is announced later" is
//             looked up, not foreseen
//   returns   what is broken, and by which event, in no order that matters
//   holds     a copy of the recording; quadratic in its length, worse for equal datagrams
//   rules     HDR-1, HDR-3, HDR-4, HDR-6, HDR-7; FRG-1, FRG-2, FRG-3, FRG-5, FRG-6,
//             FRG-7; IOV-3, IOV-4; SND-5; SHM-1, SHM-2, SHM-8, SHM-10; FDS-1, FDS-2,
//             FDS-6; RCV-1; SOC-3
//   source    protocol/README.md and oracle/README.md; shares nothing with the checker but
//             the header, the profiles and the names of the rules
#ifndef PORTPROOF_PROPS_NAIVE_CHECKER_H_
#define PORTPROOF_PROPS_NAIVE_CHECKER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "oracle/trace.h"
#include "protocol/profile.h"
#include "protocol/rule.h"

namespace portproof {

// An event that owns what it speaks of.
struct Recorded {
  Event event;  // its views are not used
  std::string port;
  std::string errno_name;
  std::vector<uint8_t> data;

  Event View() const;  // valid as long as this is neither moved nor changed
};

using Recording = std::vector<Recorded>;

struct NaiveFinding {
  Rule rule = Rule::kHdr1;
  size_t event = 0;  // index into the recording
};

// The recording's datagrams are whole and its integers in this machine's order.
std::vector<NaiveFinding> CheckNaively(const Recording& recording, const Profile& profile);

}  // namespace portproof

#endif  // PORTPROOF_PROPS_NAIVE_CHECKER_H_
