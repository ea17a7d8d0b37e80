#include "oracle/suite/printable.h"

#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace portproof::suite {
namespace {

// The bytes of the character that begins there; 0 where none does.
size_t CharacterBytes(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return 1;
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return 0;
  uint32_t point = lead & (0xffu >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) {
    const auto next = static_cast<uint8_t>(text[i]);
    if ((next & 0xc0) != 0x80) return 0;
    point = point << 6 | (next & 0x3fu);
  }
  const bool too_long = (bytes == 3 && point < 0x800) || (bytes == 4 && point < 0x10000);
  const bool no_character = (point >= 0xd800 && point < 0xe000) || point > 0x10ffff || point < 0xa0;
  return too_long || no_character || point == 0xfffe || point == 0xffff ? 0 : bytes;
}

}  // namespace

std::string Printable(std::string_view text, bool lines) {
  std::string printable;
  while (!text.empty()) {
    const auto byte = static_cast<uint8_t>(text[0]);
    const bool control = byte < 0x20 || byte == 0x7f;
    const bool kept = control ? lines && (byte == '\n' || byte == '\t') : CharacterBytes(text) > 0;
    const size_t bytes = kept ? CharacterBytes(text) : 1;
    if (kept) {
      printable.append(text.substr(0, bytes));
    } else {
      absl::StrAppend(&printable, "\\x", absl::Hex(byte, absl::kZeroPad2));
    }
    text.remove_prefix(bytes);
  }
  return printable;
}

}  // namespace portproof::suite
