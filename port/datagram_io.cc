#include "port/datagram_io.h"

#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>

namespace portproof {
namespace {

constexpr int kSendFlags = MSG_DONTWAIT | MSG_NOSIGNAL;         // SOC-5, SND-10
constexpr int kReceiveFlags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;  // SOC-5, FDS-3

}  // namespace

// SND-2, SND-4
SendAnswer ClassifySend(int error) {
  switch (error) {
    case EAGAIN:
      return SendAnswer::kWouldBlock;
    case ENOBUFS:
    case ENOMEM:
    case ETOOMANYREFS:
      return SendAnswer::kBusy;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ENOTCONN:
      return SendAnswer::kPortError;
    default:  // errno is no enumeration
      return SendAnswer::kMessageError;
  }
}

// RCV-6
Answer ClassifyReceive(int error) {
  switch (error) {
    case EAGAIN:
      return Answer::kEmpty;
    case EINTR:
      return Answer::kInterrupted;
    case ENOMEM:
    case ENOBUFS:
      return Answer::kBusy;
    case ECONNRESET:
      return Answer::kReset;
    default:  // errno is no enumeration
      return Answer::kError;
  }
}

// ---------------------------------------------------------------- sending

SendBatch::SendBatch() : vectors_(kVectorsMax), list_(kListBytesMax) {}

uint8_t* SendBatch::PutReferences(const PlannedDatagram& datagram, std::span<const ByteRun> runs,
                                  uint32_t chunk_bytes, uint8_t* to) {
  if (datagram.tracking) {
    std::memcpy(to, &datagram.tracking->mmap_id, 4);
    std::memcpy(to + 4, &datagram.tracking->tracking_id, 4);
    to += kTrackingBytes;
  }
  for (const ByteRun& run : runs) {
    const auto bytes = EncodeReference(ReferenceOf(run, chunk_bytes));
    std::memcpy(to, bytes.data(), bytes.size());
    to += bytes.size();
  }
  return to;
}

// All descriptors in one control message (FDS-2); its padding is sent too (HDR-9).
void SendBatch::PutControl(size_t at, std::span<const int> fds) {
  msghdr& message = messages_[at].msg_hdr;
  Control& control = controls_[at];
  control.bytes.fill(0);
  message.msg_control = control.bytes.data();
  message.msg_controllen = CMSG_SPACE(fds.size_bytes());
  cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(fds.size_bytes());
  std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
}

SendResult SendBatch::Send(Kernel& kernel, int socket) {
  assert(count_ > 0);
  int sent = 0;
  if (count_ == 1) {
    ssize_t bytes = 0;
    do {
      bytes = kernel.SendMessage(socket, &messages_[0].msg_hdr, kSendFlags);
    } while (bytes < 0 && errno == EINTR);
    messages_[0].msg_len = static_cast<unsigned>(bytes);
    sent = bytes < 0 ? -1 : 1;
  } else {
    do {
      sent =
          kernel.SendMessages(socket, messages_.data(), static_cast<unsigned>(count_), kSendFlags);
    } while (sent < 0 && errno == EINTR);
  }
  if (sent < 0) return {0, ClassifySend(errno), errno};
  for (size_t i = 0; i < static_cast<size_t>(sent); ++i) {
    if (messages_[i].msg_len != bytes_[i]) return {i, SendAnswer::kPortError, 0};  // SND-3
  }
  return {static_cast<size_t>(sent), SendAnswer::kTaken, 0};
}

// -------------------------------------------------------------- receiving

ReceiveBatch::ReceiveBatch() : controls_(kDatagramsMax) {
  for (unsigned i = 0; i < kDatagramsMax; ++i) {
    messages_[i].msg_hdr.msg_iov = &vectors_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
    messages_[i].msg_hdr.msg_control = controls_[i].bytes.data();
  }
}

ReceiveBatch::~ReceiveBatch() {
  CloseRest();
  ReleaseBuffers();
}

unsigned ReceiveBatch::Prepare(BufferPool& pool, unsigned count, uint32_t datagram_bytes) {
  assert(count <= kDatagramsMax && datagram_bytes <= pool.buffer_bytes());
  taken_ = received_ = 0;
  if (vectors_[0].iov_len != datagram_bytes) [[unlikely]] {
    for (iovec& vector : vectors_) vector.iov_len = datagram_bytes;
  }
  const unsigned wanted = (1U << count) - 1;
  for (unsigned missing = wanted & ~ready_; missing != 0; missing &= missing - 1) {
    const auto i = static_cast<unsigned>(std::countr_zero(missing));
    if (blocks_[i] == nullptr) {
      blocks_[i] = pool.Take();
      if (blocks_[i] == nullptr) return i;
      vectors_[i].iov_base = blocks_[i]->bytes();
    }
    messages_[i].msg_hdr.msg_controllen = kControlBytes;
    ready_ |= 1U << i;
  }
  return count;
}

Answer ReceiveBatch::Receive(Kernel& kernel, int socket, unsigned count, unsigned& received) {
  received = 0;
  int got = 1;
  if (count == 1) {
    const ssize_t bytes = kernel.ReceiveMessage(socket, &messages_[0].msg_hdr, kReceiveFlags);
    if (bytes < 0) got = -1;
    messages_[0].msg_len = static_cast<unsigned>(bytes);
  } else {
    got = kernel.ReceiveMessages(socket, messages_.data(), count, kReceiveFlags);
  }
  if (got < 0) return ClassifyReceive(errno);
  received = received_ = static_cast<unsigned>(got);
  ready_ &= ~((1U << received) - 1);
  return Answer::kDatagram;
}

namespace {

// SCM_PIDFD, which the system's headers lack: a descriptor that nobody passed. The kernel
// makes one for each datagram where somebody set SO_PASSPIDFD on the socket.
constexpr int kPidfd = 4;

void ClosePidfd(const cmsghdr* control) {
  int fd = -1;  // or an error, negative
  if (control->cmsg_len >= CMSG_LEN(sizeof fd)) std::memcpy(&fd, CMSG_DATA(control), sizeof fd);
  OwnedFd(fd).Close();  // FDS-5
}

void TakeDescriptors(const cmsghdr* control, Fds& fds) {
  const size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  for (size_t i = 0; i < count; ++i) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof fd);
    fds.emplace_back(fd);
  }
}

}  // namespace

ReceiveBatch::Passed ReceiveBatch::TakeControl(msghdr& message, Fds& fds) {
  Passed passed;
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr;
       control = CMSG_NXTHDR(&message, control)) {
    if (IsCredentials(*control)) {
      ucred credentials = {};
      std::memcpy(&credentials, CMSG_DATA(control), sizeof credentials);
      passed.credentials_pid = credentials.pid;
    } else if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_RIGHTS) {
      ++passed.rights_messages;
      TakeDescriptors(control, fds);
    } else if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == kPidfd) {
      ClosePidfd(control);
    }
  }
  return passed;
}

bool ReceiveBatch::IsZero(unsigned index) const {
  return messages_[index].msg_len == 0 && messages_[index].msg_hdr.msg_controllen == 0;
}

void ReceiveBatch::FindOut(Kernel& kernel, int socket, unsigned index, ZeroRead& zero) const {
  for (unsigned later = index; later < received_; ++later) {
    if (!IsZero(later)) return;
  }
  int readable_bytes = 0;
  bool hung_up = false;
  if (kernel.HungUp(socket, hung_up) != 0) return;
  if (kernel.ReadableBytes(socket, readable_bytes) != 0) return;
  zero.hung_up = hung_up;
  zero.readable_bytes = static_cast<uint64_t>(readable_bytes);
}

void ReceiveBatch::CloseRest() {
  Fds fds;
  while (taken_ < received_) Take(taken_, fds);
  taken_ = received_ = 0;
}

void ReceiveBatch::ReleaseBuffers() {
  ready_ = 0;
  for (Block*& block : blocks_) {
    if (block != nullptr) std::exchange(block, nullptr)->GiveBack();
  }
}

}  // namespace portproof
