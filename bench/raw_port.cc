#include "bench/raw_port.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace portproof::bench {

void WaitFor(int fd, short events) {
  pollfd polled = {fd, events, 0};
  ::poll(&polled, 1, -1);
}

RawSender::RawSender(int fd, size_t payload_bytes, unsigned batch)
    : fd_(fd), batch_(batch), payload_(payload_bytes, 'x') {
  vectors_ = {{{header_.data(), header_.size()}, {payload_.data(), payload_.size()}}};
  for (mmsghdr& message : messages_) {
    message.msg_hdr.msg_iov = vectors_.data();
    message.msg_hdr.msg_iovlen = payload_bytes == 0 ? 1 : 2;
  }
}

int RawSender::SendSome(unsigned count) {
  constexpr int kFlags = MSG_DONTWAIT | MSG_NOSIGNAL;
  if (batch_ > 1) return ::sendmmsg(fd_, messages_.data(), count, kFlags);
  return ::sendmsg(fd_, &messages_[0].msg_hdr, kFlags) < 0 ? -1 : 1;
}

void RawSender::Send(uint64_t count) {
  while (count > 0) {
    const int sent = SendSome(static_cast<unsigned>(std::min<uint64_t>(batch_, count)));
    if (sent > 0) {
      count -= static_cast<uint64_t>(sent);
    } else if (errno == EAGAIN) {
      WaitFor(fd_, POLLOUT);
    } else {
      std::abort();
    }
  }
}

RawReceiver::RawReceiver(int fd, size_t buffer_bytes, unsigned batch)
    : fd_(fd), batch_(batch), buffers_(buffer_bytes * kBatchMax), controls_(kBatchMax) {
  for (unsigned i = 0; i < kBatchMax; ++i) {
    vectors_[i] = {&buffers_[i * buffer_bytes], buffer_bytes};
    messages_[i].msg_hdr.msg_iov = &vectors_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
    messages_[i].msg_hdr.msg_control = controls_[i].bytes.data();
    messages_[i].msg_hdr.msg_controllen = sizeof controls_[i].bytes;
  }
}

int RawReceiver::ReceiveSome() {
  constexpr int kFlags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
  int count = 1;
  if (batch_ > 1) {
    count = ::recvmmsg(fd_, messages_.data(), batch_, kFlags, nullptr);
  } else {
    const ssize_t bytes = ::recvmsg(fd_, &messages_[0].msg_hdr, kFlags);
    if (bytes < 0) count = -1;
    messages_[0].msg_len = static_cast<unsigned>(bytes);
  }
  for (int i = 0; i < count; ++i) {
    bytes_ += messages_[static_cast<unsigned>(i)].msg_len;
    messages_[static_cast<unsigned>(i)].msg_hdr.msg_controllen = sizeof controls_[0].bytes;
  }
  if (count < 0 && errno != EAGAIN) std::abort();
  return count;
}

uint64_t RawReceiver::Receive(uint64_t count) {
  bytes_ = 0;
  while (count > 0) {
    const int got = ReceiveSome();
    if (got > 0) {
      count -= static_cast<uint64_t>(got);
    } else {
      WaitFor(fd_, POLLIN);
    }
  }
  return bytes_;
}

uint64_t RawReceiver::Drain() {
  uint64_t count = 0;
  for (int got = ReceiveSome(); got > 0; got = ReceiveSome()) count += static_cast<uint64_t>(got);
  return count;
}

}  // namespace portproof::bench
