// Datagrams and the kernel: up to 16 in one call, their descriptors beside them.
//
//   shapes    SendBatch: the datagrams of a plan, as the kernel wants them. ReceiveBatch:
//             what one call received. Counts of datagrams; sizes in bytes
//   returns   Send: how many of the plan went, and why no more (errno as one of a few
//             values). Receive: how many came, or why none did
//   holds     the arrays for both, which a loop lends to its ports; a ReceiveBatch holds
//             16 buffers, and the descriptors of what it received until they are taken
//   rules     SND-2, SND-3, SND-4, SND-10, SOC-5, HDR-9, FDS-2, FDS-3, FDS-4, RCV-1, RCV-6
//   source    nxt_sendmsg, nxt_recvmsg, nxt_socket_msg_set_oob
#ifndef PORTPROOF_PORT_DATAGRAM_IO_H_
#define PORTPROOF_PORT_DATAGRAM_IO_H_

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "port/buffer_pool.h"
#include "port/kernel.h"
#include "port/owned_fd.h"
#include "protocol/control.h"
#include "protocol/send_queue.h"
#include "protocol/turn.h"

namespace portproof {

enum class SendAnswer : uint8_t {
  kTaken,         // all of them, or the call must be repeated for the rest
  kWouldBlock,    // EAGAIN
  kBusy,          // ENOBUFS, ENOMEM, ETOOMANYREFS
  kMessageError,  // anything else: of the first that was not taken
  kPortError,     // EPIPE, ECONNRESET, ECONNREFUSED, ENOTCONN, or a short count
};

SendAnswer ClassifySend(int error);
Answer ClassifyReceive(int error);

struct SendResult {
  size_t count = 0;  // taken whole
  SendAnswer answer = SendAnswer::kTaken;
  int error = 0;  // errno, 0 for a short count
};

class SendBatch {
 public:
  SendBatch();

  // What the plan says; `fds` gives a slot's descriptor. Its runs are not copied.
  template <typename Fds>
  void Load(const SendPlan& plan, uint32_t chunk_bytes, const Fds& fds) {
    Clear();
    for (const PlannedDatagram& datagram : plan.datagrams()) {
      Add(datagram, plan.RunsOf(datagram), chunk_bytes);
      if (datagram.fd_count == 0) continue;
      std::array<int, 2> passed = {-1, -1};
      for (size_t i = 0; i < datagram.fd_count; ++i) passed[i] = fds(datagram.fds[i]);
      AddControl({passed.data(), datagram.fd_count});
    }
  }
  SendResult Send(Kernel& kernel, int socket);

 private:
  static constexpr size_t kVectorsMax = kPlanDatagramsMax * (1 + size_t{kSharedRunsMax});
  static constexpr size_t kListBytesMax =
      kPlanDatagramsMax * (kTrackingBytes + kSharedRunsMax * kReferenceBytes);
  static constexpr size_t kControlBytes = CMSG_SPACE(2 * sizeof(int));

  void Clear() { count_ = vectors_used_ = list_used_ = 0; }
  void Add(const PlannedDatagram& datagram, std::span<const ByteRun> runs, uint32_t chunk_bytes) {
    const size_t at = count_++;
    headers_[at] = EncodeHeader(datagram.header);
    bytes_[at] = static_cast<uint32_t>(kHeaderBytes) + datagram.payload_bytes;
    iovec* const begin = &vectors_[vectors_used_];
    iovec* end = begin;
    *end++ = {headers_[at].data(), kHeaderBytes};
    if (datagram.mode == Mode::kShared) {
      *end++ = References(datagram, runs, chunk_bytes);
    } else {
      for (const ByteRun& run : runs) {
        // NOLINTNEXTLINE(performance-no-int-to-ptr): the core compares addresses as numbers
        *end++ = {reinterpret_cast<void*>(run.place), run.bytes};
      }
    }
    msghdr& message = messages_[at].msg_hdr;
    message.msg_iov = begin;
    message.msg_iovlen = static_cast<size_t>(end - begin);
    message.msg_control = nullptr;
    message.msg_controllen = 0;
    vectors_used_ += message.msg_iovlen;
  }
  iovec References(const PlannedDatagram& datagram, std::span<const ByteRun> runs,
                   uint32_t chunk_bytes);
  void AddControl(std::span<const int> fds);  // of the datagram added last

  std::array<mmsghdr, kPlanDatagramsMax> messages_ = {};
  std::array<uint32_t, kPlanDatagramsMax> bytes_ = {};
  std::array<std::array<uint8_t, kHeaderBytes>, kPlanDatagramsMax> headers_ = {};
  struct alignas(cmsghdr) Control {
    std::array<uint8_t, kControlBytes> bytes = {};
  };
  std::array<Control, kPlanDatagramsMax> controls_ = {};
  std::vector<iovec> vectors_;
  std::vector<uint8_t> list_;
  size_t count_ = 0;
  size_t vectors_used_ = 0;
  size_t list_used_ = 0;
};

using Fds = absl::InlinedVector<OwnedFd, 2>;

class ReceiveBatch {
 public:
  static constexpr unsigned kDatagramsMax = 16;

  ReceiveBatch();
  ReceiveBatch(const ReceiveBatch&) = delete;
  ReceiveBatch& operator=(const ReceiveBatch&) = delete;
  ~ReceiveBatch();

  // Makes ready for `count` datagrams of up to `datagram_bytes` each; returns for how
  // many there were buffers.
  unsigned Prepare(BufferPool& pool, unsigned count, uint32_t datagram_bytes);
  // kDatagram: `received` of those made ready came. Any other answer: none did.
  Answer Receive(Kernel& kernel, int socket, unsigned count, unsigned& received);

  unsigned received() const { return received_; }
  unsigned taken() const { return taken_; }

  // Of the i-th that came; each is taken once, which moves its descriptors to `fds`.
  Received Take(unsigned index, Fds& fds);
  std::span<const uint8_t> BytesOf(unsigned index) const;
  // No byte, no control data: perhaps the end of file.
  bool IsZero(unsigned index) const;

  // The buffer as a part; the batch gets a new one when it is made ready again, or this
  // one back.
  Part TakeBuffer(unsigned index, uint32_t offset, uint32_t bytes);
  void GiveBack(unsigned index, Block* block);

  // Closes the descriptors that nobody took.
  void CloseRest();
  // Gives all buffers back to their pool.
  void ReleaseBuffers();

 private:
  static constexpr size_t kControlBytes =
      CMSG_SPACE(kKernelFdsMax * sizeof(int)) + CMSG_SPACE(sizeof(ucred)) + 64;
  struct alignas(cmsghdr) Control {
    std::array<uint8_t, kControlBytes> bytes;
  };

  std::array<mmsghdr, kDatagramsMax> messages_ = {};
  std::array<iovec, kDatagramsMax> vectors_ = {};
  std::array<Block*, kDatagramsMax> blocks_ = {};
  std::vector<Control> controls_;
  unsigned taken_ = 0;
  unsigned received_ = 0;
  unsigned ready_ = 0;  // a bit for each that Prepare need not touch
  uint32_t ready_bytes_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_DATAGRAM_IO_H_
