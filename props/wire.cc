#include "props/wire.h"

#include <algorithm>

namespace portproof {

bool SameOutcome(const Outcome& a, const Outcome& b) {
  if (a.delivered != b.delivered || a.refused != b.refused || a.discarded != b.discarded ||
      a.closed.size() != b.closed.size()) {
    return false;
  }
  if (a.delivered && a.message != b.message) return false;
  return std::is_permutation(a.closed.begin(), a.closed.end(), b.closed.begin());
}

std::ostream& operator<<(std::ostream& out, const Message& message) {
  out << "message stream " << message.stream << " pid " << message.pid << " reply "
      << message.reply_port << " type " << static_cast<int>(message.type)
      << (message.last ? " last" : "") << " payload " << message.payload.size() << " bytes "
      << message.kinds << " fds";
  for (const int fd : message.fds) out << " " << fd;
  return out;
}

std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  if (outcome.delivered) out << outcome.message << "; ";
  if (!outcome.refused.empty()) out << "refused " << outcome.refused << "; ";
  for (const std::string_view rule : outcome.discarded) out << "discarded " << rule << "; ";
  for (const int fd : outcome.closed) out << "closed " << fd << "; ";
  return out;
}

}  // namespace portproof
