// Decimal digits to a number, eight at a time.
//   shapes    ASCII digits, as many as there are from the cursor on
//   returns   ReadDigits: how many, and the cursor stands behind them; the number, which
//             has overflowed where there are more than kDigitsMax
//   holds     nothing
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_DIGITS_H_
#define PORTPROOF_ORACLE_DIGITS_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "oracle/cursor.h"

namespace portproof {

inline constexpr size_t kDigitsMax = 19;  // never more than 64 bits

inline constexpr std::array<uint64_t, 9> kPowersOfTen = {1,      10,      100,      1000,     10000,
                                                         100000, 1000000, 10000000, 100000000};

inline size_t ReadDigits(Cursor& cursor, uint64_t& number) {
  const char* const first = cursor.at;
  uint64_t sum = 0;
  if constexpr (std::endian::native == std::endian::little) {
    while (cursor.end - cursor.at >= 8) {
      uint64_t text = 0;
      memcpy(&text, cursor.at, 8);
      text ^= 0x3030303030303030;  // a digit becomes its value, anything else more than 9
      const uint64_t other = ((text + 0x7676767676767676) | text) & 0x8080808080808080;
      const auto count = static_cast<size_t>(std::countr_zero(other)) / 8;
      if (count == 0) break;
      text <<= 64 - 8 * count;  // zeros in front
      text = text * 10 + (text >> 8);
      const uint64_t eight = ((text & 0x000000ff000000ff) * 0x000f424000000064 +
                              (text >> 16 & 0x000000ff000000ff) * 0x0000271000000001) >>
                             32;
      sum = sum * kPowersOfTen[count] + eight;
      cursor.at += count;
      if (count < 8) {
        number = sum;
        return static_cast<size_t>(cursor.at - first);
      }
    }
  }
  while (cursor.at < cursor.end && *cursor.at >= '0' && *cursor.at <= '9') {
    sum = sum * 10 + static_cast<uint64_t>(*cursor.at++ - '0');
  }
  number = sum;
  return static_cast<size_t>(cursor.at - first);
}

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_DIGITS_H_
