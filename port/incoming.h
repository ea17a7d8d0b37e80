// The datagram at hand while a receiver performs the machine's actions, which may become a
// message.
//
//   shapes    Message: what the handler gets; what it moves out of it is its own (buffers,
//             descriptors), the rest is taken back when it returns. Sizes in bytes
//   returns   AppendTo: its payload behind what a chain has, as Storage says. Keep: the
//             datagram as it is, outside the batch
//   holds     its descriptors; its bytes are in the batch that received it, or its own
//   rules     RCV-3, FRG-8, FDS-5
//   source    nxt_port_recv_msg_t
#ifndef PORTPROOF_PORT_INCOMING_H_
#define PORTPROOF_PORT_INCOMING_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "port/buffer_pool.h"
#include "port/datagram_io.h"
#include "protocol/header.h"
#include "protocol/receive_action.h"

namespace portproof {

struct Message {
  Header header;       // nf = mf = 0, last = OR over the fragments (FRG-4)
  int32_t sender = 0;  // HDR-7
  Payload payload;
  Fds fds;

  uint64_t bytes() const { return BytesOf(payload); }
};

class Incoming : public Message {
 public:
  Incoming() = default;  // nothing, or what kResume makes of it
  explicit Incoming(ReceiveBatch& batch) : batch_(&batch) {}

  // The i-th of the batch; an Incoming serves one after the other.
  Received Take(unsigned index) {
    index_ = index;
    const Received received = batch_->Take(index, fds);
    has_header = DecodeHeaderTo(batch_->BytesOf(index), header);
    return received;
  }
  std::span<const uint8_t> bytes_behind_header() const {
    if (batch_ == nullptr) return kept_.bytes();
    const std::span<const uint8_t> bytes = batch_->BytesOf(index_);
    return bytes.subspan(std::min(bytes.size(), kHeaderBytes));
  }

  // The payload becomes the message's, if there is any and no chunks were lent for it.
  void MakeWhole() {
    if (payload.empty() && !bytes_behind_header().empty()) payload.push_back(TakePart());
  }
  // The process that a remove_pid message names; none where its payload is no number.
  std::optional<int32_t> PidInPayload() const;
  void AppendTo(Payload& chain, const ReceiveAction& action);
  std::unique_ptr<Incoming> Keep(uint32_t buffer_bytes);
  // What the handler did not take (RCV-3): a buffer of the batch goes back to its place.
  void TakeBack() {
    fds.clear();
    const Block* const lent = std::exchange(lent_, nullptr);
    for (Part& part : payload) {
      if (lent != nullptr && part.block() == lent) batch_->GiveBack(index_, part.Release());
    }
    payload.clear();
  }

  bool has_header = false;

 private:
  Part TakePart() {
    if (batch_ == nullptr) return std::move(kept_);
    const auto bytes = static_cast<uint32_t>(bytes_behind_header().size());
    Part part = batch_->TakeBuffer(index_, kHeaderBytes, bytes);
    lent_ = part.block();
    return part;
  }

  ReceiveBatch* batch_ = nullptr;
  unsigned index_ = 0;           // there
  const Block* lent_ = nullptr;  // the batch's buffer, while it is in the payload
  Part kept_;                    // not in the batch
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_INCOMING_H_
