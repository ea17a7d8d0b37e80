#include "props/trace_kernel.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sstream>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "protocol/header.h"

namespace portproof {
namespace {

constexpr uint64_t kSegmentBytes = 10489856;

struct ControlSeen {
  size_t rights = 0;
  size_t fds = 0;
  int32_t pid = 0;
};

ControlSeen See(const msghdr& message) {
  ControlSeen seen;
  auto& walked = const_cast<msghdr&>(message);
  for (cmsghdr* control = CMSG_FIRSTHDR(&walked); control != nullptr;
       control = CMSG_NXTHDR(&walked, control)) {
    if (control->cmsg_type == SCM_RIGHTS) {
      ++seen.rights;
      seen.fds += (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    } else if (control->cmsg_type == SCM_CREDENTIALS) {
      ucred credentials = {};
      std::memcpy(&credentials, CMSG_DATA(control), sizeof credentials);
      seen.pid = credentials.pid;
    }
  }
  return seen;
}

std::string Joined(const msghdr& message, size_t bytes) {
  std::string joined;
  for (size_t i = 0; i < message.msg_iovlen; ++i) {
    const iovec& vector = message.msg_iov[i];
    joined.append(static_cast<const char*>(vector.iov_base),
                  std::min(vector.iov_len, bytes - joined.size()));
  }
  return joined;
}

std::string FdsText(const ControlSeen& seen) {
  return seen.fds == 0 ? "" : absl::StrCat(",\"fds\":", seen.fds, ",\"rights\":", seen.rights);
}

}  // namespace

SharedLog::SharedLog() {
  void* const memory =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  head_ = new (memory) Head;
  text_ = static_cast<char*>(memory) + sizeof(Head);
}

SharedLog::~SharedLog() { ::munmap(head_, kBytes); }

void SharedLog::Write(std::string_view line) {
  while (head_->locked.test_and_set(std::memory_order_acquire)) {
  }
  const size_t used = head_->used.load();
  if (used + line.size() + 1 > kBytes - sizeof(Head)) std::abort();
  std::memcpy(text_ + used, line.data(), line.size());
  text_[used + line.size()] = '\n';
  head_->used.store(used + line.size() + 1);
  head_->locked.clear(std::memory_order_release);
}

std::vector<std::string> SharedLog::Lines() const {
  std::vector<std::string> lines;
  std::istringstream text(std::string(text_, head_->used.load()));
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

void TraceKernel::Event(uint64_t sequence, const std::string& json) {
  log_.Write(absl::StrCat("T ", sequence, " ", json));
}

void TraceKernel::Closed() {
  Event(sequence_++, absl::StrCat("{\"ev\":\"close\",\"port\":\"p\",\"pid\":", pid_, "}"));
}

// Killed or stopped between two calls, as from outside.
void TraceKernel::Count() {
  const uint64_t count = ++datagrams_;
  if (count == options_.kill_at) ::kill(::getpid(), SIGKILL);
  if (count != options_.stop_at) return;
  log_.Write("F stopped");
  ::raise(SIGSTOP);
}

std::string TraceKernel::SendLine(const msghdr& message) const {
  const std::string bytes = Joined(message, ~size_t{0});
  const bool announces = static_cast<uint8_t>(bytes[10]) == mmap_type_;
  return absl::StrCat("{\"ev\":\"send\",\"port\":\"p\",\"pid\":", pid_, ",\"tid\":", ::gettid(),
                      ",\"data\":\"", absl::BytesToHexString(bytes), "\"", FdsText(See(message)),
                      ",\"iov\":", message.msg_iovlen,
                      announces ? absl::StrCat(",\"segment_bytes\":", kSegmentBytes) : "", "}");
}

void TraceKernel::SendFailed(uint64_t sequence, int error) {
  Event(sequence, absl::StrCat("{\"ev\":\"fail\",\"port\":\"p\",\"pid\":", pid_, ",\"errno\":\"",
                               ::strerrorname_np(error), "\"}"));
}

ssize_t TraceKernel::SendMessage(int fd, const msghdr* message, int flags) {
  const uint64_t sequence = sequence_++;
  const std::string line = SendLine(*message);
  const ssize_t bytes = RealKernel::SendMessage(fd, message, flags);
  const int error = errno;
  if (bytes >= 0) {
    Event(sequence, line);
    Count();
  } else {
    SendFailed(sequence, error);
  }
  errno = error;
  return bytes;
}

int TraceKernel::SendEach(int fd, mmsghdr* messages, unsigned count, int flags) {
  for (unsigned i = 0; i < count; ++i) {
    const ssize_t bytes = SendMessage(fd, &messages[i].msg_hdr, flags);
    if (bytes < 0) return i == 0 ? -1 : static_cast<int>(i);
    messages[i].msg_len = static_cast<unsigned>(bytes);
  }
  return static_cast<int>(count);
}

// The reader may have the first of a batch before the call is back: the batch's numbers
// are taken before it. What stopped it behind a prefix, the kernel tells the next call.
int TraceKernel::SendMessages(int fd, mmsghdr* messages, unsigned count, int flags) {
  if (!options_.batches) return SendEach(fd, messages, count, flags);
  const uint64_t first = sequence_.fetch_add(count);
  std::vector<std::string> lines;
  for (unsigned i = 0; i < count; ++i) lines.push_back(SendLine(messages[i].msg_hdr));
  const int sent = RealKernel::SendMessages(fd, messages, count, flags);
  const int error = errno;
  if (sent < 0) SendFailed(first, error);
  for (int i = 0; i < sent; ++i) Event(first + static_cast<unsigned>(i), lines[i]);
  if (sent > 1) log_.Write("F sendmmsg");
  if (sent > 0 && static_cast<unsigned>(sent) < count) log_.Write("F sendmmsg in part");
  for (int i = 0; i < sent; ++i) Count();
  errno = error;
  return sent;
}

// One datagram is a batch of one.
ssize_t TraceKernel::ReceiveMessage(int fd, msghdr* message, int flags) {
  mmsghdr batch = {*message, 0};
  const int received = ReceiveMessages(fd, &batch, 1, flags);
  *message = batch.msg_hdr;
  return received < 0 ? -1 : static_cast<ssize_t>(batch.msg_len);
}

int TraceKernel::ReceiveMessages(int fd, mmsghdr* messages, unsigned count, int flags) {
  const int received = RealKernel::ReceiveMessages(fd, messages, count, flags);
  const int error = errno;
  for (int i = 0; i < received; ++i) {
    const mmsghdr& message = messages[i];
    const ControlSeen seen = See(message.msg_hdr);
    if (message.msg_len == 0 && message.msg_hdr.msg_controllen == 0) {
      Event(sequence_++, absl::StrCat("{\"ev\":\"eof\",\"port\":\"p\",\"pid\":", pid_, "}"));
      break;
    }
    const std::string pid = seen.pid == 0 ? "" : absl::StrCat(",\"cred_pid\":", seen.pid);
    Event(sequence_++,
          absl::StrCat("{\"ev\":\"recv\",\"port\":\"p\",\"pid\":", pid_, ",\"data\":\"",
                       absl::BytesToHexString(Joined(message.msg_hdr, message.msg_len)), "\"",
                       FdsText(seen), pid, "}"));
    Count();
  }
  errno = error;
  return received;
}

}  // namespace portproof
