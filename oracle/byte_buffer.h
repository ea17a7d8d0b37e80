// Bytes that grow at their end; room is not cleared first, and kept when emptied.
//   shapes    Room(n) gives writable bytes behind the end, Grew(n) says how many were used
//   returns   bytes(): what is in it; a view that holds until more room is asked for
//   holds     the most it ever had
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_BYTE_BUFFER_H_
#define PORTPROOF_ORACLE_BYTE_BUFFER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace portproof {

class ByteBuffer {
 public:
  std::span<const uint8_t> bytes() const { return {room_.data(), size_}; }
  size_t size() const { return size_; }
  void Clear() { size_ = 0; }
  void Push(uint8_t byte) {
    *Room(1) = byte;
    ++size_;
  }
  // At least `more` writable bytes behind the end; Grew says how many were used.
  uint8_t* Room(size_t more) {
    if (room_.size() - size_ < more) room_.resize(std::max(size_ + more, 2 * room_.size()));
    return room_.data() + size_;
  }
  void Grew(size_t count) { size_ += count; }
  void Cut(size_t size) { size_ = std::min(size_, size); }
  void Swap(ByteBuffer& other) {
    room_.swap(other.room_);
    std::swap(size_, other.size_);
  }

 private:
  std::vector<uint8_t> room_;
  size_t size_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_BYTE_BUFFER_H_
