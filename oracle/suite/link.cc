#include "oracle/suite/link.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "oracle/suite/process.h"

namespace portproof::suite {
namespace {

constexpr size_t kFdsMax = 253;
constexpr uint64_t kRecordedWholeMax = uint64_t{8} << 20;
constexpr size_t kRecordedCut = 64;
constexpr uint64_t kArrivedBytesMax = uint64_t{192} << 20;  // more than a queue may hold
constexpr uint64_t kArrivedBytesEach = 512;                 // to keep one, whatever is in it
constexpr size_t kOpenedMax = 128;

union Control {
  cmsghdr align;
  std::array<uint8_t, CMSG_SPACE(kFdsMax * sizeof(int)) + CMSG_SPACE(sizeof(ucred))> bytes;
};

int64_t NowUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch())
      .count();
}

// No allocation: also runs in a child of a process with threads.
ssize_t SendOne(int fd, const Outgoing& datagram) {
  iovec vector = {const_cast<uint8_t*>(datagram.bytes.data()), datagram.bytes.size()};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  Control control;
  std::memset(&control, 0, sizeof(control));
  if (!datagram.fds.empty()) {
    const size_t bytes = datagram.fds.size() * sizeof(int);
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(head), datagram.fds.data(), bytes);
  }
  ssize_t sent = 0;
  do {
    sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

void TakeControl(msghdr& message, Arrived& arrived) {
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET) continue;
    if (head->cmsg_type == SCM_CREDENTIALS) {
      ucred credentials = {};
      std::memcpy(&credentials, CMSG_DATA(head), sizeof(credentials));
      arrived.cred_pid = credentials.pid;
    }
    if (head->cmsg_type != SCM_RIGHTS) continue;
    ++arrived.rights;
    const size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof(fd));
      arrived.opened.emplace_back(fd);
      arrived.fds.push_back(FileIdOf(fd));
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Link>> Link::Make() {
  std::unique_ptr<Link> link(new Link());
  for (const bool a : {true, false}) {
    std::array<int, 2> ends = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0)
      return absl::ErrnoToStatus(errno, "cannot make a port");
    (a ? link->a_receive_ : link->b_receive_) = OwnedFd(ends[0]);
    (a ? link->a_send_ : link->b_send_) = OwnedFd(ends[1]);
  }
  const int on = 1;
  setsockopt(link->b_receive_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
  return link;
}

void Link::SetTesteeSendBuffer(int bytes) {
  setsockopt(b_send_.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

void Link::SetBlocking(bool blocking) {
  for (const int fd : {a_receive_.get(), b_send_.get()}) {
    const int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
  }
}

void Link::RecordDatagram(Recorded::Kind kind, char port, int32_t pid,
                          const std::vector<uint8_t>& bytes, uint32_t fds, uint32_t rights) {
  Recorded recorded;
  recorded.kind = kind;
  recorded.port = port;
  recorded.time_us = NowUs();
  recorded.pid = pid;
  recorded.fds = fds;
  recorded.rights = rights;
  recorded.size = bytes.size();
  const size_t kept =
      recorded_bytes_ < kRecordedWholeMax ? bytes.size() : std::min(bytes.size(), kRecordedCut);
  recorded.bytes.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(kept));
  recorded_bytes_ += kept;
  record_.push_back(std::move(recorded));
}

void Link::Record(Recorded::Kind kind, char port) {
  Recorded recorded;
  recorded.kind = kind;
  recorded.port = port;
  recorded.time_us = NowUs();
  record_.push_back(std::move(recorded));
  if (kind == Recorded::Kind::kReset) recorded_bytes_ = 0;
}

void Link::Flush() {
  while (!unsent_.empty()) {
    const Outgoing& datagram = unsent_.front();
    if (SendOne(a_send_.get(), datagram) < 0) {
      if (errno == EAGAIN) return;
      last_error_ = errno;
      unsent_.clear();
      return;
    }
    RecordDatagram(Recorded::Kind::kSend, 'a', getpid(), datagram.bytes,
                   static_cast<uint32_t>(datagram.fds.size()), datagram.fds.empty() ? 0 : 1);
    unsent_.pop_front();
  }
}

bool Link::AllTaken() const {
  int queued = 0;
  if (!unsent_.empty()) return false;
  return ioctl(a_send_.get(), SIOCOUTQ, &queued) != 0 || queued == 0;
}

int32_t Link::SendFromChild(std::vector<Outgoing>& datagrams) {
  const int fd = a_send_.get();
  const std::lock_guard<std::mutex> lock(ForkMutex());
  const pid_t child = fork();
  if (child == 0) {
    const int32_t self = getpid();
    for (Outgoing& datagram : datagrams) {
      std::memcpy(datagram.bytes.data() + 4, &self, sizeof(self));
      if (SendOne(fd, datagram) < 0) _exit(1);
    }
    _exit(0);
  }
  if (child < 0) return 0;
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return 0;
  for (Outgoing& datagram : datagrams) {
    std::memcpy(datagram.bytes.data() + 4, &child, sizeof(child));
    RecordDatagram(Recorded::Kind::kSend, 'a', child, datagram.bytes,
                   static_cast<uint32_t>(datagram.fds.size()), datagram.fds.empty() ? 0 : 1);
  }
  return child;
}

bool Link::CanRead() const {
  return b_receive_.valid() && !b_ended_ && (arrived_.empty() || arrived_bytes_ < kArrivedBytesMax);
}

bool Link::ReadB() {
  if (!CanRead()) return false;
  if (arrived_.empty()) arrived_bytes_ = opened_ = 0;
  iovec vector = {buffer_.data(), buffer_.size()};
  Control control;
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = sizeof(control);
  ssize_t got = 0;
  do {
    got = recvmsg(b_receive_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return false;
  Arrived arrived;
  TakeControl(message, arrived);
  // The testee's end stays open here too: nothing at all is a datagram of nothing, unless
  // the testee has shut it down.
  pollfd poller = {b_receive_.get(), POLLRDHUP, 0};
  b_ended_ = got == 0 && arrived.fds.empty() && poll(&poller, 1, 0) > 0;
  if (b_ended_) return false;
  if (arrived.opened.size() != 1 || ++opened_ > kOpenedMax) arrived.opened.clear();
  arrived_bytes_ += static_cast<uint64_t>(got) + kArrivedBytesEach;
  arrived.bytes.assign(buffer_.begin(), buffer_.begin() + got);
  arrived.truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  RecordDatagram(Recorded::Kind::kRecv, 'b', getpid(), arrived.bytes,
                 static_cast<uint32_t>(arrived.fds.size()), arrived.rights);
  record_.back().cred_pid = arrived.cred_pid;
  arrived_.push_back(std::move(arrived));
  return true;
}

void Link::CloseA() {
  const std::lock_guard<std::mutex> lock(ForkMutex());
  a_send_.Close();
}

void Link::CloseAUnread() {
  const Outgoing unread = {std::vector<uint8_t>(1), {}};
  SendOne(a_receive_.get(), unread);
  CloseA();
}

void Link::CloseB() {
  const std::lock_guard<std::mutex> lock(ForkMutex());
  b_receive_.Close();
}

void Link::Drain() {
  while (ReadB()) {
  }
}

void Link::ReadOne() { ReadB(); }

}  // namespace portproof::suite
