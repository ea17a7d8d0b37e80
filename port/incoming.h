// The datagram that a receiver is working on while it performs the machine's actions. It may
// become a message.
//
//   shapes    Message: what the handler gets. The handler owns the buffers and descriptors
//             that it moves out; the receiver takes back the rest when the handler returns.
//             Sizes are in bytes
//   returns   AppendTo appends the payload to a chain, as Storage says. Keep moves the whole
//             datagram out of the batch
//   holds     the datagram's descriptors. Its bytes are in the batch that received it, or in
//             a buffer of its own after Keep
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
  Incoming() = default;  // empty; kResume fills it
  explicit Incoming(ReceiveBatch& batch) : batch_(&batch) {}

  // Takes the datagram `index` of the batch. One Incoming is reused for all of a batch.
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

  // Makes the datagram's bytes the message's payload, unless chunks were lent for it.
  void MakeWhole() {
    if (payload.empty() && !bytes_behind_header().empty()) payload.push_back(TakePart());
  }
  // The process that a remove_pid message names; empty if the payload is not four bytes.
  std::optional<int32_t> PidInPayload() const;
  void AppendTo(Payload& chain, const ReceiveAction& action);
  std::unique_ptr<Incoming> Keep(uint32_t buffer_bytes);
  // Takes back what the handler left (RCV-3); a buffer of the batch returns to its place.
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
  unsigned index_ = 0;           // in the batch
  const Block* lent_ = nullptr;  // the batch's buffer, while it is in the payload
  Part kept_;                    // the payload of a kept datagram
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_INCOMING_H_
