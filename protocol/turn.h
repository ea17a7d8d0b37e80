// A turn: the loop lets a receiver read until the socket is empty, or until it has
// read its share of datagrams and others must run.
//   shapes    Answer: what recvmsg said, errno classified by the shell; calls in number
//   returns   Next: what the shell does now; the state after it is the Turn
//   holds     nothing
//   rules     RCV-4, RCV-6, RCV-7
//   source    nxt_port_read_handler, which reads until EAGAIN and ends the port for
//             ECONNRESET
#ifndef PORTPROOF_PROTOCOL_TURN_H_
#define PORTPROOF_PROTOCOL_TURN_H_

#include <cstdint>

namespace portproof {

enum class Answer : uint8_t {
  kDatagram,     // one was read, whatever became of it
  kEmpty,        // EAGAIN; also behind what a batch brought that came short
  kInterrupted,  // EINTR
  kBusy,         // ENOMEM, ENOBUFS
  kNoBuffer,     // nothing to receive into; recvmsg was not called
  kReset,        // ECONNRESET: the peer closed with data unread; its datagrams may still come
  kEndOfFile,    // HDR-8
  kError,        // anything else
};

enum class Next : uint8_t {
  kRead,       // call recvmsg again
  kWait,       // the turn ends; the socket is empty, the next event tells
  kCallAgain,  // the turn ends; there may be more, and no event will tell (RCV-7)
  kRetry,      // the turn ends; try again after a while, no event will tell (RCV-6)
  kEnd,        // the receive end is over: discard what is open (FRG-9), once
};

inline constexpr uint32_t kReadsPerTurn = 64;

struct Turn {
  uint32_t reads_left = kReadsPerTurn;  // RCV-4; interrupted and reset reads count too

  friend bool operator==(const Turn&, const Turn&) = default;
};

// precondition: turn.reads_left > 0
Next After(Turn& turn, Answer answer);

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_TURN_H_
