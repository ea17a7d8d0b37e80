#include "oracle/redact.h"

#include <algorithm>

#include "protocol/header.h"

namespace portproof {
namespace {

constexpr uint64_t kConfStoreBytes = 8;  // of 1.22+: the size of what its descriptor holds

bool KeptWhole(Type type, uint64_t payload_bytes) {
  switch (type) {
    case Type::kNewPort:
    case Type::kRemovePid:
    case Type::kGetPort:
    case Type::kGetMmap:
      return true;
    case Type::kConfStore:
      return payload_bytes == kConfStoreBytes;
    default:
      return false;
  }
}

}  // namespace

size_t Redactor::BytesKept(const Event& event) const {
  const auto decoded = DecodeHeader(event.data, order_);
  if (!decoded) return event.data.size();
  const Header& header = decoded->header;
  const auto type = TypeOf(profile_, header.type);
  const uint64_t payload = event.size > kHeaderBytes ? event.size - kHeaderBytes : 0;
  const bool one_fd_or_none = type != Type::kConfStore || event.fds == 1;
  if (header.mmap ||
      (type && !header.nf && !header.mf && one_fd_or_none && KeptWhole(*type, payload))) {
    return event.data.size();
  }
  return kHeaderBytes;
}

void Redactor::OnEvent(const Event& event) {
  if (event.kind != EventKind::kSend && event.kind != EventKind::kRecv) {
    out_.OnEvent(event);
    return;
  }
  const size_t kept = std::min(BytesKept(event), event.data.size());
  bytes_.assign(event.data.begin(), event.data.end());
  std::fill(bytes_.begin() + static_cast<ptrdiff_t>(kept), bytes_.end(), uint8_t{0});
  const bool marked =
      event.kind == EventKind::kRecv && altered_.contains(event.line) && kept < bytes_.size();
  if (marked) bytes_[kept] = 0xff;
  Event redacted = event;
  const size_t written = marked ? kept + 1 : kept;
  redacted.zero_bytes += bytes_.size() - written;
  redacted.data = std::span<const uint8_t>(bytes_).first(written);
  out_.OnEvent(redacted);
}

}  // namespace portproof
