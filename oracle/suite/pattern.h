// The bytes of test payloads, and their checksum.
//   shapes    byte i of seed s: ((s * 2654435761 + i * 40503) >> 8) & 255, in 64 bits
//   returns   Crc32: the IEEE one; UpdateCrc32 goes on from an earlier one (0 at first)
//   holds     nothing
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_PATTERN_H_
#define PORTPROOF_ORACLE_SUITE_PATTERN_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace portproof::suite {

constexpr uint8_t PatternByte(uint64_t seed, uint64_t index) {
  return static_cast<uint8_t>((seed * 2654435761u + index * 40503u) >> 8);
}
void FillPattern(uint64_t seed, std::span<uint8_t> bytes);
std::vector<uint8_t> Pattern(uint64_t seed, size_t bytes);

uint32_t UpdateCrc32(uint32_t crc, std::span<const uint8_t> bytes);
std::string CrcText(uint32_t crc);  // "0a1b2c3d"

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_PATTERN_H_
