#include "bench/stub_bench.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <vector>

#include "bench/our_port.h"
#include "port/kernel.h"

namespace portproof::bench {
namespace {

// System calls that do nothing: what is left is ours.
class StubKernel : public RealKernel {
 public:
  ssize_t SendMessage(int, const msghdr* message, int) override { return Bytes(*message); }
  int SendMessages(int, mmsghdr* messages, unsigned count, int) override {
    for (unsigned i = 0; i < count; ++i) {
      messages[i].msg_len = static_cast<unsigned>(Bytes(messages[i].msg_hdr));
    }
    return static_cast<int>(count);
  }
  ssize_t ReceiveMessage(int fd, msghdr* message, int flags) override {
    mmsghdr batch = {*message, 0};
    const int received = ReceiveMessages(fd, &batch, 1, flags);
    *message = batch.msg_hdr;
    return received < 0 ? -1 : static_cast<ssize_t>(batch.msg_len);
  }
  int ReceiveMessages(int, mmsghdr* messages, unsigned count, int) override {
    if (left == 0) {
      errno = EAGAIN;
      return -1;
    }
    const unsigned here = static_cast<unsigned>(std::min<uint64_t>(count, left));
    for (unsigned i = 0; i < here; ++i) Fill(messages[i]);
    left -= here;
    return static_cast<int>(here);
  }

  uint64_t left = 0;
  unsigned payload_bytes = 0;

 private:
  static ssize_t Bytes(const msghdr& message) {
    size_t bytes = 0;
    for (size_t i = 0; i < message.msg_iovlen; ++i) bytes += message.msg_iov[i].iov_len;
    return static_cast<ssize_t>(bytes);
  }
  void Fill(mmsghdr& message) const {
    const auto header = EncodeHeader({.stream = 1, .pid = 7, .type = kData});
    std::memcpy(message.msg_hdr.msg_iov->iov_base, header.data(), header.size());
    message.msg_len = static_cast<unsigned>(kHeaderBytes) + payload_bytes;
    const ucred credentials = {7, 0, 0};
    cmsghdr* const control = static_cast<cmsghdr*>(message.msg_hdr.msg_control);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_CREDENTIALS;
    control->cmsg_len = CMSG_LEN(sizeof credentials);
    std::memcpy(CMSG_DATA(control), &credentials, sizeof credentials);
    message.msg_hdr.msg_controllen = CMSG_SPACE(sizeof credentials);
  }
};

// What the stubs themselves take for a message, in both directions.
double StubsAlone(StubKernel& kernel, std::span<uint8_t> payload, uint64_t count) {
  std::array<uint8_t, kHeaderBytes> header = {};
  std::array<iovec, 2> vectors = {{{header.data(), header.size()}, {payload.data(), 0}}};
  vectors[1].iov_len = payload.size();
  std::array<uint8_t, 64> control = {};
  std::array<mmsghdr, kBatchMax> messages = {};
  for (mmsghdr& message : messages) {
    message.msg_hdr.msg_iov = vectors.data();
    message.msg_hdr.msg_iovlen = payload.empty() ? 1 : 2;
    message.msg_hdr.msg_control = control.data();
  }
  kernel.left = count;
  const double begin = CpuNs();
  for (uint64_t i = 0; i < count; i += kBatchMax) {
    kernel.SendMessages(-1, messages.data(), kBatchMax, 0);
    kernel.ReceiveMessages(-1, messages.data(), kBatchMax, 0);
  }
  return (CpuNs() - begin) / static_cast<double>(count);
}

}  // namespace

void Stub() {
  constexpr uint64_t kCount = 400'000;
  std::printf("user time with the system calls stubbed out\n");
  for (const unsigned bytes : {0U, 64U, 15360U}) {
    StubKernel kernel;
    kernel.payload_bytes = bytes;
    Workspace workspace(kernel);
    const SocketPair pair = NewPair();
    std::vector<uint8_t> payload(bytes, 'x');
    const Buffer buffer = PlainBuffer(payload);
    const std::span<const Buffer> chain(&buffer, bytes == 0 ? 0 : 1);
    OurSender sender(pair.send_end.get(), workspace);
    OurReceiver receiver(pair.receive_end.get(), workspace);
    std::vector<double> sending;
    std::vector<double> receiving;
    std::vector<double> stubs;
    for (int i = 0; i < kPairs; ++i) {
      double begin = CpuNs();
      sender.Send(kCount, chain, true);
      sending.push_back((CpuNs() - begin) / kCount);
      kernel.left = kCount;
      begin = CpuNs();
      receiver.Receive(kCount);
      receiving.push_back((CpuNs() - begin) / kCount);
      stubs.push_back(StubsAlone(kernel, payload, kCount));
    }
    std::printf(
        "stub %28u bytes  sender %5.1f ns  receiver %5.1f ns  together %5.1f ns"
        "  (the stubs alone %4.1f ns)\n",
        bytes, Median(sending), Median(receiving), Median(sending) + Median(receiving),
        Median(stubs));
  }
}

}  // namespace portproof::bench
