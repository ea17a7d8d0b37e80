#include "protocol/chain.h"

#include <limits>

#include "absl/strings/str_cat.h"

namespace portproof {

bool ValidChain(std::span<const Buffer> chain) {
  for (const Buffer& buffer : chain) {
    const bool sync = buffer.kind == BufferKind::kSync;
    if (sync && buffer.bytes != 0) return false;
    if (!sync && buffer.last) return false;
    if (buffer.bytes > std::numeric_limits<int32_t>::max()) return false;
    if (buffer.address > std::numeric_limits<uint64_t>::max() - buffer.bytes) return false;
  }
  return true;
}

std::string ToString(const Buffer& buffer) {
  switch (buffer.kind) {
    case BufferKind::kSync:
      return buffer.last ? "sync last" : "sync";
    case BufferKind::kShared:
      return absl::StrCat("shared ", buffer.bytes, " at ", buffer.segment_id, "+",
                          buffer.segment_offset, buffer.usable ? "" : " unusable");
    case BufferKind::kPlain:
      return absl::StrCat("plain ", buffer.bytes, " at ", buffer.address);
  }
  return {};
}

}  // namespace portproof
