// A message's own copy of its chain: up to two buffers in place, more in a block.
//   shapes    buffers, in order
//   returns   Assign: a copy of the chain; the span of what it has now
//   holds     the block for more than two, once there were so many: the next message uses
//             it again, so that in the steady state nothing is allocated
//   rules     none of its own; CMP-1 rests on it
//   source    none: the original links the writer's own buffers
#ifndef PORTPROOF_PROTOCOL_BUFFER_LIST_H_
#define PORTPROOF_PROTOCOL_BUFFER_LIST_H_

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "protocol/chain.h"

namespace portproof {

class BufferList {
 public:
  void Assign(std::span<const Buffer> chain) {
    count_ = chain.size();
    if (count_ > few_.size()) {
      many_.assign(chain.begin(), chain.end());
      return;
    }
    if (count_ > 0) few_[0] = chain[0];
    if (count_ > 1) few_[1] = chain[1];
  }

  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }
  std::span<const Buffer> span() const {
    return {count_ <= few_.size() ? few_.data() : many_.data(), count_};
  }
  const Buffer& operator[](size_t index) const { return span()[index]; }

 private:
  std::array<Buffer, 2> few_;
  std::vector<Buffer> many_;
  size_t count_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_BUFFER_LIST_H_
