// Loads and stores of integers in a named byte order, without casting a buffer.
//   shapes    a pointer to at least the integer's width in readable (writable) bytes
//   returns   the value
//   holds     nothing; compiles to a move, with a swap for the other order
//   rules     HDR-2
//   source    none
#ifndef PORTPROOF_PROTOCOL_BYTES_H_
#define PORTPROOF_PROTOCOL_BYTES_H_

#include <bit>
#include <cstddef>
#include <cstdint>

namespace portproof {

// The machine's is that of the wire (HDR-2); a trace may come from a machine of the other.
enum class ByteOrder : uint8_t { kLittle, kBig };

constexpr ByteOrder MachineByteOrder() {
  return std::endian::native == std::endian::little ? ByteOrder::kLittle : ByteOrder::kBig;
}

template <typename Unsigned>
constexpr Unsigned Load(const uint8_t* bytes, ByteOrder order) {
  Unsigned value = 0;
  for (size_t i = 0; i < sizeof(Unsigned); ++i) {
    const size_t shift = 8 * (order == ByteOrder::kLittle ? i : sizeof(Unsigned) - 1 - i);
    value = static_cast<Unsigned>(value |
                                  static_cast<Unsigned>(static_cast<Unsigned>(bytes[i]) << shift));
  }
  return value;
}

template <typename Unsigned>
constexpr void Store(Unsigned value, uint8_t* bytes, ByteOrder order) {
  for (size_t i = 0; i < sizeof(Unsigned); ++i) {
    const size_t shift = 8 * (order == ByteOrder::kLittle ? i : sizeof(Unsigned) - 1 - i);
    bytes[i] = static_cast<uint8_t>(value >> shift);
  }
}

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_BYTES_H_
