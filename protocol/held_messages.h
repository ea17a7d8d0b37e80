// From 1.19 a message may name a segment that was not announced yet. The receiver holds the
// message, asks for the announcement with get_mmap, and goes on with it when that came.
//
//   shapes    the held messages of one port. The shell keeps a held datagram and its
//             descriptors under a slot, a small number. Ids are those of
//             SegmentTable::FindUnknown. A datagram whose stream has something held is held
//             behind that. `budget` is the one of the port's Reassembly
//   returns   Hold: FRG-8 if the datagram does not fit, and then nothing has changed; else
//             its slot and the ids to ask for, each once. TakeReady: the first one that
//             waits for nothing any more; within a stream none overtakes another. Refuse,
//             SenderDied, Close: the messages to discard, whose slots are free
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
  std::optional<ReferenceList> named;  // empty if its payload is plain
  uint32_t slot = 0;

  friend bool operator==(const HeldMessage&, const HeldMessage&) = default;
};

class HeldMessages {
 public:
  // Something of that stream is held, so a new datagram of it must wait behind.
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
  // A datagram of a stream with something held was refused for a rule that Discards. The held
  // fragments of its message are discarded, and what waited only behind them gets ready. True:
  // the caller also discards the open assembly of its key. False: the caller keeps it, since a
  // held fragment will finish it first.
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
