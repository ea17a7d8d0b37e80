#include "oracle/json_keys.h"

#include <utility>

namespace portproof::json {
namespace {

constexpr uint32_t kWho = kTime | kPid | kTid;

constexpr std::pair<std::string_view, Key> kKeys[] = {
    {"ev", kEv},
    {"port", kPort},
    {"time", kTime},
    {"pid", kPid},
    {"tid", kTid},
    {"data", kData},
    {"fds", kFds},
    {"rights", kRights},
    {"iov", kIov},
    {"segment_bytes", kSegmentBytes},
    {"cred_pid", kCredPid},
    {"flags", kFlags},
    {"errno", kErrno},
    {"max_size", kMaxSize},
    {"max_share", kMaxShare},
    {"kind", kKind},
    {"killed", kKilled},
    {"pending", kPending},
    {"data_zero", kDataZero},
    {"size", kSize},
};

}  // namespace

uint32_t AllowedKeys(EventKind kind) {
  switch (kind) {
    case EventKind::kOpen:
      return kPort | kTime | kMaxSize | kMaxShare | kKind;
    case EventKind::kSend:
      return kPort | kWho | kData | kDataZero | kSize | kFds | kRights | kIov | kSegmentBytes |
             kKilled;
    case EventKind::kRecv:
      return kPort | kWho | kData | kDataZero | kSize | kFds | kRights | kCredPid | kFlags |
             kSegmentBytes | kKilled | kPending;
    case EventKind::kFail:
      return kPort | kWho | kErrno;
    case EventKind::kEof:
    case EventKind::kClose:
      return kPort | kWho;
    case EventKind::kExit:
      return kWho;
    case EventKind::kDamage:
      return 0;
  }
  return 0;
}

uint32_t RequiredKeys(EventKind kind) {
  switch (kind) {
    case EventKind::kSend:
    case EventKind::kRecv:
      return kPort | kData;
    case EventKind::kOpen:
    case EventKind::kFail:
    case EventKind::kEof:
    case EventKind::kClose:
      return kPort;
    case EventKind::kExit:
      return kPid;
    case EventKind::kDamage:
      return 0;
  }
  return 0;
}

std::string KeyName(uint32_t key) {
  for (const auto& [name, bit] : kKeys) {
    if ((bit & key) != 0) return std::string(name);
  }
  return "";
}

uint32_t FindKey(std::string_view name) {
  for (const auto& [known, bit] : kKeys) {
    if (known == name) return bit;
  }
  return 0;
}

}  // namespace portproof::json
