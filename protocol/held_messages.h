// From 1.19 a message may name a segment that was not announced yet: it is held, the
// announcement is asked for with get_mmap, and the message goes on when it came.
//
//   shapes    one port's; a slot is a small number under which the shell keeps the held
//             datagram, descriptors and all. Ids are those of SegmentTable::FindUnknown,
//             each once, at most one for 12 bytes of payload; a datagram of a stream that
//             has something held is held behind it, with no ids of its own if it has
//             none. `budget` is the port's: that of its Reassembly
//   returns   Hold: FRG-8 where it does not fit, and then nothing changed; else its slot,
//             and which ids to ask for: each is asked for once. Announced: the slots that
//             go on now, in the order they came; within a stream none overtakes another.
//             Refuse, SenderDied, Close: the slots to discard
//   holds     what is held counts in FRG-8's limits with the assemblies, once. The state
//             itself occupies at most HeldBytesMax
//   rules     SHM-10, FRG-8, FRG-9, RCV-5
//   source    nxt_unit_process_msg and its incoming_mmap queue, which bounds nothing
#ifndef PORTPROOF_PROTOCOL_HELD_MESSAGES_H_
#define PORTPROOF_PROTOCOL_HELD_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/container/flat_hash_map.h"
#include "protocol/budget.h"
#include "protocol/rule.h"

namespace portproof {

struct HeldMessage {
  int32_t sender = 0;
  uint32_t stream = 0;
  uint32_t bytes = 0;  // of payload
  bool nf = false;     // as its header says
  bool mf = false;
};

class HeldMessages {
 public:
  // Something of that stream is held: what comes now waits behind it.
  bool MustFollow(int32_t sender, uint32_t stream) const {
    return !streams_.empty() && IsHeld(sender, stream);
  }
  // precondition: `unknown` is not empty, or the message must follow
  std::optional<Rule> Hold(const HeldMessage& message, std::span<const uint32_t> unknown,
                           Budget& budget, uint32_t& slot, std::vector<uint32_t>& ask);
  void Announced(int32_t sender, uint32_t id, Budget& budget, std::vector<uint32_t>& resumed);
  // A datagram of a stream with something held was refused, by Hold or before it, for a
  // rule that Discards: the message it tore goes, as far as it is held, and what waited
  // behind that alone goes on. True: so does the open assembly of its key, if any (a
  // Refused to Reassembly); false: a held fragment finishes that one first.
  bool Refuse(int32_t sender, uint32_t stream, Budget& budget, std::vector<uint32_t>& discarded,
              std::vector<uint32_t>& resumed);
  void SenderDied(int32_t sender, Budget& budget, std::vector<uint32_t>& discarded);
  void Close(Budget& budget, std::vector<uint32_t>& discarded);

  size_t count() const { return held_.size(); }
  // What the state itself occupies, unused capacity included.
  size_t MemoryBytes() const;

 private:
  struct Entry {
    HeldMessage message;
    uint32_t slot = 0;
    std::vector<uint32_t> unknown;
  };

  static uint64_t KeyOf(int32_t sender, uint32_t number) {
    return uint64_t{static_cast<uint32_t>(sender)} << 32 | number;
  }
  ABSL_ATTRIBUTE_NOINLINE bool IsHeld(int32_t sender, uint32_t stream) const;
  void Leave(const Entry& entry, Budget& budget, std::vector<uint32_t>& slots);
  void GoOn(int32_t sender, Budget& budget, std::vector<uint32_t>& resumed);

  std::vector<Entry> held_;                          // in the order they came
  absl::flat_hash_map<uint64_t, uint32_t> streams_;  // how many of each are held
  absl::flat_hash_map<uint64_t, uint32_t> wanted_;   // and how many wait for each id
  std::vector<uint32_t> free_slots_;
};

// FRG-8: about 256 bytes for each thing the limits allow, 4 for each byte of payload.
uint64_t HeldBytesMax(const ReassemblyLimits& limits);

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_HELD_MESSAGES_H_
