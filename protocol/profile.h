// What changed between releases: one row per set of releases that speak alike.
//   shapes    Profile: a constant row; ProfileName: a resolved "unit-1.35.0"
//   returns   ResolveProfile: the row and the canonical name, or nullopt for a
//             name that is none; a release newer than all resolves to the newest
//             row with `newer_than_known` set. KnownProfiles lists the names.
//   holds     rows are constant and live for ever; a ProfileName owns its text
//   rules     the tables of section 1; FRG-4's key, FDS-2's count, IOV-3's L
//   source    the releases themselves; `unit-seed` is the commit before 0.2
#ifndef PORTPROOF_PROTOCOL_PROFILE_H_
#define PORTPROOF_PROTOCOL_PROFILE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace portproof {

// What a message is about. The number on the wire depends on the profile.
enum class Type : uint8_t {
  kRpcReady,
  kRpcError,
  kStartWorker,
  kStartProcess,
  kSocket,
  kSocketUnlink,
  kModules,
  kConfStore,
  kCertGet,
  kCertDelete,
  kScriptGet,
  kScriptDelete,
  kAccessLog,
  kChangeFile,
  kNewPort,
  kGetPort,
  kPortAck,
  kMmap,
  kGetMmap,
  kProcessCreated,
  kProcessReady,
  kWhoami,
  kRemovePid,
  kQuit,
  kReqHeaders,
  kReqHeadersAck,
  kReqBody,
  kWebsocketFrame,
  kData,
  kAppRestart,
  kStatus,
  kOosm,
  kShmAck,
  kReadQueue,
  kReadSocket,
};

std::string_view Name(Type type);  // "rpc_ready"

enum class Byte15 : uint8_t {
  kPadding,       // undefined on the wire, never judged (HDR-5)
  kTracking,      // non-zero: 8 bytes stand before the references (SHM-1)
  kTrackingZero,  // a tracking flag that no release sets
};

// Where the fields of a shared memory segment's header stand (section 6).
enum class SegmentLayout : uint8_t { kSeed, kSourced, kOosm };

struct Profile {
  std::string_view newest;      // the newest release of the row: "unit-1.35.0"
  std::string_view releases;    // "1.30.0 - 1.35.0"
  std::span<const Type> types;  // index = number on the wire; size = the count of HDR-4
  bool header_within_max;       // L = MAX - 16, datagrams <= MAX; else L = MAX
  bool key_has_sender;          // assemblies are keyed by (sender, stream), else by stream
  uint8_t fds_max;              // FDS-2
  Byte15 byte15;
  bool credentials;  // by the kernel (HDR-7, SOC-4)
  bool queues;       // ports may have a queue a socket trace does not show
  SegmentLayout segment_layout;

  friend bool operator==(const Profile& a, const Profile& b) {
    return a.newest == b.newest && a.releases == b.releases;
  }
};

// The payload limit L of one plain datagram, in bytes, for a port's MAX.
uint32_t PayloadLimit(const Profile& profile, uint32_t max_size);

// The type behind a number on the wire; nullopt where the profile has none (HDR-4).
std::optional<Type> TypeOf(const Profile& profile, uint8_t number);
// The number of a type on the wire; start_worker and start_process stand for each other.
std::optional<uint8_t> NumberOf(const Profile& profile, Type type);
// "conf_store", or "type 77" for a number the profile does not have.
std::string TypeName(const Profile& profile, uint8_t number);

// FDS-6: how many descriptors a message of a type carries.
struct FdNeeds {
  uint32_t least = 0;
  uint32_t most = 0;
  bool one_too = true;  // false: exactly least or most (start_process: 0 or 2)

  constexpr bool Allow(uint32_t fds) const {
    return one_too ? fds >= least && fds <= most : fds == least || fds == most;
  }
};
// nullopt where the rule does not say.
std::optional<FdNeeds> NeedsOf(Type type, const Profile& profile);

struct ProfileName {
  const Profile* profile = nullptr;
  std::string name;
  bool newer_than_known = false;
};

std::optional<ProfileName> ResolveProfile(std::string_view name);
std::span<const Profile> Profiles();  // oldest first, `unit-seed` before all
std::string KnownProfiles();          // for error messages

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_PROFILE_H_
