#include "props/wire.h"

#include <algorithm>

namespace portproof {

void Outcome::Clear() {
  delivered = kept = cancelled = ended = false;
  refused = {};
  reported.clear();
  discarded.clear();
  closed.clear();
  asks.clear();
  freed.clear();
  unmapped = 0;
}

bool SameOutcome(const Outcome& a, const Outcome& b) {
  if (a.delivered != b.delivered || (a.delivered && a.message != b.message)) return false;
  return a.refused == b.refused && a.reported == b.reported && a.discarded == b.discarded &&
         a.asks == b.asks && a.unmapped == b.unmapped && a.kept == b.kept &&
         a.cancelled == b.cancelled && a.ended == b.ended && a.closed.size() == b.closed.size() &&
         a.freed.size() == b.freed.size() &&
         std::is_permutation(a.closed.begin(), a.closed.end(), b.closed.begin()) &&
         std::is_permutation(a.freed.begin(), a.freed.end(), b.freed.begin());
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
  for (const std::string_view rule : outcome.reported) out << "reported " << rule << "; ";
  for (const std::string_view rule : outcome.discarded) out << "discarded " << rule << "; ";
  for (const int fd : outcome.closed) out << "closed " << fd << "; ";
  for (const auto& [sender, id] : outcome.asks) out << "asks " << sender << " for " << id << "; ";
  for (const auto& [sender, id, serial, chunk] : outcome.freed) {
    out << "freed chunk " << chunk << " of " << sender << "'s " << id << "; ";
  }
  if (outcome.unmapped != 0) out << "unmapped " << outcome.unmapped << "; ";
  if (outcome.kept) out << "kept; ";
  if (outcome.cancelled) out << "cancelled; ";
  if (outcome.ended) out << "ended; ";
  return out;
}

}  // namespace portproof
