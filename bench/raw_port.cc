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

RawSender::RawSender(int fd, size_t payload_bytes, unsigned batch, size_t source_bytes)
    : fd_(fd),
      batch_(batch),
      payload_bytes_(payload_bytes),
      source_(std::max(source_bytes, payload_bytes), 'x') {
  for (unsigned i = 0; i < kBatchMax; ++i) {
    vectors_[i][0] = {header_.data(), header_.size()};
    vectors_[i][1] = {source_.data(), payload_bytes};
    messages_[i].msg_hdr.msg_iov = vectors_[i].data();
    messages_[i].msg_hdr.msg_iovlen = payload_bytes == 0 ? 1 : 2;
  }
  Advance(0);
}

// What was sent is over: the next ones take the source's next bytes.
void RawSender::Advance(unsigned count) {
  if (source_.size() == payload_bytes_) return;
  const size_t pieces = (source_.size() + payload_bytes_ - 1) / payload_bytes_;
  next_ = (next_ + count) % pieces;
  for (unsigned i = 0; i < batch_; ++i) {
    const size_t at = (next_ + i) % pieces * payload_bytes_;
    vectors_[i][1] = {&source_[at], std::min(payload_bytes_, source_.size() - at)};
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
      Advance(static_cast<unsigned>(sent));
    } else if (errno == EAGAIN) {
      WaitFor(fd_, POLLOUT);
    } else {
      std::abort();
    }
  }
}

RawReceiver::RawReceiver(int fd, size_t buffer_bytes, unsigned batch, size_t buffers)
    : fd_(fd),
      batch_(batch),
      buffer_bytes_(buffer_bytes),
      buffer_count_(std::max<size_t>(buffers, kBatchMax)),
      buffers_(buffer_bytes * buffer_count_),
      controls_(kBatchMax) {
  for (unsigned i = 0; i < kBatchMax; ++i) {
    vectors_[i] = {&buffers_[i * buffer_bytes], buffer_bytes};
    messages_[i].msg_hdr.msg_iov = &vectors_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
    messages_[i].msg_hdr.msg_control = controls_[i].bytes.data();
    messages_[i].msg_hdr.msg_controllen = sizeof controls_[i].bytes;
  }
}

void RawReceiver::Advance(unsigned count) {
  if (buffer_count_ == kBatchMax) return;
  next_ = (next_ + count) % buffer_count_;
  for (unsigned i = 0; i < batch_; ++i) {
    vectors_[i].iov_base = &buffers_[(next_ + i) % buffer_count_ * buffer_bytes_];
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
  if (count > 0) Advance(static_cast<unsigned>(count));
  return count;
}

// A batch that comes short found the socket empty behind its last one.
bool RawReceiver::Emptied(int got) const {
  return got < 0 || (batch_ > 1 && static_cast<unsigned>(got) < batch_);
}

uint64_t RawReceiver::Receive(uint64_t count) {
  bytes_ = 0;
  while (count > 0) {
    const int got = ReceiveSome();
    if (got > 0) count -= static_cast<uint64_t>(got);
    if (count > 0 && Emptied(got)) WaitFor(fd_, POLLIN);
  }
  return bytes_;
}

uint64_t RawReceiver::Drain() {
  uint64_t count = 0;
  for (;;) {
    const int got = ReceiveSome();
    if (got > 0) count += static_cast<uint64_t>(got);
    if (Emptied(got)) return count;
  }
}

}  // namespace portproof::bench
