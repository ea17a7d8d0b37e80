// Hex digits to bytes.
//   shapes    two characters a byte, either case
//   returns   HexPair: the byte, or -1 where one is no hex digit; DecodeHexRun: where it
//             stopped
//   holds     nothing
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_HEX_H_
#define PORTPROOF_ORACLE_HEX_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

#ifdef __SSE2__
// Sixteen lower-case hex digits to eight bytes; false where they are something else.
inline bool DecodeEight(const char* at, uint8_t* out) {
  const __m128i text = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  const __m128i letter = _mm_cmpgt_epi8(text, _mm_set1_epi8('9'));
  const __m128i value = _mm_sub_epi8(_mm_sub_epi8(text, _mm_set1_epi8('0')),
                                     _mm_and_si128(letter, _mm_set1_epi8('a' - '0' - 10)));
  const __m128i low_letter = _mm_and_si128(letter, _mm_cmplt_epi8(text, _mm_set1_epi8('a')));
  const __m128i bad = _mm_or_si128(_mm_or_si128(_mm_cmpgt_epi8(value, _mm_set1_epi8(15)),
                                                _mm_cmplt_epi8(value, _mm_setzero_si128())),
                                   low_letter);
  if (_mm_movemask_epi8(bad) != 0) return false;
  const __m128i high = _mm_and_si128(_mm_slli_epi16(value, 4), _mm_set1_epi16(0x00f0));
  const __m128i both = _mm_or_si128(high, _mm_srli_epi16(value, 8));
  const __m128i packed = _mm_packus_epi16(both, both);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), packed);
  return true;
}
#endif

// Decodes pairs from `at` on until something else comes; `out` has room for them all.
inline const char* DecodeHexRun(const char* at, const char* end, uint8_t* out) {
  while (true) {
#ifdef __SSE2__
    for (; end - at >= 16 && DecodeEight(at, out); at += 16) out += 8;
#endif
    constexpr int kPairs = 8;  // capitals, or the end
    for (int pair = 0; pair < kPairs; ++pair, at += 2) {
      const int value = end - at >= 2 ? HexPair(at) : -1;
      if (value < 0) return at;
      *out++ = static_cast<uint8_t>(value);
    }
  }
}

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_HEX_H_
