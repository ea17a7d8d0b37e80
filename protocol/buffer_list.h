// A message's own copy of its chain: up to two buffers in place, more in a block.
//   shapes    buffers, in order
//   returns   Assign: a copy of the chain; the span of what it has now; first: without a
//             branch, what the commonest messages have
//   holds     the block for more than two, once there were so many: the next message uses
//             it again, so that in the steady state nothing is allocated
//   rules     none of its own; CMP-1 rests on it
//   source    none: the original links the writer's own buffers
#ifndef PORTPROOF_PROTOCOL_BUFFER_LIST_H_
#define PORTPROOF_PROTOCOL_BUFFER_LIST_H_

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <span>
#include <vector>

#include "protocol/chain.h"

namespace portproof {

class BufferList {
 public:
  void Assign(std::span<const Buffer> chain) {
    count_ = chain.size();
    if (count_ == 1) [[likely]] {
      few_[0] = chain[0];
      return;
    }
    if (count_ > few_.size()) {
      many_.assign(chain.begin(), chain.end());
      return;
    }
    few_ = {};
    std::copy(chain.begin(), chain.end(), few_.begin());
  }

  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }
  std::span<const Buffer> span() const {
    return {count_ <= few_.size() ? few_.data() : many_.data(), count_};
  }
  // Of a list of at most one: that one, or an empty buffer.
  const Buffer& first() const {
    assert(count_ <= 1);
    return few_[0];
  }
  const Buffer& operator[](size_t index) const { return span()[index]; }

 private:
  size_t count_ = 0;
  std::array<Buffer, 2> few_;
  std::vector<Buffer> many_;
};

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_BUFFER_LIST_H_
