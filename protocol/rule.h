// Every rule of the port protocol, once. Code, tests, verdicts and reports
// refer to a rule by its value here and print its id.
//   shapes    one row per rule: id ("FRG-1"), level, who is bound, one sentence
//   returns   FindRule: the rule of an id, or nullopt; ids are case sensitive
//   holds     nothing; the table is constant
//   rules     all; protocol/README.md has them with their context
//   source    no original: the protocol was never specified
#ifndef PORTPROOF_PROTOCOL_RULE_H_
#define PORTPROOF_PROTOCOL_RULE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace portproof {

// In the order of the specification; the numeric value is not published.
enum class Rule : uint8_t {
  kHdr1,
  kHdr2,
  kHdr3,
  kHdr4,
  kHdr5,
  kHdr6,
  kHdr7,
  kHdr8,
  kHdr9,
  kIov1,
  kIov2,
  kIov3,
  kIov4,
  kIov5,
  kIov6,
  kIov7,
  kSnd1,
  kSnd2,
  kSnd3,
  kSnd4,
  kSnd5,
  kSnd6,
  kSnd7,
  kSnd8,
  kSnd9,
  kSnd10,
  kSnd11,
  kSnd12,
  kSnd13,
  kCmp1,
  kCmp2,
  kCmp3,
  kCmp4,
  kCmp5,
  kCmp6,
  kFrg1,
  kFrg2,
  kFrg3,
  kFrg4,
  kFrg5,
  kFrg6,
  kFrg7,
  kFrg8,
  kFrg9,
  kFrg10,
  kRcv1,
  kRcv2,
  kRcv3,
  kRcv4,
  kRcv5,
  kRcv6,
  kRcv7,
  kShm1,
  kShm2,
  kShm3,
  kShm4,
  kShm5,
  kShm6,
  kShm7,
  kShm8,
  kShm9,
  kShm10,
  kShm11,
  kShm12,
  kShm13,
  kShm14,
  kShm15,
  kFds1,
  kFds2,
  kFds3,
  kFds4,
  kFds5,
  kFds6,
  kFds7,
  kSoc1,
  kSoc2,
  kSoc3,
  kSoc4,
  kSoc5,
  kPrt1,
  kPrt2,
};

inline constexpr size_t kRuleCount = static_cast<size_t>(Rule::kPrt2) + 1;

// Broken: kMust is an error, kShould a warning.
enum class Level : uint8_t { kMust, kShould };

enum class Bound : uint8_t { kSender, kReceiver, kBoth };

struct RuleInfo {
  Rule rule;
  std::string_view id;
  Level level;
  Bound bound;
  std::string_view sentence;
};

const RuleInfo& Info(Rule rule);
inline std::string_view Id(Rule rule) { return Info(rule).id; }
std::optional<Rule> FindRule(std::string_view id);

std::string_view Name(Level level);  // "MUST", "SHOULD"
std::string_view Name(Bound bound);  // "sender", "receiver", "both"

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_RULE_H_
