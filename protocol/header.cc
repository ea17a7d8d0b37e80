#include "protocol/header.h"

#include "absl/strings/str_cat.h"

namespace portproof {

std::optional<DecodedHeader> DecodeHeader(std::span<const uint8_t> bytes, ByteOrder order) {
  if (bytes.size() < kHeaderBytes) return std::nullopt;  // HDR-1
  const uint8_t* b = bytes.data();
  DecodedHeader decoded;
  decoded.header.stream = Load<uint32_t>(b, order);
  decoded.header.pid = static_cast<int32_t>(Load<uint32_t>(b + 4, order));
  decoded.header.reply_port = Load<uint16_t>(b + 8, order);
  decoded.header.type = b[10];
  decoded.header.last = b[11] != 0;
  decoded.header.mmap = b[12] != 0;
  decoded.header.nf = b[13] != 0;
  decoded.header.mf = b[14] != 0;
  decoded.header.byte15 = b[15];
  decoded.flags_clean = (b[11] | b[12] | b[13] | b[14]) <= 1;  // HDR-3
  return decoded;
}

std::array<uint8_t, kHeaderBytes> EncodeHeader(const Header& header, ByteOrder order) {
  std::array<uint8_t, kHeaderBytes> bytes{};  // HDR-9
  Store<uint32_t>(header.stream, bytes.data(), order);
  Store<uint32_t>(static_cast<uint32_t>(header.pid), bytes.data() + 4, order);
  Store<uint16_t>(header.reply_port, bytes.data() + 8, order);
  bytes[10] = header.type;
  bytes[11] = header.last ? 1 : 0;
  bytes[12] = header.mmap ? 1 : 0;
  bytes[13] = header.nf ? 1 : 0;
  bytes[14] = header.mf ? 1 : 0;
  bytes[15] = header.byte15;
  return bytes;
}

std::string ToString(const Header& header) {
  std::string text = absl::StrCat("stream ", header.stream, " pid ", header.pid, " reply ",
                                  header.reply_port, " type ", static_cast<int>(header.type));
  if (header.last) text += " last";
  if (header.mmap) text += " mmap";
  if (header.nf) text += " nf";
  if (header.mf) text += " mf";
  return text;
}

}  // namespace portproof
