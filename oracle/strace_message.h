// The struct msghdr of sendmsg and recvmsg, as strace prints it.
//   shapes    {msg_name=..., msg_iov=[...], msg_control=[...], msg_flags=...}
//   returns   ParseMessage: true, and the cursor stands behind it; false, cursor and
//             message anywhere, where the text is something else
//   holds     the bytes of one message; views into the line
//   rules     none: this is the recorder's language
//   source    strace 4.x to 6.x
#ifndef PORTPROOF_ORACLE_STRACE_MESSAGE_H_
#define PORTPROOF_ORACLE_STRACE_MESSAGE_H_

#include <cstdint>
#include <string_view>

#include "oracle/byte_buffer.h"
#include "oracle/cursor.h"
#include "oracle/trace.h"

namespace portproof {

struct MessageText {
  ByteBuffer bytes;  // the iovecs joined, as far as known
  bool cut = false;  // the recorder cut a string: bytes end there
  uint32_t iov = 0;
  uint32_t rights = 0;
  uint32_t fds = 0;
  int32_t cred_pid = kNoPid;
  std::string_view first_fd;  // description of the first descriptor passed
  int64_t first_fd_number = -1;
  bool truncated = false;
  bool ctrl_truncated = false;
  void Clear();
};
bool ParseMessage(Cursor& cursor, MessageText& message);

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_STRACE_MESSAGE_H_
