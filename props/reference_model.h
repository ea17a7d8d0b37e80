// The naive receiver: section 5 and 7 written for obviousness, sharing no code
// with the core. Open messages stand in a list and are searched from the front;
// payloads are strings that grow.
//   shapes    see wire.h
//   returns   what the datagram, the death or the closing led to, in `outcome`
//   holds     every byte of every open message
//   rules     HDR-1, 3, 4, 7; FDS-1, 2, 5, 7; RCV-1, 5; FRG-1, 2, 3, 4, 8, 9, 10; SHM-1, 2, 14
//   source    none
#ifndef PORTPROOF_PROPS_REFERENCE_MODEL_H_
#define PORTPROOF_PROPS_REFERENCE_MODEL_H_

#include <cstdint>
#include <vector>

#include "props/wire.h"

namespace portproof {

class ReferenceModel {
 public:
  explicit ReferenceModel(const Port& port) : port_(port) {}

  void Receive(const Wire& wire, Outcome& outcome);
  void SenderDied(int32_t sender, Outcome& outcome);
  void Close(Outcome& outcome);

  size_t open() const { return open_.size(); }
  uint64_t bytes() const;

 private:
  struct Open {
    int32_t sender;
    Message message;
    bool cancelled;
  };

  const char* Check(const Wire& wire, Outcome& outcome);
  bool HasQuota(int32_t owner, size_t more_open, size_t more_bytes) const;
  const char* Begin(int32_t sender, bool cancelled, Outcome& outcome);
  const char* Continue(size_t index, bool more, Outcome& outcome);
  bool IsKeyOf(const Open& open, int32_t sender, uint32_t stream) const;
  int Find(int32_t sender, uint32_t stream) const;
  void Discard(int index, const char* rule, Outcome& outcome);

  Port port_;
  std::vector<Open> open_;
  Message now_;  // the datagram looked at
};

}  // namespace portproof

#endif  // PORTPROOF_PROPS_REFERENCE_MODEL_H_
