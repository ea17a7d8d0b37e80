// Plays a conversation between real processes: one for each sender, one that receives.
//   shapes    RealRun: what is played, and how: threads, a reader that is slow,
//             stopped, killed, or closes its end; a killed writer. Points in time are
//             counts of datagrams
//   returns   findings, empty if nothing was lost, doubled, leaked or stuck, and `check`
//             has nothing to say against the trace; what happened, whatever was planned
//   holds     the logs of the processes; it ends all of them
//   rules     SND-7, CMP-1, CMP-2, CMP-5, CMP-6, SND-4, SND-6, SND-13, FRG-4, FDS-5, SHM-6, SOC-3
//   source    none
#ifndef PORTPROOF_PROPS_REAL_PORT_H_
#define PORTPROOF_PROPS_REAL_PORT_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "oracle/conversation/action.h"

namespace portproof {

enum class Reader : uint8_t { kSteady, kSlow, kStopped, kKilled, kCloses };

struct RealRun {
  conversation::Conversation conversation;
  Reader reader = Reader::kSteady;
  bool tells_hang_up = false;   // the senders' loops, and not only the next send
  uint8_t threads = 1;          // of each sender; 1: a plain Sender
  bool default_sizes = false;   // MAX and SHARE, and not tiny ones
  bool batches = false;         // sendmmsg, and not one sendmsg after the other
  uint64_t reader_at = 0;       // when it is stopped or killed, or closes
  uint64_t kill_writer_at = 0;  // the first sender; 0: never
};

struct RealOutcome {
  std::vector<std::string> findings;
  std::string trace;              // JSON Lines
  std::set<std::string> reached;  // "fragmented", "socket full", ...
};

RealOutcome PlayForReal(const RealRun& run);

}  // namespace portproof

#endif  // PORTPROOF_PROPS_REAL_PORT_H_
