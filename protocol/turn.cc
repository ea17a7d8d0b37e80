#include "protocol/turn.h"

#include <cassert>

namespace portproof {

Next After(Turn& turn, Answer answer) {
  assert(turn.reads_left > 0);
  switch (answer) {
    case Answer::kDatagram:
    case Answer::kInterrupted:
    case Answer::kReset:
      turn.reads_left -= 1;
      return turn.reads_left > 0 ? Next::kRead : Next::kCallAgain;
    case Answer::kEmpty:
      return Next::kWait;
    case Answer::kBusy:
    case Answer::kNoBuffer:
      return Next::kRetry;
    case Answer::kEndOfFile:
    case Answer::kError:
      return Next::kEnd;
  }
  return Next::kEnd;
}

}  // namespace portproof
