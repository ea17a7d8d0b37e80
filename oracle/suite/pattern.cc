#include "oracle/suite/pattern.h"

#include <array>

#include "absl/strings/str_cat.h"

namespace portproof::suite {
namespace {

using Table = std::array<std::array<uint32_t, 256>, 8>;

// Eight tables, so that eight bytes are taken at a time.
constexpr Table MakeTable() {
  Table table = {};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
    table[0][byte] = crc;
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    for (size_t i = 1; i < table.size(); ++i)
      table[i][byte] = table[i - 1][byte] >> 8 ^ table[0][table[i - 1][byte] & 0xff];
  }
  return table;
}

constexpr Table kTable = MakeTable();

}  // namespace

void FillPattern(uint64_t seed, std::span<uint8_t> bytes) {
  uint64_t value = seed * 2654435761u;
  for (uint8_t& byte : bytes) {
    byte = static_cast<uint8_t>(value >> 8);
    value += 40503;
  }
}

std::vector<uint8_t> Pattern(uint64_t seed, size_t bytes) {
  std::vector<uint8_t> pattern(bytes);
  FillPattern(seed, pattern);
  return pattern;
}

uint32_t UpdateCrc32(uint32_t crc, std::span<const uint8_t> bytes) {
  crc = ~crc;
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    const uint8_t* const p = bytes.data() + i;
    crc = kTable[7][(crc ^ p[0]) & 0xff] ^ kTable[6][(crc >> 8 ^ p[1]) & 0xff] ^
          kTable[5][(crc >> 16 ^ p[2]) & 0xff] ^ kTable[4][(crc >> 24 ^ p[3]) & 0xff] ^
          kTable[3][p[4]] ^ kTable[2][p[5]] ^ kTable[1][p[6]] ^ kTable[0][p[7]];
  }
  for (; i < bytes.size(); ++i) crc = crc >> 8 ^ kTable[0][(crc ^ bytes[i]) & 0xff];
  return ~crc;
}

std::string CrcText(uint32_t crc) { return absl::StrCat(absl::Hex(crc, absl::kZeroPad8)); }

}  // namespace portproof::suite
