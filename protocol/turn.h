// A turn: the loop lets a receiver read until the socket is empty, or until it has
// read its share of datagrams and others must run.
//   shapes    Answer: what a call for datagrams said, errno classified by the shell
//   returns   Next: what the shell does now; the state after it is the Turn. Caution:
//             whether one call may take several datagrams
//   holds     nothing
//   rules     RCV-4, RCV-5, RCV-6, RCV-7
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

// `count`: how many datagrams came, with kDatagram.
Next After(Turn& turn, Answer answer, uint32_t count);

// RCV-5: one call that takes several datagrams puts all their descriptors into the table
// before the first is looked at. With few free slots those of a datagram that will be
// refused take the place of those of the next, which are lost. So a port reads one
// datagram at a time while descriptors come, and goes on to batches when kSinglyReads came
// without any and the table has room for whatever a batch can bring.
inline constexpr uint32_t kSinglyReads = 64;

class Caution {
 public:
  // `slots_short`: this port or another of the process has seen the table full, and nobody
  // has seen room since.
  bool ReadsSingly(bool slots_short) const { return singly_left_ > 0 || slots_short || !asked_; }
  // Whether the kernel must be asked for the number of free slots before the next read.
  bool MustAsk(bool slots_short) const { return singly_left_ == 0 && (slots_short || !asked_); }
  void Answered(bool room) {
    asked_ = room;
    singly_left_ = room ? 0 : kSinglyReads;
  }
  // A datagram came, with descriptors (or with such as were lost) or without.
  void Came(bool descriptors) {
    if (descriptors) [[unlikely]] {
      singly_left_ = kSinglyReads;
      asked_ = false;
    } else if (singly_left_ > 0) [[unlikely]] {
      --singly_left_;
    }
  }

  friend bool operator==(const Caution&, const Caution&) = default;

 private:
  uint32_t singly_left_ = kSinglyReads;
  bool asked_ = false;  // since then, and there was room
};

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_TURN_H_
