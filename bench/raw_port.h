// The baseline of port_bench: sendmsg and recvmsg, or their batch forms of 16, over the
// same sockets with the same buffers, control buffers, flags and iovecs; nothing else.
#ifndef PORTPROOF_BENCH_RAW_PORT_H_
#define PORTPROOF_BENCH_RAW_PORT_H_

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace portproof::bench {

inline constexpr unsigned kBatchMax = 16;

void WaitFor(int fd, short events);

class RawSender {
 public:
  // The payloads walk through `source_bytes` again and again, the last piece of it as short
  // as it is; 0: always the same bytes.
  RawSender(int fd, size_t payload_bytes, unsigned batch, size_t source_bytes = 0);
  // Sends so many datagrams, waiting for room where there is none.
  void Send(uint64_t count);

 private:
  int SendSome(unsigned count);
  void Advance(unsigned count);

  int fd_;
  unsigned batch_;
  size_t payload_bytes_;
  std::array<uint8_t, 16> header_ = {};
  std::vector<uint8_t> source_;
  size_t next_ = 0;  // byte of the source
  std::array<std::array<iovec, 2>, kBatchMax> vectors_ = {};
  std::array<mmsghdr, kBatchMax> messages_ = {};
};

class RawReceiver {
 public:
  // Into `buffers` one after the other, again and again; 0: always the first ones.
  RawReceiver(int fd, size_t buffer_bytes, unsigned batch, size_t buffers = 0);
  // Receives so many datagrams; returns the bytes that came.
  uint64_t Receive(uint64_t count);
  // Until the socket is empty; returns how many came.
  uint64_t Drain();
  uint64_t bytes() const { return bytes_; }

 private:
  struct Control {
    alignas(cmsghdr) std::array<uint8_t, 2 * CMSG_SPACE(12) + CMSG_SPACE(4)> bytes;  // as ours
  };
  int ReceiveSome();
  bool Emptied(int got) const;
  void Advance(unsigned count);

  int fd_;
  unsigned batch_;
  size_t buffer_bytes_;
  size_t buffer_count_;
  size_t next_ = 0;  // buffer
  uint64_t bytes_ = 0;
  std::vector<uint8_t> buffers_;
  std::vector<Control> controls_;
  std::array<iovec, kBatchMax> vectors_ = {};
  std::array<mmsghdr, kBatchMax> messages_ = {};
};

}  // namespace portproof::bench

#endif  // PORTPROOF_BENCH_RAW_PORT_H_
