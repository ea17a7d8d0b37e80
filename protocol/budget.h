// What senders make one port keep, against FRG-8's limits: open assemblies and held
// messages charge one budget, so that together they reach each limit once.
//
//   shapes    a kept thing is an open assembly or a held datagram; sizes in bytes of
//             payload, the 16 of the header not counted. A Sender is a counter; the
//             reference holds until the next SenderOf or Remove
//   returns   Admits, AdmitsMore: whether it fits, exactly the limit included; both
//             change nothing. preconditions: Add of what Admits admitted, Grow of what
//             AdmitsMore did, Remove of what was added
//   quota     a sender may hold at most half of what the others leave free, of things
//             and of bytes: with h the sender's, the new ones included, o the others'
//             and T the total, h <= floor((T - o) / 2), which is 2h + o <= T. So
//             whatever one sender does, there is something left for the next
//   holds     a counter for each sender that has something kept, 16 bytes in a table
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
    uint64_t bytes = 0;

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
    const uint32_t count = sender.IsFree() ? 0 : sender.count;
    return count < limits_.open_per_sender && InQuota(count, count_, 1, limits_.open) &&
           AdmitsMore(sender, 0, bytes);
  }
  void Add(Sender& sender, uint32_t bytes) {
    if (sender.IsFree()) {
      sender.bytes = 0;
      senders_.Placed();
    }
    ++sender.count;
    sender.bytes += bytes;
    ++count_;
    bytes_ += bytes;
  }
  // That many more bytes of a thing of that sender that has some.
  bool AdmitsMore(const Sender& sender, uint32_t bytes_so_far, uint32_t bytes) const {
    return bytes <= limits_.assembly_bytes - bytes_so_far &&
           InQuota(sender.IsFree() ? 0 : sender.bytes, bytes_, bytes, limits_.bytes);
  }
  void Grow(Sender& sender, uint32_t bytes) {
    assert(!sender.IsFree());
    sender.bytes += bytes;
    bytes_ += bytes;
  }
  // Bytes of a thing that stays.
  void Shrink(Sender& sender, uint32_t bytes) {
    assert(bytes <= sender.bytes);
    sender.bytes -= bytes;
    bytes_ -= bytes;
  }
  void Remove(int32_t sender, uint32_t bytes) {
    Sender& found = senders_.Place(sender);
    assert(found.count > 0 && bytes <= found.bytes && bytes <= bytes_);
    if (found.count == 1) {
      senders_.Close(found);
    } else {
      --found.count;
      found.bytes -= bytes;
    }
    --count_;
    bytes_ -= bytes;
  }

  friend bool operator==(const Budget&, const Budget&) = default;

 private:
  // The quota above, with o = in_all - of_sender: of_sender + in_all + 2 * more <= total.
  // Nothing wraps: all but `total` are what was admitted before, or below 2^32.
  static bool InQuota(uint64_t of_sender, uint64_t in_all, uint64_t more, uint64_t total) {
    return in_all <= total && of_sender + 2 * more <= total - in_all;
  }

  ReassemblyLimits limits_;
  ProbeTable<Sender> senders_;
  size_t count_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_BUDGET_H_
