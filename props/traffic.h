// Recordings of conforming traffic, and single edits of them.
//   shapes    several processes, threads and ports; tiny ports, so that edges are a few bytes
//             away. Everything is drawn from the dice: the same dice, the same recording
//   returns   ConformingTraffic: a recording in which nothing is broken, but that a process in
//             a pid namespace shows another number than the kernel does (HDR-7, once).
//             Edited: nullopt where the recording has nothing this edit could be made to
//   holds     values
//   rules     the sender's, of protocol/README.md: HDR, IOV, SND-5, SND-6, FRG, SHM, FDS, SOC-3
//   source    none; shares no code with the core's send queue
#ifndef PORTPROOF_PROPS_TRAFFIC_H_
#define PORTPROOF_PROPS_TRAFFIC_H_

#include <optional>
#include <set>
#include <string>

#include "oracle/conversation/generate.h"
#include "props/naive_checker.h"
#include "protocol/profile.h"

namespace portproof {

// What the recording holds, by name, is added to `reached`.
Recording ConformingTraffic(conversation::Dice& dice, const Profile& profile,
                            std::set<std::string>& reached);

enum class Edit : uint8_t {
  kDropSend,
  kDropRecv,
  kDropBoth,
  kRepeatSend,
  kRepeatRecv,
  kRepeatBoth,
  kSwapEvents,     // any two neighbours
  kSwapDatagrams,  // of one port, sends and receives
  kStream,
  kPid,
  kReplyPort,
  kType,
  kLast,
  kMmap,
  kNf,
  kMf,
  kFlagTwo,  // a flag is 2 (HDR-3)
  kByte15,
  kRecvByte,  // any byte, as received only
  kCut,       // the payload, or into the header
  kCutRecv,
  kFdMore,
  kFdLess,
  kFdRecv,  // one more or less, as received only
  kRights,  // two control messages
  kReference,
  kIov,
  kSegment,  // the announced size
  kTruncated,
};
inline constexpr size_t kEdits = static_cast<size_t>(Edit::kTruncated) + 1;
std::string_view Name(Edit edit);

std::optional<Recording> Edited(const Recording& recording, const Profile& profile, Edit edit,
                                conversation::Dice& dice);

}  // namespace portproof

#endif  // PORTPROOF_PROPS_TRAFFIC_H_
