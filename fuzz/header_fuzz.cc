// Laws of the header codec: fewer than 16 bytes are refused, anything else
// decodes, and encoding gives back what was read but for unclean flags.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "protocol/header.h"

using namespace portproof;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (const ByteOrder order : {ByteOrder::kLittle, ByteOrder::kBig}) {
    const auto decoded = DecodeHeader(std::span(data, size), order);
    if (decoded.has_value() != (size >= kHeaderBytes)) std::abort();  // HDR-1
    if (!decoded) continue;
    const auto encoded = EncodeHeader(decoded->header, order);
    const bool same = std::memcmp(encoded.data(), data, kHeaderBytes) == 0;
    if (decoded->flags_clean && !same) std::abort();
    const auto again = DecodeHeader(encoded, order);
    if (!again || !again->flags_clean || again->header != decoded->header) std::abort();  // HDR-3
  }
  return 0;
}
