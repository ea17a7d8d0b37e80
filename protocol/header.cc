#include "protocol/header.h"

#include "absl/strings/str_cat.h"

namespace portproof {

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
