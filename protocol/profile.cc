#include "protocol/profile.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <compare>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace portproof {
namespace {

using enum Type;

constexpr Type kTypes02[] = {kRpcReady,  kRpcError,   kStartWorker, kSocket, kModules,
                             kConfStore, kChangeFile, kNewPort,     kMmap,   kProcessReady,
                             kRemovePid, kQuit,       kData};
constexpr Type kTypes10[] = {kRpcReady,     kRpcError,  kStartWorker, kSocket,  kModules,
                             kConfStore,    kAccessLog, kChangeFile,  kNewPort, kMmap,
                             kProcessReady, kRemovePid, kQuit,        kData};
constexpr Type kTypes14[] = {kRpcReady,     kRpcError,   kStartWorker, kSocket,
                             kModules,      kConfStore,  kCertGet,     kCertDelete,
                             kAccessLog,    kChangeFile, kNewPort,     kMmap,
                             kProcessReady, kRemovePid,  kQuit,        kData};
constexpr Type kTypes110[] = {kRpcReady,   kRpcError,       kStartWorker,  kSocket,    kModules,
                              kConfStore,  kCertGet,        kCertDelete,   kAccessLog, kChangeFile,
                              kNewPort,    kMmap,           kProcessReady, kRemovePid, kQuit,
                              kReqHeaders, kWebsocketFrame, kData};
constexpr Type kTypes114[] = {kRpcReady,   kRpcError,       kStartWorker,  kSocket,    kModules,
                              kConfStore,  kCertGet,        kCertDelete,   kAccessLog, kChangeFile,
                              kNewPort,    kMmap,           kProcessReady, kRemovePid, kQuit,
                              kReqHeaders, kWebsocketFrame, kData,         kOosm,      kShmAck};
constexpr Type kTypes118[] = {kRpcReady,  kRpcError,   kStartProcess,   kSocket,       kModules,
                              kConfStore, kCertGet,    kCertDelete,     kAccessLog,    kChangeFile,
                              kNewPort,   kMmap,       kProcessCreated, kProcessReady, kRemovePid,
                              kQuit,      kReqHeaders, kWebsocketFrame, kData,         kOosm,
                              kShmAck};
constexpr Type kTypes119[] = {
    kRpcReady,       kRpcError,     kStartProcess, kSocket,  kModules,    kConfStore,     kCertGet,
    kCertDelete,     kAccessLog,    kChangeFile,   kNewPort, kGetPort,    kMmap,          kGetMmap,
    kProcessCreated, kProcessReady, kRemovePid,    kQuit,    kReqHeaders, kReqHeadersAck, kReqBody,
    kWebsocketFrame, kData,         kOosm,         kShmAck,  kReadQueue,  kReadSocket};
constexpr Type kTypes121[] = {
    kRpcReady,   kRpcError,       kStartProcess, kSocket,    kModules, kConfStore,  kCertGet,
    kCertDelete, kAccessLog,      kChangeFile,   kNewPort,   kGetPort, kPortAck,    kMmap,
    kGetMmap,    kProcessCreated, kProcessReady, kRemovePid, kQuit,    kReqHeaders, kReqHeadersAck,
    kReqBody,    kWebsocketFrame, kData,         kOosm,      kShmAck,  kReadQueue,  kReadSocket};
constexpr Type kTypes125[] = {
    kRpcReady,   kRpcError,   kStartProcess,  kSocket,         kModules,        kConfStore,
    kCertGet,    kCertDelete, kAccessLog,     kChangeFile,     kNewPort,        kGetPort,
    kPortAck,    kMmap,       kGetMmap,       kProcessCreated, kProcessReady,   kRemovePid,
    kQuit,       kReqHeaders, kReqHeadersAck, kReqBody,        kWebsocketFrame, kData,
    kAppRestart, kOosm,       kShmAck,        kReadQueue,      kReadSocket};
constexpr Type kTypes126[] = {
    kRpcReady,  kRpcError,   kStartProcess, kSocket,         kModules,      kConfStore,
    kCertGet,   kCertDelete, kAccessLog,    kChangeFile,     kNewPort,      kGetPort,
    kPortAck,   kMmap,       kGetMmap,      kProcessCreated, kProcessReady, kWhoami,
    kRemovePid, kQuit,       kReqHeaders,   kReqHeadersAck,  kReqBody,      kWebsocketFrame,
    kData,      kAppRestart, kOosm,         kShmAck,         kReadQueue,    kReadSocket};
constexpr Type kTypes128[] = {
    kRpcReady,  kRpcError,   kStartProcess, kSocket,         kModules,      kConfStore,
    kCertGet,   kCertDelete, kAccessLog,    kChangeFile,     kNewPort,      kGetPort,
    kPortAck,   kMmap,       kGetMmap,      kProcessCreated, kProcessReady, kWhoami,
    kRemovePid, kQuit,       kReqHeaders,   kReqHeadersAck,  kReqBody,      kWebsocketFrame,
    kData,      kAppRestart, kStatus,       kOosm,           kShmAck,       kReadQueue,
    kReadSocket};
constexpr Type kTypes130[] = {
    kRpcReady,       kRpcError,     kStartProcess,   kSocket,    kSocketUnlink, kModules,
    kConfStore,      kCertGet,      kCertDelete,     kScriptGet, kScriptDelete, kAccessLog,
    kChangeFile,     kNewPort,      kGetPort,        kPortAck,   kMmap,         kGetMmap,
    kProcessCreated, kProcessReady, kWhoami,         kRemovePid, kQuit,         kReqHeaders,
    kReqHeadersAck,  kReqBody,      kWebsocketFrame, kData,      kAppRestart,   kStatus,
    kOosm,           kShmAck,       kReadQueue,      kReadSocket};

static_assert(std::size(kTypes02) == 13 && std::size(kTypes10) == 14 && std::size(kTypes14) == 16);
static_assert(std::size(kTypes110) == 18 && std::size(kTypes114) == 20 &&
              std::size(kTypes118) == 21);
static_assert(std::size(kTypes119) == 27 && std::size(kTypes121) == 28 &&
              std::size(kTypes125) == 29);
static_assert(std::size(kTypes126) == 30 && std::size(kTypes128) == 31 &&
              std::size(kTypes130) == 34);

struct Release {
  uint32_t major, minor, patch;
  // The check takes the 0 that "<" compares its result with for a pointer.
  // NOLINTNEXTLINE(modernize-use-nullptr)
  friend auto operator<=>(const Release&, const Release&) = default;
};

struct Range {
  Release first, last;
};

constexpr Byte15 kPad = Byte15::kPadding;
constexpr Byte15 kTrack = Byte15::kTracking;
constexpr Byte15 kZero = Byte15::kTrackingZero;

constexpr SegmentLayout kSourced = SegmentLayout::kSourced;
constexpr SegmentLayout kOosmLayout = SegmentLayout::kOosm;

// newest, releases, types, header within MAX, key has sender, fds, byte 15, credentials, queues,
// segment layout
constexpr Profile kProfiles[] = {
    {"unit-seed", "seed", kTypes02, false, false, 1, kPad, false, false, SegmentLayout::kSeed},
    {"unit-0.2", "0.2", kTypes02, false, false, 1, kPad, false, false, kSourced},
    {"unit-0.7", "0.3 - 0.7", kTypes02, false, false, 1, kTrack, false, false, kSourced},
    {"unit-1.3", "1.0 - 1.3", kTypes10, false, false, 1, kTrack, false, false, kSourced},
    {"unit-1.8.0", "1.4 - 1.8.0", kTypes14, false, false, 1, kTrack, false, false, kSourced},
    {"unit-1.9.0", "1.9.0", kTypes14, true, true, 1, kTrack, false, false, kSourced},
    {"unit-1.13.0", "1.10.0 - 1.13.0", kTypes110, true, true, 1, kTrack, false, false, kSourced},
    {"unit-1.17.0", "1.14.0 - 1.17.0", kTypes114, true, true, 1, kTrack, false, false, kOosmLayout},
    {"unit-1.18.0", "1.18.0", kTypes118, true, true, 1, kTrack, false, false, kOosmLayout},
    {"unit-1.20.0", "1.19.0 - 1.20.0", kTypes119, true, true, 2, kZero, false, true, kOosmLayout},
    {"unit-1.24.0", "1.21.0 - 1.24.0", kTypes121, true, true, 2, kZero, false, true, kOosmLayout},
    {"unit-1.25.0", "1.25.0", kTypes125, true, true, 2, kZero, false, true, kOosmLayout},
    {"unit-1.27.0", "1.26.0 - 1.27.0", kTypes126, true, true, 2, kZero, true, true, kOosmLayout},
    {"unit-1.29.1", "1.28.0 - 1.29.1", kTypes128, true, true, 2, kPad, true, true, kOosmLayout},
    {"unit-1.35.0", "1.30.0 - 1.35.0", kTypes130, true, true, 2, kPad, true, true, kOosmLayout},
};

// The releases of each row; the seed has none.
constexpr Range kRanges[] = {
    {{0, 0, 0}, {0, 0, 0}},   {{0, 2, 0}, {0, 2, 0}},   {{0, 3, 0}, {0, 7, 0}},
    {{1, 0, 0}, {1, 3, 0}},   {{1, 4, 0}, {1, 8, 0}},   {{1, 9, 0}, {1, 9, 0}},
    {{1, 10, 0}, {1, 13, 0}}, {{1, 14, 0}, {1, 17, 0}}, {{1, 18, 0}, {1, 18, 0}},
    {{1, 19, 0}, {1, 20, 0}}, {{1, 21, 0}, {1, 24, 0}}, {{1, 25, 0}, {1, 25, 0}},
    {{1, 26, 0}, {1, 27, 0}}, {{1, 28, 0}, {1, 29, 1}}, {{1, 30, 0}, {1, 35, 0}},
};
static_assert(std::size(kRanges) == std::size(kProfiles));

constexpr Range kFreeUnit = {{1, 35, 1}, {1, 36, 0}};

bool ParseNumber(std::string_view& text, uint32_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool ParseDot(std::string_view& text) {
  if (!text.starts_with('.')) return false;
  text.remove_prefix(1);
  return true;
}

// "X.Y" or "X.Y.Z".
std::optional<Release> ParseRelease(std::string_view text) {
  Release release{0, 0, 0};
  if (!ParseNumber(text, release.major) || !ParseDot(text) || !ParseNumber(text, release.minor))
    return std::nullopt;
  if (text.empty()) return release;
  if (!ParseDot(text) || !ParseNumber(text, release.patch) || !text.empty()) return std::nullopt;
  return release;
}

// Releases before 1.8 were named by two numbers unless the third was not 0.
std::string Canonical(std::string_view family, const Release& release) {
  std::string name = absl::StrCat(absl::string_view(family.data(), family.size()), release.major,
                                  ".", release.minor);
  if (release.patch != 0 || release >= Release{1, 8, 0}) absl::StrAppend(&name, ".", release.patch);
  return name;
}

constexpr std::string_view kNames[] = {
    "rpc_ready",     "rpc_error",
    "start_worker",  "start_process",
    "socket",        "socket_unlink",
    "modules",       "conf_store",
    "cert_get",      "cert_delete",
    "script_get",    "script_delete",
    "access_log",    "change_file",
    "new_port",      "get_port",
    "port_ack",      "mmap",
    "get_mmap",      "process_created",
    "process_ready", "whoami",
    "remove_pid",    "quit",
    "req_headers",   "req_headers_ack",
    "req_body",      "websocket_frame",
    "data",          "app_restart",
    "status",        "oosm",
    "shm_ack",       "read_queue",
    "read_socket",
};
static_assert(std::size(kNames) == static_cast<size_t>(kReadSocket) + 1);

}  // namespace

std::string_view Name(Type type) { return kNames[static_cast<size_t>(type)]; }

uint32_t PayloadLimit(const Profile& profile, uint32_t max_size) {
  return profile.header_within_max ? max_size - 16 : max_size;
}

std::optional<Type> TypeOf(const Profile& profile, uint8_t number) {
  if (number >= profile.types.size()) return std::nullopt;
  return profile.types[number];
}

std::optional<uint8_t> NumberOf(const Profile& profile, Type type) {
  const auto same = [type](Type other) {
    const bool both_start = (type == kStartWorker || type == kStartProcess) &&
                            (other == kStartWorker || other == kStartProcess);
    return type == other || both_start;
  };
  const auto found = std::find_if(profile.types.begin(), profile.types.end(), same);
  if (found == profile.types.end()) return std::nullopt;
  return static_cast<uint8_t>(found - profile.types.begin());
}

std::optional<FdNeeds> NeedsOf(Type type, const Profile& profile) {
  switch (type) {
    case kMmap:
    case kChangeFile:
      return FdNeeds{1, 1, true};
    case kNewPort:
      return FdNeeds{1, profile.fds_max, true};
    case kStartWorker:
    case kStartProcess:
      return FdNeeds{0, 2, false};
    case kProcessReady:
      if (!profile.queues) return std::nullopt;
      return FdNeeds{0, 1, true};  // an application's has the descriptor of its queue
    case kWhoami:
    case kReqBody:
      return FdNeeds{0, 1, true};
    default:
      return std::nullopt;
  }
}

std::string TypeName(const Profile& profile, uint8_t number) {
  const std::optional<Type> type = TypeOf(profile, number);
  if (!type) return absl::StrCat("type ", static_cast<int>(number));
  return std::string(Name(*type));
}

std::optional<ProfileName> ResolveProfile(std::string_view name) {
  if (name == kProfiles[0].newest) return ProfileName{&kProfiles[0], std::string(name), false};
  const Profile* last = &kProfiles[std::size(kProfiles) - 1];
  constexpr std::string_view kUnitPrefix = "unit-";
  constexpr std::string_view kFreePrefix = "freeunit-";
  if (name.starts_with(kFreePrefix)) {
    const auto release = ParseRelease(name.substr(kFreePrefix.size()));
    if (!release || *release < kFreeUnit.first) return std::nullopt;
    return ProfileName{last, Canonical(kFreePrefix, *release), *release > kFreeUnit.last};
  }
  if (!name.starts_with(kUnitPrefix)) return std::nullopt;
  const auto release = ParseRelease(name.substr(kUnitPrefix.size()));
  if (!release) return std::nullopt;
  if (*release > kRanges[std::size(kRanges) - 1].last)
    return ProfileName{last, Canonical(kUnitPrefix, *release), true};
  for (size_t row = 1; row < std::size(kProfiles); ++row) {
    if (kRanges[row].first <= *release && *release <= kRanges[row].last) {
      return ProfileName{&kProfiles[row], Canonical(kUnitPrefix, *release), false};
    }
  }
  return std::nullopt;
}

std::span<const Profile> Profiles() { return kProfiles; }

std::string KnownProfiles() {
  std::string text = "unit-seed; unit-X.Y[.Z] with a release of";
  for (const Profile& profile : Profiles().subspan(1)) {
    absl::StrAppend(&text, " ", absl::string_view(profile.releases.data(), profile.releases.size()),
                    ",");
  }
  text.back() = ';';
  return text + " freeunit-1.35.1 - freeunit-1.36.0";
}

}  // namespace portproof
