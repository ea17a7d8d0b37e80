// Ten mistakes in a copy of the send queue: planted.patch turns protocol/send_machine.cc
// into a queue that makes the one that is chosen. Tests of the tests are built on it; the
// product never sees it.
//   shapes    Defect: one mistake. Most are the original's
//   returns   Planted: whether this one is chosen. Plant chooses; the fuzzer reads the
//             environment variable PORTPROOF_PLANTED (a name) when it starts
//   holds     the choice
//   rules     each defect names those it breaks
//   source    section 4, where it says "Original"
#ifndef PORTPROOF_PROPS_PLANTED_H_
#define PORTPROOF_PROPS_PLANTED_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace portproof {

enum class Defect : uint8_t {
  kNone,
  kMfByStraddlingOnly,          // IOV-5: mf only when a buffer straddles the limit
  kLastLostBehindLimit,         // IOV-6: a mark right behind a full datagram
  kWouldBlockLosesUnqueued,     // SND-2: EAGAIN at a message's own write
  kWriteIntoFullQueueLost,      // SND-1: while the socket is thought writable
  kShareLostAtWouldBlock,       // SND-5
  kRotationOvertakesItsStream,  // SND-6: a rotated message lets its stream's next begin
  kCompletesBeforeAcceptance,   // CMP-3: a buffer completes with its first byte
  kSyncSkippedOnFailure,        // CMP-5
  kFdsSentAgain,                // SND-8: after EAGAIN
  kStallAfterRotation,          // SND-7
};

inline constexpr uint8_t kDefectCount = 11;  // kNone included

std::string_view Name(Defect defect);  // "mf-by-straddling-only"
std::optional<Defect> FindDefect(std::string_view name);

void Plant(Defect defect);
bool Planted(Defect defect);

}  // namespace portproof

#endif  // PORTPROOF_PROPS_PLANTED_H_
