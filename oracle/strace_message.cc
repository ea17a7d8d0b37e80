#include "oracle/strace_message.h"

#include "oracle/strace_text.h"

namespace portproof {
namespace {

// [{iov_base="...", iov_len=16}, ...], or NULL, or an address.
bool ParseIovecs(Cursor& cursor, MessageText& message) {
  if (!cursor.Eat('[')) return SkipValue(cursor);
  while (cursor.Eat('{')) {
    ++message.iov;
    if (!cursor.Eat("iov_base=")) return false;
    const bool text = cursor.at < cursor.end && *cursor.at == '"';
    if (text && !message.cut) {
      if (!ParseString(cursor, message.bytes, message.cut)) return false;
    } else {
      if (!text && !cursor.Rest().starts_with("NULL")) message.cut = true;
      if (!SkipValue(cursor)) return false;
    }
    uint64_t length = 0;
    if (!cursor.Eat(", iov_len=") || !ParseUnsigned(cursor, length) || !cursor.Eat('}'))
      return false;
    if (!cursor.Eat(", ")) break;
  }
  if (cursor.Eat("...")) message.cut = true;
  return cursor.Eat(']');
}

bool ParseCredentials(Cursor& cursor, MessageText& message) {
  int64_t pid = 0;
  if (!cursor.Eat("{pid=") || !ParseSigned(cursor, pid) || pid < 0 || pid > INT32_MAX) return false;
  message.cred_pid = static_cast<int32_t>(pid);
  while (cursor.at < cursor.end && *cursor.at != '}') ++cursor.at;
  return cursor.Eat('}');
}

// The other fields of a struct, to its closing brace.
bool SkipRest(Cursor& cursor) {
  do {
    if (!SkipValue(cursor)) return false;
  } while (cursor.Eat(", "));
  return cursor.Eat('}');
}

// {cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[10<...>]}
bool ParseControlMessage(Cursor& cursor, MessageText& message) {
  constexpr uint64_t kControlHeaderBytes = 16;
  constexpr uint64_t kFdBytes = 4;
  uint64_t length = 0;
  if (!cursor.Eat("{cmsg_len=") || !ParseUnsigned(cursor, length)) return false;
  if (!cursor.Eat(", cmsg_level=")) return false;
  if (!cursor.Eat("SOL_SOCKET, cmsg_type=")) return SkipRest(cursor);
  if (cursor.Eat("SCM_RIGHTS")) {
    ++message.rights;
    const uint64_t data = length > kControlHeaderBytes ? length - kControlHeaderBytes : 0;
    message.fds += static_cast<uint32_t>(data / kFdBytes);
    if (cursor.Eat(", cmsg_data=[")) {
      while (cursor.at < cursor.end && *cursor.at != ']') {
        FdText fd;
        if (!ParseFd(cursor, fd) && !cursor.Eat("...")) return false;
        if (message.first_fd.empty()) {
          message.first_fd = fd.description;
          message.first_fd_number = fd.fd;
        }
        cursor.Eat(", ");
      }
      if (!cursor.Eat(']')) return false;
    }
  } else if (cursor.Eat("SCM_CREDENTIALS")) {
    if (cursor.Eat(", cmsg_data=") && !ParseCredentials(cursor, message)) return false;
  } else {
    return SkipRest(cursor);
  }
  return cursor.Eat('}');
}

bool ParseControl(Cursor& cursor, MessageText& message) {
  if (!cursor.Eat('[')) return SkipValue(cursor);
  while (cursor.at < cursor.end && *cursor.at == '{') {
    if (!ParseControlMessage(cursor, message)) return false;
    if (!cursor.Eat(", ")) break;
  }
  cursor.Eat("...");
  return cursor.Eat(']');
}

bool ParseFlags(Cursor& cursor, MessageText& message) {
  const char* start = cursor.at;
  if (!SkipValue(cursor)) return false;
  const std::string_view flags(start, static_cast<size_t>(cursor.at - start));
  if (Is(flags, "0")) return true;
  if (!flags.starts_with("MSG_") && !flags.starts_with("0x")) return false;
  message.ctrl_truncated = flags.find("MSG_CTRUNC") != std::string_view::npos;
  message.truncated = flags.find("MSG_TRUNC") != std::string_view::npos;
  return true;
}

}  // namespace

void MessageText::Clear() {
  bytes.Clear();
  cut = truncated = ctrl_truncated = false;
  iov = rights = fds = 0;
  cred_pid = kNoPid;
  first_fd = {};
  first_fd_number = -1;
}

bool ParseMessage(Cursor& cursor, MessageText& message) {
  if (!cursor.Eat('{')) return false;
  cursor.Eat("msg_name=NULL, msg_namelen=0, ");  // what there mostly is
  while (true) {
    if (cursor.Eat("msg_iov=")) {
      if (!ParseIovecs(cursor, message)) return false;
    } else if (cursor.Eat("msg_control=")) {
      if (!ParseControl(cursor, message)) return false;
    } else if (cursor.Eat("msg_flags=")) {
      if (!ParseFlags(cursor, message)) return false;
    } else {
      const bool known = cursor.Eat("msg_iovlen=") || cursor.Eat("msg_name=") ||
                         cursor.Eat("msg_namelen=") || cursor.Eat("msg_controllen=");
      if (!known || !SkipValue(cursor)) return false;
    }
    if (cursor.Eat('}')) return true;
    if (!cursor.Eat(", ")) return false;
    if (cursor.Eat("msg_controllen=0, msg_flags=0}")) return true;  // as most end
  }
}

}  // namespace portproof
