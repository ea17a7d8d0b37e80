// A place in a text that moves on over what it finds there.
//   shapes    a text of characters, not ended by any one
//   returns   Eat: true, and the cursor stands behind it; else it has not moved
//   holds     views
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_CURSOR_H_
#define PORTPROOF_ORACLE_CURSOR_H_

#include <cstddef>
#include <string_view>

namespace portproof {

// text == literal, compared without a call.
template <size_t kSize>
bool Is(std::string_view text, const char (&literal)[kSize]) {
  return text.size() == kSize - 1 && __builtin_memcmp(text.data(), literal, kSize - 1) == 0;
}

struct Cursor {
  const char* at;
  const char* end;
  explicit Cursor(std::string_view text) : at(text.data()), end(text.data() + text.size()) {}
  bool Done() const { return at == end; }
  bool Eat(char c) {
    if (at == end || *at != c) return false;
    ++at;
    return true;
  }
  template <size_t kSize>
  bool Eat(const char (&text)[kSize]) {  // a literal: compared without a call
    constexpr size_t kLength = kSize - 1;
    if (static_cast<size_t>(end - at) < kLength || __builtin_memcmp(at, text, kLength) != 0) {
      return false;
    }
    at += kLength;
    return true;
  }
  template <size_t kSize>
  bool StandsAt(const char (&text)[kSize]) const {
    Cursor ahead = *this;
    return ahead.Eat(text);
  }
  std::string_view Rest() const { return {at, static_cast<size_t>(end - at)}; }
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_CURSOR_H_
