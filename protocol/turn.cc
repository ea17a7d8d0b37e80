#include "protocol/turn.h"

#include <algorithm>

namespace portproof {

Next After(Turn& turn, Answer answer, uint32_t count) {
  switch (answer) {
    case Answer::kDatagram:
    case Answer::kInterrupted:
    case Answer::kReset:
      turn.reads_left -= std::min(answer == Answer::kDatagram ? count : 1, turn.reads_left);
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
