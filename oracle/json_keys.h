// The keys an event has in JSON Lines, one bit each.
//   shapes    a set of keys is the or of their bits
//   returns   AllowedKeys, RequiredKeys: those an event of that kind may have and must
//             have, "ev" aside; FindKey: 0 where there is none of that name; KeyName:
//             of the lowest bit
//   holds     nothing
//   rules     none; README.md here has the format
//   source    none
#ifndef PORTPROOF_ORACLE_JSON_KEYS_H_
#define PORTPROOF_ORACLE_JSON_KEYS_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "oracle/trace.h"

namespace portproof {

// By EventKind.
inline constexpr std::array<std::string_view, 7> kJsonEventNames = {"open", "send", "recv", "fail",
                                                                    "eof",  "exit", "close"};

namespace json {

enum Key : uint32_t {
  kPort = 1,
  kTime = 2,
  kPid = 4,
  kTid = 8,
  kData = 16,
  kFds = 32,
  kRights = 64,
  kIov = 128,
  kSegmentBytes = 256,
  kCredPid = 512,
  kFlags = 1024,
  kErrno = 2048,
  kMaxSize = 4096,
  kMaxShare = 8192,
  kKind = 16384,
  kKilled = 32768,
  kDataZero = 65536,
  kSize = 131072,
  kEv = 262144,
  kPending = 524288,
};

uint32_t AllowedKeys(EventKind kind);
uint32_t RequiredKeys(EventKind kind);
uint32_t FindKey(std::string_view name);
std::string KeyName(uint32_t keys);

}  // namespace json
}  // namespace portproof

#endif  // PORTPROOF_ORACLE_JSON_KEYS_H_
