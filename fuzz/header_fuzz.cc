// Laws of the header codec, on one header behind the other: fewer than 16 bytes are
// refused, anything else decodes, and encoding gives back what was read but for unclean
// flags.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "protocol/header.h"

using namespace portproof;

namespace {

void Check(std::span<const uint8_t> bytes, ByteOrder order) {
  const auto decoded = DecodeHeader(bytes, order);
  if (decoded.has_value() != (bytes.size() >= kHeaderBytes)) std::abort();  // HDR-1
  if (!decoded) return;
  const auto encoded = EncodeHeader(decoded->header, order);
  const bool same = std::memcmp(encoded.data(), bytes.data(), kHeaderBytes) == 0;
  if (decoded->flags_clean && !same) std::abort();
  const auto again = DecodeHeader(encoded, order);
  if (!again || !again->flags_clean || again->header != decoded->header) std::abort();  // HDR-3
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kHeadersMax = 16;
  std::span<const uint8_t> bytes(data, size);
  for (size_t i = 0; i < kHeadersMax; ++i) {
    for (const ByteOrder order : {ByteOrder::kLittle, ByteOrder::kBig}) Check(bytes, order);
    if (bytes.size() <= kHeaderBytes) break;
    bytes = bytes.subspan(kHeaderBytes);
  }
  return 0;
}
