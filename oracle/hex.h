// Hex digits to bytes.
//   shapes    two characters, either case
//   returns   the byte, or -1 where one is no hex digit
//   holds     nothing
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_HEX_H_
#define PORTPROOF_ORACLE_HEX_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace portproof {

inline constexpr std::array<int, 256> kHexValues = [] {
  std::array<int, 256> table{};
  table.fill(-1);
  constexpr std::string_view kDigits = "0123456789abcdef";
  constexpr std::string_view kCapitals = "ABCDEF";
  for (size_t i = 0; i < kDigits.size(); ++i) {
    table[static_cast<uint8_t>(kDigits[i])] = static_cast<int>(i);
  }
  for (size_t i = 0; i < kCapitals.size(); ++i) {
    table[static_cast<uint8_t>(kCapitals[i])] = static_cast<int>(10 + i);
  }
  return table;
}();

inline int HexPair(const char* at) {
  const int high = kHexValues[static_cast<uint8_t>(at[0])];
  const int low = kHexValues[static_cast<uint8_t>(at[1])];
  return (high | low) < 0 ? -1 : high * 16 + low;
}

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_HEX_H_
