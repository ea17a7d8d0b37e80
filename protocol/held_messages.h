// From 1.19 a message may name a segment that was not announced yet: it is held, the
// announcement is asked for with get_mmap, and the message goes on when it came.
//
//   shapes    one port's; a slot is a small number under which the shell keeps the held
//             datagram, descriptors and all. Ids are those of SegmentTable::FindUnknown;
//             a datagram of a stream that has something held is held behind it, with no
//             ids of its own if it has none
//   returns   Hold: FRG-8 where it does not fit, the shell refuses the datagram; else
//             its slot, and which ids to ask for: each is asked for once. Announced: the
//             slots that go on now, in the order they came; within a stream none
//             overtakes another. SenderDied, Close: the slots to discard
//   holds     what is held counts in FRG-8's limits with the assemblies (Usage)
//   rules     SHM-10, FRG-8, FRG-9
//   source    nxt_unit_process_msg and its incoming_mmap queue, which bounds nothing
#ifndef PORTPROOF_PROTOCOL_HELD_MESSAGES_H_
#define PORTPROOF_PROTOCOL_HELD_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "protocol/reassembly.h"
#include "protocol/rule.h"

namespace portproof {

// What open assemblies take of the limits.
struct Usage {
  uint32_t open_of_sender = 0;
  uint64_t open = 0;
  uint64_t bytes = 0;
};

struct HeldMessage {
  int32_t sender = 0;
  uint32_t stream = 0;
  uint32_t bytes = 0;  // of payload
};

class HeldMessages {
 public:
  explicit HeldMessages(const ReassemblyLimits& limits) : limits_(limits) {}

  // Something of that stream is held: what comes now waits behind it.
  bool MustFollow(int32_t sender, uint32_t stream) const {
    return !streams_.empty() && streams_.contains(KeyOf(sender, stream));
  }
  // precondition: `unknown` is not empty, or the message must follow
  std::optional<Rule> Hold(const HeldMessage& message, std::span<const uint32_t> unknown,
                           const Usage& usage, uint32_t& slot, std::vector<uint32_t>& ask);
  void Announced(int32_t sender, uint32_t id, std::vector<uint32_t>& resumed);
  void SenderDied(int32_t sender, std::vector<uint32_t>& discarded);
  void Close(std::vector<uint32_t>& discarded);

  size_t count() const { return held_.size(); }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Entry {
    HeldMessage message;
    uint32_t slot = 0;
    std::vector<uint32_t> unknown;
  };

  static uint64_t KeyOf(int32_t sender, uint32_t number) {
    return uint64_t{static_cast<uint32_t>(sender)} << 32 | number;
  }
  bool Fits(const HeldMessage& message, const Usage& usage) const;
  void Leave(const Entry& entry, std::vector<uint32_t>& slots);

  ReassemblyLimits limits_;
  std::vector<Entry> held_;                           // in the order they came
  absl::flat_hash_map<uint64_t, uint32_t> streams_;   // how many of each are held
  absl::flat_hash_map<int32_t, uint32_t> of_sender_;  // and of each sender
  absl::flat_hash_set<uint64_t> asked_;               // sender and id
  std::vector<uint32_t> free_slots_;
  uint64_t bytes_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_HELD_MESSAGES_H_
