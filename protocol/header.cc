#include "protocol/header.h"

#include "absl/strings/str_cat.h"

namespace portproof {

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
