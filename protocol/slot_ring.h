// A double-ended queue of slot numbers in one block that grows by doubling.
//   shapes    slot numbers of 32 bits; positions count from the front
//   returns   constant time everywhere, amortized where it grows
//   holds     one block once used, nothing before; Release gives it back
//   rules     none of its own; SND-5, SND-6 rest on it
//   source    none; std::deque allocates as it moves on, this does not
#ifndef PORTPROOF_PROTOCOL_SLOT_RING_H_
#define PORTPROOF_PROTOCOL_SLOT_RING_H_

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace portproof {

class SlotRing {
 public:
  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }

  uint32_t operator[](size_t position) const {
    assert(position < count_);
    return slots_[(front_ + position) & mask_];
  }
  uint32_t front() const { return (*this)[0]; }
  uint32_t back() const { return (*this)[count_ - 1]; }

  void push_back(uint32_t slot) {
    if (count_ == slots_.size()) Grow();
    slots_[(front_ + count_) & mask_] = slot;
    ++count_;
  }
  void push_front(uint32_t slot) {
    if (count_ == slots_.size()) Grow();
    front_ = (front_ - 1) & mask_;
    slots_[front_] = slot;
    ++count_;
  }
  void pop_front() {
    assert(count_ > 0);
    front_ = (front_ + 1) & mask_;
    --count_;
  }
  void pop_back() {
    assert(count_ > 0);
    --count_;
  }
  void clear() { front_ = count_ = 0; }
  void Release() { *this = SlotRing(); }

 private:
  void Grow() {
    std::vector<uint32_t> larger(slots_.empty() ? 8 : 2 * slots_.size());
    for (size_t i = 0; i < count_; ++i) larger[i] = (*this)[i];
    slots_ = std::move(larger);
    mask_ = slots_.size() - 1;
    front_ = 0;
  }

  std::vector<uint32_t> slots_;  // a power of two, or empty
  size_t mask_ = 0;
  size_t front_ = 0;
  size_t count_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_SLOT_RING_H_
