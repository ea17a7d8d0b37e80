#include "port/fault_kernel.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace portproof::testing {

std::string ToString(const Fault& fault) {
  return absl::StrCat("call ", static_cast<int>(fault.call), " number ", fault.number, ": ",
                      fault.error != 0 ? ::strerrorname_np(fault.error) : "", " prefix ",
                      fault.prefix, " flags ", fault.flags, fault.empty ? " empty, fds " : "",
                      fault.empty ? std::to_string(fault.fds) : "",
                      fault.short_count ? " short" : "");
}

// Counts the call; whether it is the one.
bool FaultKernel::Due(Call call) {
  if (asleep_) return false;
  const uint64_t number = counts_[static_cast<size_t>(call)]++;
  return call == fault_.call && number == fault_.number;
}

bool FaultKernel::Fails(Call call) {
  if (!Due(call)) return false;
  fired_ = true;
  errno = fault_.error;
  return true;
}

void FaultKernel::Meet(const msghdr& message) {
  fired_ = true;
  if (message.msg_iovlen == 0) return;
  const auto decoded = DecodeHeader(
      {static_cast<const uint8_t*>(message.msg_iov[0].iov_base), message.msg_iov[0].iov_len});
  if (decoded) met_.header = decoded->header;
}

// ---------------------------------------------------------------- sending

// The call behind a batch of which only a part went.
bool FaultKernel::NextFails() {
  if (!next_fails_) return false;
  next_fails_ = false;
  errno = fault_.error;
  return true;
}

ssize_t FaultKernel::SendMessage(int fd, const msghdr* message, int flags) {
  const bool due = Due(Call::kSend);
  if (NextFails() || (due && !fault_.short_count)) {
    Meet(*message);
    errno = fault_.error;
    return -1;
  }
  const ssize_t bytes = RealKernel::SendMessage(fd, message, flags);
  sent_ += bytes > 0;
  if (!due || bytes <= 0) return bytes;
  Meet(*message);
  return bytes - 1;
}

int FaultKernel::SendMessages(int fd, mmsghdr* messages, unsigned count, int flags) {
  const bool due = Due(Call::kSendBatch);
  batches_.push_back(count);
  if (NextFails() || (due && fault_.prefix < 0 && !fault_.short_count)) {
    Meet(messages[0].msg_hdr);
    errno = fault_.error;
    return -1;
  }
  if (due && fault_.prefix >= 0) return SendPart(fd, messages, count, flags);
  const int sent = RealKernel::SendMessages(fd, messages, count, flags);
  sent_ += static_cast<uint64_t>(std::max(sent, 0));
  if (!due || sent <= 0) return sent;
  Meet(messages[sent - 1].msg_hdr);
  --messages[sent - 1].msg_len;
  return sent;
}

int FaultKernel::SendPart(int fd, mmsghdr* messages, unsigned count, int flags) {
  const auto part = static_cast<unsigned>(fault_.prefix);
  const int sent = RealKernel::SendMessages(fd, messages, std::min(count, part), flags);
  sent_ += static_cast<uint64_t>(std::max(sent, 0));
  if (part >= count) return sent;
  next_fails_ = fault_.error != 0;
  fired_ = !next_fails_;  // else when it does
  return sent;
}

// -------------------------------------------------------------- receiving

// One datagram is a batch of one.
ssize_t FaultKernel::ReceiveMessage(int fd, msghdr* message, int flags) {
  mmsghdr batch = {*message, 0};
  const int received = ReceiveMessages(fd, &batch, 1, flags);
  *message = batch.msg_hdr;
  return received < 0 ? -1 : static_cast<ssize_t>(batch.msg_len);
}

int FaultKernel::ReceiveMessages(int fd, mmsghdr* messages, unsigned count, int flags) {
  const bool due = Due(Call::kReceive);
  if (due && fault_.empty) return ReceiveEmpty(fd, messages, count, flags);
  if (due && fault_.error != 0) {
    fired_ = true;
    errno = fault_.error;
    return -1;
  }
  const int received = RealKernel::ReceiveMessages(fd, messages, count, flags);
  for (int i = 0; i < received && !asleep_; ++i) received_ += messages[i].msg_len != 0;
  if (!due || received <= 0 || messages[0].msg_len == 0) return received;
  Meet(messages[0].msg_hdr);
  messages[0].msg_hdr.msg_flags |= fault_.flags;
  return received;
}

// As the kernel does, which comes short only where the socket is empty.
int FaultKernel::ReceiveEmpty(int fd, mmsghdr* messages, unsigned count, int flags) {
  MakeEmpty(messages[0]);
  if (count == 1) return 1;
  const int received = RealKernel::ReceiveMessages(fd, messages + 1, count - 1, flags);
  for (int i = 1; i <= received; ++i) received_ += messages[i].msg_len != 0;
  return 1 + std::max(received, 0);
}

void FaultKernel::MakeEmpty(mmsghdr& message) {
  fired_ = true;
  met_.unread = unread();
  message.msg_len = 0;
  message.msg_hdr.msg_flags = 0;
  message.msg_hdr.msg_controllen = 0;
  if (fault_.fds == 0) return;
  message.msg_hdr.msg_controllen = CMSG_SPACE(fault_.fds * sizeof(int));
  cmsghdr* const rights = CMSG_FIRSTHDR(&message.msg_hdr);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(fault_.fds * sizeof(int));
  for (size_t i = 0; i < fault_.fds; ++i) {
    const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    std::memcpy(CMSG_DATA(rights) + i * sizeof fd, &fd, sizeof fd);
  }
}

// ----------------------------------------------------------------- others

int FaultKernel::SocketPair(int type, int fds[2]) {
  if (!seqpacket_ && (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_SEQPACKET) {
    errno = EPROTONOSUPPORT;
    return -1;
  }
  return Fails(Call::kSocketPair) ? -1 : RealKernel::SocketPair(type, fds);
}
int FaultKernel::GetOption(int fd, int name, int& value) {
  if (!Fails(Call::kGetOption)) return RealKernel::GetOption(fd, name, value);
  met_.option = name;
  return -1;
}
int FaultKernel::SetOption(int fd, int name, int value) {
  if (!Fails(Call::kSetOption)) return RealKernel::SetOption(fd, name, value);
  met_.option = name;
  return -1;
}
int FaultKernel::ReadableBytes(int fd, int& bytes) {
  return Fails(Call::kReadableBytes) ? -1 : RealKernel::ReadableBytes(fd, bytes);
}
int FaultKernel::HungUp(int fd, bool& hung_up) {
  return Fails(Call::kHungUp) ? -1 : RealKernel::HungUp(fd, hung_up);
}
int FaultKernel::Duplicate(int fd) {
  return Fails(Call::kDuplicate) ? -1 : RealKernel::Duplicate(fd);
}
int FaultKernel::Close(int fd) {  // it is closed all the same, as Linux does it
  const bool fails = Fails(Call::kClose);
  const int error = errno;
  const int closed = RealKernel::Close(fd);
  if (fails) errno = error;
  return fails ? -1 : closed;
}
int FaultKernel::FreeSlots(unsigned most, unsigned& free) {
  return Fails(Call::kFreeSlots) ? -1 : RealKernel::FreeSlots(most, free);
}
int FaultKernel::MemoryFile(const char* name) {
  return Fails(Call::kMemoryFile) ? -1 : RealKernel::MemoryFile(name);
}
int FaultKernel::Truncate(int fd, off_t bytes) {
  return Fails(Call::kTruncate) ? -1 : RealKernel::Truncate(fd, bytes);
}
int FaultKernel::AddSeals(int fd, int seals) {
  return Fails(Call::kAddSeals) ? -1 : RealKernel::AddSeals(fd, seals);
}
int FaultKernel::GetSeals(int fd) { return Fails(Call::kGetSeals) ? -1 : RealKernel::GetSeals(fd); }
int FaultKernel::Status(int fd, struct stat& status) {
  return Fails(Call::kStatus) ? -1 : RealKernel::Status(fd, status);
}
ssize_t FaultKernel::ReadAt(int fd, void* bytes, size_t count, off_t offset) {
  return Fails(Call::kReadAt) ? -1 : RealKernel::ReadAt(fd, bytes, count, offset);
}
void* FaultKernel::Map(size_t bytes, int fd) {
  return Fails(Call::kMap) ? MAP_FAILED : RealKernel::Map(bytes, fd);
}

}  // namespace portproof::testing
