#include "port/buffer_pool.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace portproof {
namespace {

// The block and its bytes are one allocation.
Block* NewBlock(BlockOwner& owner, uint32_t capacity) {
  void* const memory = ::operator new(sizeof(Block) + capacity, std::nothrow);
  if (memory == nullptr) return nullptr;
  return new (memory) Block(owner, static_cast<uint8_t*>(memory) + sizeof(Block), capacity);
}

void DeleteBlock(Block* block) {
  block->~Block();
  ::operator delete(block, std::nothrow);
}

class Heap : public BlockOwner {
 public:
  void TakeBack(Block* block) override { DeleteBlock(block); }
};

}  // namespace

Block* NewSlab(uint32_t capacity) {
  static Heap heap;
  return NewBlock(heap, capacity);
}

uint64_t BytesOf(const Payload& payload) {
  uint64_t bytes = 0;
  for (const Part& part : payload) bytes += part.bytes().size();
  return bytes;
}

size_t CopyOf(const Payload& payload, std::span<uint8_t> to) {
  size_t copied = 0;
  for (const Part& part : payload) {
    const size_t bytes = std::min(part.bytes().size(), to.size() - copied);
    if (bytes != 0) std::memcpy(to.data() + copied, part.bytes().data(), bytes);
    copied += bytes;
  }
  return copied;
}

class BufferPool::Core : public BlockOwner {
 public:
  Core(uint32_t buffer_bytes, size_t retained) : buffer_bytes(buffer_bytes), retained(retained) {}

  Block* Take() {
    Block* block = nullptr;
    if (unused.empty()) {
      block = NewBlock(*this, buffer_bytes);
      if (block == nullptr) return nullptr;
    } else {
      block = unused.back();
      unused.pop_back();
    }
    ++lent;
    return block;
  }

  void TakeBack(Block* block) override {
    --lent;
    if (closed || unused.size() >= retained) {
      DeleteBlock(block);
    } else {
      unused.push_back(block);
    }
    if (closed && lent == 0) delete this;
  }

  void ReleaseUnused() {
    for (Block* const block : unused) DeleteBlock(block);
    unused = {};
  }

  const uint32_t buffer_bytes;
  const size_t retained;
  std::vector<Block*> unused;
  size_t lent = 0;
  bool closed = false;
};

BufferPool::BufferPool(uint32_t buffer_bytes, size_t retained)
    : core_(new Core(buffer_bytes, retained)) {}

BufferPool::~BufferPool() {
  core_->ReleaseUnused();
  core_->closed = true;
  if (core_->lent == 0) delete core_;
}

uint32_t BufferPool::buffer_bytes() const { return core_->buffer_bytes; }
Block* BufferPool::Take() { return core_->Take(); }
size_t BufferPool::lent() const { return core_->lent; }
size_t BufferPool::unused() const { return core_->unused.size(); }
void BufferPool::ReleaseUnused() { core_->ReleaseUnused(); }

}  // namespace portproof
