// Byte strings as conversations with a receiver: total, so that any bytes of a
// fuzzer or a generator are a conversation, and small, so that edges are near.
//
//   byte  bits  meaning, for each action of four bytes
//   0     0-3   nf, mf, last, mmap
//         4-5   sender: pid 101, 101, 102, 103
//         6-7   stream: 0, 0, 1, 2
//   1     0-2   type: 0-5 the usual one, 6 another, 7 one the profile does not have
//         3-5   descriptors: 0-4 none, 5 one, 6 two, 7 three
//         6-7   credentials: 0 and 1 the sender's, 2 none, 3 another sender's
//   2           payload bytes, modulo MAX + 2; with tracking: odd, it was cancelled
//   3     0-3   0-9 an ordinary datagram, 10 flags of 2, 11 two SCM_RIGHTS messages,
//               12 MSG_TRUNC, 13 MSG_CTRUNC, 14 the sender dies, 15 fewer than 16 bytes
//               (of length 15: the port is closed)
//         4-7   content; its lowest bit: another reply port; with mmap: 0-11 good references, 12 no
//         bytes, 13 chunk 640,
//               14 overlapping ones, 15 no list of references
//
//   shapes    as above; fewer than four bytes at the end are dropped
//   returns   Next: false at the end
//   holds     nothing; the action's buffers are the caller's, reused
//   rules     none of its own
//   source    none
#ifndef PORTPROOF_PROPS_RECEIVER_ACTION_H_
#define PORTPROOF_PROPS_RECEIVER_ACTION_H_

#include <cstdint>
#include <span>

#include "props/wire.h"

namespace portproof {

struct ReceiverAction {
  enum class Kind : uint8_t { kDatagram, kSenderDies, kClose };

  Kind kind = Kind::kDatagram;
  int32_t sender = 0;
  Wire wire;
};

class ReceiverActionReader {
 public:
  ReceiverActionReader(std::span<const uint8_t> bytes, const Port& port)
      : bytes_(bytes), port_(port) {}

  bool Next(ReceiverAction& action);

 private:
  void MakeHeader(std::span<const uint8_t> code, Wire& wire) const;
  void MakePayload(std::span<const uint8_t> code, Wire& wire) const;
  void MakeReferences(uint32_t content, size_t payload_bytes, Wire& wire) const;

  std::span<const uint8_t> bytes_;
  Port port_;
  int next_fd_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_PROPS_RECEIVER_ACTION_H_
