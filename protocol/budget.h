// What senders make one port keep, against FRG-8's limits: open assemblies and held
// messages charge one budget, so that together they reach each limit once.
//
//   shapes    a kept thing is an open assembly or a held datagram; sizes in bytes of
//             payload, the 16 of the header not counted
//   returns   Add, Grow: whether it fits, exactly the limit included; if not, nothing has
//             changed. preconditions: Remove and Shrink of what was added
//   quota     a sender may hold at most half of what the others leave free, of things
//             and of bytes: with h the sender's, the new ones included, o the others'
//             and T the total, h <= floor((T - o) / 2), which is 2h + o <= T. So
//             whatever one sender does, there is something left for the next
//   holds     a counter for each sender that has something kept, 24 bytes in a table
//             up to four times too large
//   rules     FRG-8
//   source    none: the original bounds nothing
#ifndef PORTPROOF_PROTOCOL_BUDGET_H_
#define PORTPROOF_PROTOCOL_BUDGET_H_

#include <cassert>
#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_map.h"

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
  explicit Budget(const ReassemblyLimits& limits) : limits_(limits) {}

  const ReassemblyLimits& limits() const { return limits_; }
  size_t count() const { return count_; }    // kept things
  uint64_t bytes() const { return bytes_; }  // in all of them
  uint32_t CountOf(int32_t sender) const {
    const auto found = kept_.find(sender);
    return found == kept_.end() ? 0 : found->second.count;
  }
  size_t MemoryBytes() const { return kept_.capacity() * kPlaceBytes; }

  // One more thing of that sender, and of that many bytes.
  bool Add(int32_t sender, uint32_t bytes) {
    const auto [place, fresh] = kept_.try_emplace(sender);
    Kept& kept = place->second;
    const bool fits = kept.count < limits_.open_per_sender &&
                      InQuota(kept.count, count_, 1, limits_.open) && Fits(kept, 0, bytes);
    if (!fits) {
      if (fresh) kept_.erase(place);
      return false;
    }
    kept.count += 1;
    kept.bytes += bytes;
    count_ += 1;
    bytes_ += bytes;
    return true;
  }
  // That many more bytes of a thing of that sender that has some.
  bool Grow(int32_t sender, uint32_t bytes_so_far, uint32_t bytes) {
    const auto found = kept_.find(sender);
    assert(found != kept_.end());
    if (!Fits(found->second, bytes_so_far, bytes)) return false;
    found->second.bytes += bytes;
    bytes_ += bytes;
    return true;
  }
  // Bytes of a thing that stays.
  void Shrink(int32_t sender, uint32_t bytes) {
    kept_.at(sender).bytes -= bytes;
    bytes_ -= bytes;
  }
  void Remove(int32_t sender, uint32_t bytes) {
    const auto found = kept_.find(sender);
    assert(found != kept_.end() && bytes <= found->second.bytes && bytes <= bytes_);
    found->second.count -= 1;
    found->second.bytes -= bytes;
    if (found->second.count == 0) kept_.erase(found);
    count_ -= 1;
    bytes_ -= bytes;
  }

  friend bool operator==(const Budget&, const Budget&) = default;

 private:
  friend uint64_t MemoryBytesMax(const ReassemblyLimits& limits);

  struct Kept {
    uint32_t count = 0;
    uint64_t bytes = 0;

    friend bool operator==(const Kept&, const Kept&) = default;
  };
  using Table = absl::flat_hash_map<int32_t, Kept>;
  // A value and a byte of control.
  static constexpr size_t kPlaceBytes = sizeof(Table::value_type) + 1;

  bool Fits(const Kept& kept, uint32_t bytes_so_far, uint32_t bytes) const {
    return bytes <= limits_.assembly_bytes - bytes_so_far &&
           InQuota(kept.bytes, bytes_, bytes, limits_.bytes);
  }
  // The quota above, with o = in_all - of_sender: of_sender + in_all + 2 * more <= total.
  // Nothing wraps: all but `total` are what was admitted before, or below 2^32.
  static bool InQuota(uint64_t of_sender, uint64_t in_all, uint64_t more, uint64_t total) {
    return in_all <= total && of_sender + 2 * more <= total - in_all;
  }

  ReassemblyLimits limits_;
  Table kept_;
  size_t count_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_BUDGET_H_
