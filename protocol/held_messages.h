// From 1.19 a message may name a segment that was not announced yet: it is held, the
// announcement is asked for with get_mmap, and the message goes on when it came.
//
//   shapes    one port's, as part of the receive machine. A slot is a small number under
//             which the shell keeps the held datagram, descriptors and all; what the machine
//             knows of it is here. Ids are those of SegmentTable::FindUnknown. A datagram of
//             a stream that has something held is held behind it. `budget` is the port's:
//             that of its Reassembly
//   returns   Hold: FRG-8 where it does not fit, and then nothing changed; else its slot,
//             and which ids to ask for: each is asked for once. TakeReady: the next one that
//             waits for nothing any more, in the order they came; within a stream none
//             overtakes another. Refuse, SenderDied, Close: what to discard, slots free
//   holds     what is held counts in FRG-8's limits with the assemblies, once, until it is
//             taken or discarded. The state itself occupies at most HeldBytesMax
//   rules     SHM-10, FRG-8, FRG-9, RCV-5
//   source    nxt_unit_process_msg and its incoming_mmap queue, which bounds nothing
#ifndef PORTPROOF_PROTOCOL_HELD_MESSAGES_H_
#define PORTPROOF_PROTOCOL_HELD_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "protocol/budget.h"
#include "protocol/chunk.h"
#include "protocol/reassembly.h"
#include "protocol/rule.h"

namespace portproof {

struct HeldMessage {
  Datagram datagram;
  std::optional<ReferenceList> named;  // where its payload is references
  uint32_t slot = 0;

  friend bool operator==(const HeldMessage&, const HeldMessage&) = default;
};

class HeldMessages {
 public:
  // Something of that stream is held: what comes now waits behind it.
  bool MustFollow(int32_t sender, uint32_t stream) const {
    return !streams_.empty() && streams_.contains(KeyOf(sender, stream));
  }
  // precondition: `unknown` is not empty, or the message must follow. Sets message.slot
  std::optional<Rule> Hold(HeldMessage& message, std::span<const uint32_t> unknown, Budget& budget,
                           std::vector<uint32_t>& ask);
  void Announced(int32_t sender, uint32_t id);
  bool has_ready() const { return ready_ != 0; }
  // precondition: has_ready
  HeldMessage TakeReady(Budget& budget);
  // A datagram of a stream with something held was refused, by Hold or before it, for a
  // rule that Discards: the message it tore goes, as far as it is held, and what waited
  // behind that alone gets ready. True: so does the open assembly of its key, if any;
  // false: a held fragment finishes that one first.
  bool Refuse(int32_t sender, uint32_t stream, Budget& budget, std::vector<HeldMessage>& discarded);
  void SenderDied(int32_t sender, Budget& budget, std::vector<HeldMessage>& discarded);
  void Close(Budget& budget, std::vector<HeldMessage>& discarded);

  size_t count() const { return held_.size(); }
  // What the state itself occupies, unused capacity included.
  size_t MemoryBytes() const;

  friend bool operator==(const HeldMessages&, const HeldMessages&) = default;
  friend std::string ToString(const HeldMessages& held);  // one line a message, as they came

 private:
  struct Entry {
    HeldMessage message;
    std::vector<uint32_t> unknown;
    bool ready = false;

    friend bool operator==(const Entry&, const Entry&) = default;
  };

  static uint64_t KeyOf(int32_t sender, uint32_t number) {
    return uint64_t{static_cast<uint32_t>(sender)} << 32 | number;
  }
  void Leave(const Entry& entry, Budget& budget);
  template <typename Goes>
  void DiscardIf(size_t from, Goes goes, Budget& budget, std::vector<HeldMessage>& discarded);
  void MarkReady(int32_t sender);

  std::vector<Entry> held_;                          // in the order they came
  absl::flat_hash_map<uint64_t, uint32_t> streams_;  // how many of each are held
  absl::flat_hash_map<uint64_t, uint32_t> wanted_;   // and how many wait for each id
  std::vector<uint32_t> free_slots_;
  size_t ready_ = 0;
};

// FRG-8: about 512 bytes for each thing the limits allow, 6 for each byte of payload.
uint64_t HeldBytesMax(const ReassemblyLimits& limits);

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_HELD_MESSAGES_H_
