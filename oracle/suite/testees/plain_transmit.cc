// The datagrams of the simple sender: whose turn it is, what goes in, what the kernel says.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "oracle/suite/testees/lies.h"
#include "oracle/suite/testees/plain_sender.h"
#include "protocol/chunk.h"

namespace portproof::testee {
namespace {

constexpr int kDatagramsATurn = 16;
constexpr uint32_t kPlainRuns = 7;
constexpr uint32_t kSharedRuns = 79;
constexpr uint32_t kSmall = 12;  // SHM-4

}  // namespace

// SND-6: the first that has begun, or that is the first unbegun one and its stream is free.
PlainSender::Place PlainSender::Next() {
  if (Lie("shortest-first")) {
    const auto size = [](const Message& message) { return message.memory.size(); };
    return std::min_element(queue_.begin(), queue_.end(), [&](const Message& a, const Message& b) {
      return std::pair(!a.begun, size(a)) < std::pair(!b.begun, size(b));
    });
  }
  bool first_unbegun = true;
  for (auto it = queue_.begin(); it != queue_.end(); ++it) {
    if (it->begun) return it;
    if (!first_unbegun && !Lie("waiters-let-others-pass")) continue;
    first_unbegun = false;
    const bool busy = std::any_of(queue_.begin(), queue_.end(), [&](const Message& other) {
      const uint32_t mask = Lie("streams-of-16-bits") ? 0xffff : ~0u;
      return other.begun && (other.header.stream & mask) == (it->header.stream & mask);
    });
    if (!busy || Lie("streams-mix")) return it;
  }
  return queue_.begin();
}

bool PlainSender::ChoosesShared(const Message& message, size_t from) const {
  bool any = false;
  for (size_t i = from; i < message.chain.size(); ++i) {
    const Piece& piece = message.chain[i];
    if (piece.asked.bytes == 0) continue;
    if (!piece.asked.shm) return any && Lie("mode-of-each-fragment");
    any = true;
  }
  return any;
}

void PlainSender::AddPlain(const Message&, const Piece& piece, uint32_t skip, uint32_t bytes,
                           Cut& cut) const {
  cut.payload.insert(cut.payload.end(), piece.memory + skip, piece.memory + skip + bytes);
}

PlainSender::Cut PlainSender::Compose(const Message& message) const {
  Cut cut;
  cut.piece = message.piece;
  cut.skip = message.skip;
  bool shared = message.shared;
  if (Lie("mode-of-each-fragment")) shared = ChoosesShared(message, message.piece);
  uint64_t room = shared ? 0x7fffffff : limit_;
  if (Lie("half-full-datagrams") && !shared) room = std::max(1u, limit_ / 2);
  if (Lie("beyond-the-limit") && !shared) room = limit_ + 1;
  const uint32_t plain_runs = Lie("eight-runs") ? kPlainRuns + 1 : kPlainRuns;
  const uint32_t runs_max = shared ? std::min(kSharedRuns, limit_ / 12) : plain_runs;
  std::vector<Reference> references;
  uint64_t end = ~uint64_t{0};
  uint32_t runs = 0;
  uint64_t total = 0;
  for (; cut.piece < message.chain.size(); ++cut.piece, cut.skip = 0) {
    const Piece& piece = message.chain[cut.piece];
    if (piece.asked.sync) {
      if (room == 0 && Lie("mark-behind-the-limit-lost")) continue;
      cut.marked = cut.marked || piece.asked.last;
      continue;
    }
    const uint64_t left = piece.asked.bytes - cut.skip;
    if (left == 0 && Lie("empty-buffers-part")) end = ~uint64_t{0};
    if (left == 0) continue;
    if (room == 0) break;
    if (shared && !piece.asked.shm) break;  // mode-of-each-fragment
    const uint64_t place = piece.place + cut.skip;
    if (place != end || Lie("nothing-merges") || (shared && Lie("filled-chunks-not-merged"))) {
      if (runs == runs_max) break;
      ++runs;
      references.push_back({piece.segment, piece.chunk, 0});
    }
    const auto taken = static_cast<uint32_t>(std::min(left, room));
    references.back().bytes += taken;
    AddPlain(message, piece, cut.skip, taken, cut);
    end = place + taken;
    room -= taken;
    total += taken;
    if (taken < left) {
      cut.skip += taken;
      break;
    }
    cut.at_limit = room == 0;
  }
  cut.more = cut.piece < message.chain.size();
  cut.shared = shared && (total > kSmall || (Lie("small-ones-shared") && total > 0));
  if (Lie("bytes-swapped") && !message.internal && cut.payload.size() > 1)
    std::swap(cut.payload[0], cut.payload[1]);
  if (cut.shared) EncodeReferences(references, std::nullopt, MachineByteOrder(), cut.payload);
  return cut;
}

Header PlainSender::HeaderOf(const Message& message, const Cut& cut) const {
  Header header = message.header;
  header.last = message.last_flag || message.marked || cut.marked;
  if (Lie("last-flag-in-the-final-only") && cut.more) header.last = message.marked || cut.marked;
  if (Lie("mark-not-kept") && message.marked) header.last = message.last_flag || cut.marked;
  header.nf = message.begun && !Lie("nf-forgotten");
  header.mf = cut.more && !(Lie("no-mf-at-the-limit") && cut.at_limit && cut.skip == 0);
  header.mmap = cut.shared || (Lie("mmap-stays-set") && sticky_ && !message.internal);
  if (Lie("fragments-change-the-reply-port") && message.begun) ++header.reply_port;
  if (Lie("garbage-in-byte-15")) header.byte15 = 0x5a;
  return header;
}

// The bytes sent, or -errno.
int PlainSender::Transmit(const Message& message, const Header& header, const Cut& cut) const {
  auto head = EncodeHeader(header);
  if (Lie("true-is-255") && header.last) head[11] = 255;
  std::array<iovec, 2> vectors = {
      {{head.data(), head.size()}, {const_cast<uint8_t*>(cut.payload.data()), cut.payload.size()}}};
  msghdr sending = {};
  sending.msg_iov = vectors.data();
  sending.msg_iovlen = vectors.size();
  alignas(cmsghdr) std::array<uint8_t, 512> control = {};
  const bool first = !message.begun || Lie("fds-with-every-datagram");
  if (first && !message.fds.empty()) {
    const size_t bytes = message.fds.size() * sizeof(int);
    sending.msg_control = control.data();
    sending.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* const rights = CMSG_FIRSTHDR(&sending);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(rights), message.fds.data(), bytes);
  }
  const int flags = MSG_NOSIGNAL | (Lie("blocking-write") ? 0 : MSG_DONTWAIT);
  const ssize_t sent = sendmsg(kSendFd, &sending, flags);
  // Without MSG_NOSIGNAL; Linux alone spares SOCK_SEQPACKET the signal.
  if (sent < 0 && errno == EPIPE && Lie("raises-sigpipe")) std::raise(SIGPIPE);
  return sent < 0 ? -errno : static_cast<int>(sent);
}

bool PlainSender::SendNext() {
  if (stalled_ || failed_ || queue_.empty()) return false;
  const Place place = Next();
  const Cut cut = Compose(*place);
  if (Lie("empty-message-not-sent") && cut.payload.empty() && !place->internal) {
    Drop(*place);
    queue_.erase(place);
    return true;
  }
  const int sent = Transmit(*place, HeaderOf(*place, cut), cut);
  if (sent >= 0) {
    Sent(place, cut, static_cast<size_t>(sent));
    return true;
  }
  if (sent == -EINTR) return true;
  if (sent == -EAGAIN || (sent == -EPIPE && Lie("dead-peer-unnoticed"))) {
    Blocked(place);
  } else if (sent == -EPIPE || sent == -ECONNRESET || sent == -ECONNREFUSED || sent == -ENOTCONN ||
             place->begun) {
    FailPort();
  } else {
    Complete(*place, place->chain.size(), false);
    Drop(*place);
    queue_.erase(place);
    return true;
  }
  return false;
}

void PlainSender::Blocked(Place place) {
  if (Lie("stalls-after-eagain")) stalled_ = true;
  if (Lie("share-reset-by-eagain")) place->share = 0;
  if (Lie("eagain-loses-the-place") && place->begun) Rotate(place);
  const bool alone = writes_directly_ && queue_.size() == 1 && !place->begun;
  if (Lie("direct-write-loses-at-eagain") && alone) {
    Drop(*place);
    queue_.erase(place);
    return;
  }
  if (Lie("eagain-loses-the-message") && !place->begun && !place->internal) {
    Drop(*place);
    queue_.erase(place);
  }
}

void PlainSender::Rotate(Place place) { queue_.splice(queue_.end(), queue_, place); }

void PlainSender::Sent(Place place, const Cut& cut, size_t bytes) {
  Message& message = *place;
  sticky_ = cut.shared || (sticky_ && Lie("mmap-stays-set"));
  for (size_t i = message.piece; i < cut.piece && cut.shared; ++i)
    message.chain[i].handed_over = true;
  if (!message.begun && message.owns_fds) {
    for (const int fd : message.fds) {
      if (!Lie("fds-never-closed") && !Lie("fds-with-every-datagram")) close(fd);
    }
  } else if (!message.begun && Lie("lent-fds-closed") && !message.internal) {
    for (const int fd : message.fds) close(fd);
  }
  const bool owned = message.owns_fds;
  message.begun = true;
  message.marked = message.marked || cut.marked;
  message.piece = cut.piece;
  message.skip = cut.skip;
  ++message.sent;
  Complete(message, Lie("completed-when-begun") ? message.chain.size() : cut.piece, true);
  if (!cut.more) {
    if (owned && Lie("fds-with-every-datagram")) {
      for (const int fd : message.fds) close(fd);
    }
    if (owned && Lie("fds-closed-twice") && message.sent > 1) {
      for (const int fd : message.fds) close(fd);
    }
    queue_.erase(place);
    return;
  }
  if (Lie("long-message-given-up") && message.sent == 8) {
    queue_.erase(place);
    return;
  }
  message.share += bytes;
  const bool used_up = message.share >= start_.max_share || Lie("rotates-after-each-datagram");
  if (!used_up || Lie("never-rotates")) return;
  message.share = 0;
  stalled_ =
      Lie("stalls-after-its-share") || (Lie("direct-write-stops-at-its-share") && writes_directly_);
  Rotate(place);
}

bool PlainSender::Turn() {
  bool any = false;
  for (int i = 0; i < kDatagramsATurn && SendNext(); ++i) any = true;
  return any;
}

}  // namespace portproof::testee
