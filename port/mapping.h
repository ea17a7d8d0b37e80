// A segment's pages in this process.
//   shapes    a whole segment, shared, readable and writable, from its first byte
//   returns   Map: valid() is false where the kernel refused (a read-only descriptor,
//             one sealed against writing, no address space)
//   holds     the pages until it is destroyed; not the descriptor
//   rules     SHM-8, SHM-9
//   source    nxt_mem_mmap
#ifndef PORTPROOF_PORT_MAPPING_H_
#define PORTPROOF_PORT_MAPPING_H_

#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "port/atomic_words.h"
#include "port/kernel.h"
#include "protocol/segment_header.h"
#include "protocol/tracking.h"

namespace portproof {

class Mapping {
 public:
  Mapping() = default;
  static Mapping Map(Kernel& kernel, int fd, size_t bytes) {
    void* const memory = kernel.Map(bytes, fd);
    return memory == MAP_FAILED ? Mapping() : Mapping(static_cast<uint8_t*>(memory), bytes);
  }
  Mapping(Mapping&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      Unmap();
      memory_ = std::exchange(other.memory_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { Unmap(); }

  bool valid() const { return memory_ != nullptr; }
  std::span<uint8_t> bytes() const { return {memory_, bytes_}; }
  AtomicWords Words(SegmentLayout layout) const {
    return AtomicWords(reinterpret_cast<uint64_t*>(memory_ + FieldsOf(layout).bitmap));
  }
  AtomicWords TrackingWords(SegmentLayout layout) const {
    return AtomicWords(reinterpret_cast<uint64_t*>(memory_ + TrackingOffset(layout)));
  }
  std::atomic_ref<uint16_t> SentOver(SegmentLayout layout) const {
    return std::atomic_ref(*reinterpret_cast<uint16_t*>(memory_ + FieldsOf(layout).sent_over));
  }

 private:
  Mapping(uint8_t* memory, size_t bytes) : memory_(memory), bytes_(bytes) {}
  void Unmap() {
    if (memory_ != nullptr) ::munmap(memory_, bytes_);
    memory_ = nullptr;
  }

  uint8_t* memory_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_MAPPING_H_
