#include "port/fault_kernel.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace portproof::testing {

std::string ToString(const Fault& fault) {
  return absl::StrCat("call ", static_cast<int>(fault.call), " number ", fault.number, ": ",
                      fault.error != 0 ? ::strerrorname_np(fault.error) : "", " prefix ",
                      fault.prefix, " flags ", fault.flags, fault.empty ? " empty" : "",
                      fault.short_count ? " short" : "");
}

// Counts the call; whether it is the one.
bool FaultKernel::Due(Call call) {
  const uint64_t number = counts_[static_cast<size_t>(call)]++;
  return call == fault_.call && number == fault_.number;
}

bool FaultKernel::Fails(Call call) {
  if (!Due(call)) return false;
  fired_ = true;
  errno = fault_.error;
  return true;
}

ssize_t FaultKernel::SendMessage(int fd, const msghdr* message, int flags) {
  if (!Due(Call::kSend)) return RealKernel::SendMessage(fd, message, flags);
  if (fault_.short_count) {
    const ssize_t bytes = RealKernel::SendMessage(fd, message, flags);
    fired_ = bytes > 0;
    return bytes > 0 ? bytes - 1 : bytes;
  }
  fired_ = true;
  errno = fault_.error;
  return -1;
}

int FaultKernel::SendMessages(int fd, mmsghdr* messages, unsigned count, int flags) {
  if (!Due(Call::kSendBatch)) return RealKernel::SendMessages(fd, messages, count, flags);
  if (fault_.prefix >= 0) {
    fired_ = static_cast<unsigned>(fault_.prefix) < count;
    return RealKernel::SendMessages(fd, messages,
                                    std::min(count, static_cast<unsigned>(fault_.prefix)), flags);
  }
  if (fault_.short_count) {
    const int sent = RealKernel::SendMessages(fd, messages, count, flags);
    fired_ = sent > 0;
    if (sent > 0) --messages[sent - 1].msg_len;
    return sent;
  }
  fired_ = true;
  errno = fault_.error;
  return -1;
}

// One datagram is a batch of one.
ssize_t FaultKernel::ReceiveMessage(int fd, msghdr* message, int flags) {
  mmsghdr batch = {*message, 0};
  const int received = ReceiveMessages(fd, &batch, 1, flags);
  *message = batch.msg_hdr;
  return received < 0 ? -1 : static_cast<ssize_t>(batch.msg_len);
}

int FaultKernel::ReceiveMessages(int fd, mmsghdr* messages, unsigned count, int flags) {
  if (!Due(Call::kReceive)) return RealKernel::ReceiveMessages(fd, messages, count, flags);
  if (fault_.error != 0) {
    fired_ = true;
    errno = fault_.error;
    return -1;
  }
  const int received = RealKernel::ReceiveMessages(fd, messages, count, flags);
  if (received <= 0 || messages[0].msg_len == 0) return received;
  fired_ = true;
  messages[0].msg_hdr.msg_flags |= fault_.flags;
  if (fault_.empty) messages[0].msg_len = 0;
  return received;
}

int FaultKernel::SocketPair(int type, int fds[2]) {
  return Fails(Call::kSocketPair) ? -1 : RealKernel::SocketPair(type, fds);
}
int FaultKernel::GetOption(int fd, int name, int& value) {
  return Fails(Call::kGetOption) ? -1 : RealKernel::GetOption(fd, name, value);
}
int FaultKernel::SetOption(int fd, int name, int value) {
  return Fails(Call::kSetOption) ? -1 : RealKernel::SetOption(fd, name, value);
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
