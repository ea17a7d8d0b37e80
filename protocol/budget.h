// What senders make one port keep, against FRG-8's limits: open assemblies and held
// messages charge one budget, so that together they reach each limit once.
//
//   shapes    a kept thing is an open assembly or a held datagram; sizes in bytes of
//             payload, the 16 of the header not counted. A Sender is a counter; the
//             reference holds until the next SenderOf or Remove
//   returns   Admits, AdmitsMore: whether it fits, exactly the limit included; both
//             change nothing. preconditions: Add of what Admits admitted, Grow of what
//             AdmitsMore did, Remove of what was added
//   holds     a counter for each sender that has something kept, 8 bytes in a table
//             up to four times too large; nothing is allocated in the steady state
//   rules     FRG-8
//   source    none: the original bounds nothing
#ifndef PORTPROOF_PROTOCOL_BUDGET_H_
#define PORTPROOF_PROTOCOL_BUDGET_H_

#include <cassert>
#include <cstddef>
#include <cstdint>

#include "protocol/probe_table.h"

namespace portproof {

// FRG-8. Exactly the limit is allowed.
struct ReassemblyLimits {
  uint32_t open_per_sender = 64;
  uint32_t open = 1024;
  uint32_t assembly_bytes = 32 << 20;  // below 2^32 - 2^21
  uint64_t bytes = 64 << 20;           // in all that is kept

  friend bool operator==(const ReassemblyLimits&, const ReassemblyLimits&) = default;
};

class Budget {
 public:
  struct Sender {
    int32_t key = 0;
    uint32_t count = 0;

    bool IsFree() const { return count == 0; }
    void SetFree() { count = 0; }
    friend bool operator==(const Sender&, const Sender&) = default;
  };

  explicit Budget(const ReassemblyLimits& limits) : limits_(limits) {}

  size_t count() const { return count_; }    // kept things
  uint64_t bytes() const { return bytes_; }  // in all of them
  uint32_t CountOf(int32_t sender) const {
    const Sender* found = senders_.Find(sender);
    return found == nullptr ? 0 : found->count;
  }
  size_t MemoryBytes() const { return senders_.MemoryBytes(); }

  Sender& SenderOf(int32_t sender) { return senders_.Place(sender); }
  // One more thing of that sender, and of that many bytes.
  bool Admits(const Sender& sender, uint32_t bytes) const {
    return count_ < limits_.open && sender.count < limits_.open_per_sender && AdmitsMore(0, bytes);
  }
  void Add(Sender& sender, uint32_t bytes) {
    if (++sender.count == 1) senders_.Placed();
    ++count_;
    bytes_ += bytes;
  }
  // That many more bytes of a thing that has some.
  bool AdmitsMore(uint32_t bytes_so_far, uint32_t bytes) const {
    return bytes <= limits_.assembly_bytes - bytes_so_far && bytes <= limits_.bytes - bytes_;
  }
  void Grow(uint32_t bytes) { bytes_ += bytes; }
  void Remove(int32_t sender, uint32_t bytes) {
    Sender& found = senders_.Place(sender);
    assert(found.count > 0 && bytes <= bytes_);
    if (found.count == 1) {
      senders_.Close(found);
    } else {
      --found.count;
    }
    --count_;
    bytes_ -= bytes;
  }

  friend bool operator==(const Budget&, const Budget&) = default;

 private:
  ReassemblyLimits limits_;
  ProbeTable<Sender> senders_;
  size_t count_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_BUDGET_H_
