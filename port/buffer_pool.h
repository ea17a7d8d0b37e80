// The memory that datagrams are received into, and the handles to it that a message is
// delivered as.
//
//   shapes    Block: some bytes with an owner to go back to. Part: what is used of a
//             block, 16 bytes; it alone has the block, and moves. BufferPool: blocks of one
//             size, in bytes
//   returns   Take, NewSlab: a block, or null where memory ran out. Kept parts may
//             outlive the pool, the receiver and the loop
//   holds     a pool keeps at most `retained` unused blocks, the last used on top (it is
//             the warmest); what is in parts is the holder's. Not for several threads
//   rules     RCV-3, FRG-8
//   source    nxt_port_buf_alloc, nxt_port_buf_free
#ifndef PORTPROOF_PORT_BUFFER_POOL_H_
#define PORTPROOF_PORT_BUFFER_POOL_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"

namespace portproof {

class Block;

// Where a block goes when its part is gone.
class BlockOwner {
 public:
  virtual ~BlockOwner() = default;
  virtual void TakeBack(Block* block) = 0;
  virtual bool shared() const { return false; }  // the bytes are a peer's memory
};

class Block {
 public:
  Block(BlockOwner& owner, uint8_t* bytes, uint32_t capacity)
      : owner_(owner), bytes_(bytes), capacity_(capacity) {}

  uint8_t* bytes() const { return bytes_; }
  uint32_t capacity() const { return capacity_; }
  bool shared() const { return owner_.shared(); }

  void GiveBack() { owner_.TakeBack(this); }

 private:
  BlockOwner& owner_;
  uint8_t* bytes_;
  uint32_t capacity_;
};

// A block of at least one slab's bytes, that goes back to the heap.
Block* NewSlab(uint32_t capacity);

class Part {
 public:
  Part() = default;
  Part(Block* block, uint32_t offset, uint32_t bytes)
      : block_(block), offset_(offset), bytes_(bytes) {}
  Part(Part&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)),
        offset_(other.offset_),
        bytes_(std::exchange(other.bytes_, 0)) {}
  Part& operator=(Part&& other) noexcept {
    if (this != &other) {
      Drop();
      block_ = std::exchange(other.block_, nullptr);
      offset_ = other.offset_;
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;
  ~Part() { Drop(); }  // what a handler does not take is taken back (RCV-3)

  std::span<const uint8_t> bytes() const {
    if (block_ == nullptr) return {};
    return {block_->bytes() + offset_, bytes_};
  }
  const Block* block() const { return block_; }
  // In a peer's segment: it may change under the reader's eyes (SHM-9).
  bool shared() const { return block_ != nullptr && block_->shared(); }

  // For the receiver: the free bytes of the block behind this part, and their use.
  uint32_t room() const {
    if (block_ == nullptr || block_->shared()) return 0;
    return block_->capacity() - offset_ - bytes_;
  }
  uint8_t* Grow(uint32_t bytes) {
    uint8_t* const end = block_->bytes() + offset_ + bytes_;
    bytes_ += bytes;
    return end;
  }
  // For the receiver: the block without the part.
  Block* Release() {
    bytes_ = 0;
    return std::exchange(block_, nullptr);
  }

 private:
  void Drop() {
    if (block_ != nullptr) std::exchange(block_, nullptr)->GiveBack();
  }

  Block* block_ = nullptr;
  uint32_t offset_ = 0;
  uint32_t bytes_ = 0;
};
static_assert(sizeof(Part) == 16);

// A message's bytes, in order. Kept as long as one likes.
using Payload = absl::InlinedVector<Part, 1>;

uint64_t BytesOf(const Payload& payload);
// Copies at most `to.size()` bytes; returns how many.
size_t CopyOf(const Payload& payload, std::span<uint8_t> to);

class BufferPool {
 public:
  static constexpr size_t kRetainedDefault = 2048;  // 32 MiB of receive buffers

  explicit BufferPool(uint32_t buffer_bytes, size_t retained = kRetainedDefault);
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();

  uint32_t buffer_bytes() const;
  Block* Take();
  size_t lent() const;    // blocks in parts and batches
  size_t unused() const;  // blocks kept
  void ReleaseUnused();   // to the heap

 private:
  class Core;
  Core* core_;  // outlives the pool while blocks are lent
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_BUFFER_POOL_H_
