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

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/container/inlined_vector.h"
#include "port/buffer_pool.h"
#include "port/kernel.h"
#include "port/owned_fd.h"
#include "protocol/control.h"
#include "protocol/send_machine.h"
#include "protocol/turn.h"

namespace portproof {

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
    size_t at = 0;
    iovec* vector = vectors_.data();
    uint8_t* list = list_.data();
    for (const PlannedDatagram& datagram : plan.datagrams()) {
      headers_[at] = EncodeHeader(datagram.header);
      bytes_[at] = static_cast<uint32_t>(kHeaderBytes) + datagram.payload_bytes;
      iovec* const begin = vector;
      *vector++ = {headers_[at].data(), kHeaderBytes};
      if (datagram.mode == Mode::kShared) [[unlikely]] {
        *vector++ = {list, datagram.payload_bytes};
        list = PutReferences(datagram, plan.RunsOf(datagram), chunk_bytes, list);
      } else {
        for (const ByteRun& run : plan.RunsOf(datagram)) {
          // NOLINTNEXTLINE(performance-no-int-to-ptr): the core compares addresses as numbers
          *vector++ = {reinterpret_cast<void*>(run.place), run.bytes};
        }
      }
      msghdr& message = messages_[at].msg_hdr;
      message.msg_iov = begin;
      message.msg_iovlen = static_cast<size_t>(vector - begin);
      message.msg_control = nullptr;
      message.msg_controllen = 0;
      if (datagram.fd_count != 0) [[unlikely]]
        PutDescriptors(at, datagram, fds);
      ++at;
    }
    count_ = at;
  }
  SendResult Send(Kernel& kernel, int socket);

 private:
  static constexpr size_t kVectorsMax = kPlanDatagramsMax * (1 + size_t{kSharedRunsMax});
  static constexpr size_t kListBytesMax =
      kPlanDatagramsMax * (kTrackingBytes + kSharedRunsMax * kReferenceBytes);
  static constexpr size_t kControlBytes = CMSG_SPACE(2 * sizeof(int));

  // Puts the payload of a shared datagram to `to`; returns its end.
  static uint8_t* PutReferences(const PlannedDatagram& datagram, std::span<const ByteRun> runs,
                                uint32_t chunk_bytes, uint8_t* to);
  template <typename Fds>
  ABSL_ATTRIBUTE_NOINLINE void PutDescriptors(size_t at, const PlannedDatagram& datagram,
                                              const Fds& fds) {
    std::array<int, 2> passed = {-1, -1};
    for (size_t i = 0; i < datagram.fd_count; ++i) passed[i] = fds(datagram.fds[i]);
    PutControl(at, {passed.data(), datagram.fd_count});
  }
  void PutControl(size_t at, std::span<const int> fds);

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
};

using Fds = absl::InlinedVector<OwnedFd, 2>;

class ReceiveBatch {
 public:
  static constexpr unsigned kDatagramsMax = 16;
  static constexpr size_t kFdsMax = 2;  // of a message, in any profile (FDS-2)
  // Descriptor slots that one call can fill (see kControlBytes).
  static constexpr unsigned kSlotsMax = kDatagramsMax * 18;

  ReceiveBatch();
  ReceiveBatch(const ReceiveBatch&) = delete;
  ReceiveBatch& operator=(const ReceiveBatch&) = delete;
  ~ReceiveBatch();

  // Makes ready for `count` datagrams of up to `datagram_bytes` each; returns for how
  // many there were buffers.
  unsigned Prepare(BufferPool& pool, unsigned count, uint32_t datagram_bytes);
  // kDatagram: `received` of those made ready came; where a batch came short, the socket
  // was empty then, or reset by the peer's close. Any other answer: none came.
  Answer Receive(Kernel& kernel, int socket, unsigned count, unsigned& received);

  unsigned received() const { return received_; }
  unsigned taken() const { return taken_; }

  // Of the i-th that came; each is taken once, which moves its descriptors to `fds`.
  Received Take(unsigned index, Fds& fds) {
    assert(index < received_ && index == taken_);
    taken_ = index + 1;
    const msghdr& message = messages_[index].msg_hdr;
    Received received{.bytes = messages_[index].msg_len,
                      .truncated = (message.msg_flags & MSG_TRUNC) != 0,  // RCV-1
                      .control_truncated = (message.msg_flags & MSG_CTRUNC) != 0};
    // Of this datagram's own control data, never of an earlier one's (FDS-4).
    if (message.msg_controllen == 0 || TakeCredentials(index, received)) return received;
    const Passed passed = TakeControl(messages_[index].msg_hdr, fds);
    received.rights_messages = passed.rights_messages;
    received.fds = static_cast<uint32_t>(fds.size());
    received.credentials_pid = passed.credentials_pid;
    return received;
  }
  std::span<const uint8_t> BytesOf(unsigned index) const {
    const size_t bytes = std::min<size_t>(messages_[index].msg_len, vectors_[index].iov_len);
    return {static_cast<const uint8_t*>(vectors_[index].iov_base), bytes};
  }
  // Whether one that was taken used descriptor slots, or would have where there were any.
  bool UsedSlots(unsigned index, const Received& received) const {
    const size_t control = messages_[index].msg_hdr.msg_controllen;
    return received.fds != 0 || received.control_truncated ||
           (control != 0 && control != CMSG_SPACE(sizeof(ucred)));  // a pidfd
  }
  // HDR-8: whether one of no bytes is the end of file. What follows in the batch is left to
  // read, too. Nothing is known where a call fails: then it is not the end.
  void FindOut(Kernel& kernel, int socket, unsigned index, ZeroRead& zero) const;

  // The buffer as a part; the batch gets a new one when it is made ready again, or this
  // one back.
  Part TakeBuffer(unsigned index, uint32_t offset, uint32_t bytes) {
    return {std::exchange(blocks_[index], nullptr), offset, bytes};
  }
  void GiveBack(unsigned index, Block* block) {
    assert(blocks_[index] == nullptr && vectors_[index].iov_base == block->bytes());
    blocks_[index] = block;
  }

  // Closes the descriptors that nobody took.
  void CloseRest();
  // Gives all buffers back to their pool.
  void ReleaseBuffers();

 private:
  // Credentials, one descriptor more than any message may carry, and the pidfd that the
  // kernel adds where a peer asked it to. A surplus is seen by it (FDS-2), and MSG_CTRUNC
  // with no surplus still only means that slots ran out: each verdict is that of a buffer
  // for all the 253 the kernel passes. But what has no place here the kernel never puts
  // into the table, where 16 datagrams would have up to 4048 until the first is looked at,
  // and an honest one behind them in the same call would come without its own (RCV-5). So
  // a call needs at most 16 times 10 slots, or 18 where there are no credentials; how many
  // a call takes where there are fewer free, protocol/turn.h says.
  static constexpr size_t kControlBytes =
      CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE((kFdsMax + 1) * sizeof(int)) + CMSG_SPACE(sizeof(int));
  static_assert(kSlotsMax == kDatagramsMax * (kControlBytes - CMSG_LEN(0)) / sizeof(int));
  struct alignas(cmsghdr) Control {
    std::array<uint8_t, kControlBytes> bytes;
  };

  static bool IsCredentials(const cmsghdr& control) {
    return control.cmsg_level == SOL_SOCKET && control.cmsg_type == SCM_CREDENTIALS &&
           control.cmsg_len >= CMSG_LEN(sizeof(ucred));
  }
  bool IsZero(unsigned index) const;  // no byte, no control data
  // The commonest control data: credentials alone. False: it is something else.
  bool TakeCredentials(unsigned index, Received& received) const {
    if (messages_[index].msg_hdr.msg_controllen != CMSG_SPACE(sizeof(ucred))) return false;
    const uint8_t* const bytes = controls_[index].bytes.data();
    cmsghdr control;
    ucred credentials;
    std::memcpy(&control, bytes, sizeof control);
    std::memcpy(&credentials, bytes + CMSG_LEN(0), sizeof credentials);
    if (!IsCredentials(control)) return false;
    received.credentials_pid = credentials.pid;
    return true;
  }
  struct Passed {
    int32_t credentials_pid = 0;
    uint32_t rights_messages = 0;
  };
  // Any control data: all of it is walked, and every descriptor collected (FDS-2).
  static Passed TakeControl(msghdr& message, Fds& fds);

  std::array<mmsghdr, kDatagramsMax> messages_ = {};
  std::array<iovec, kDatagramsMax> vectors_ = {};
  std::array<Block*, kDatagramsMax> blocks_ = {};
  std::vector<Control> controls_;
  unsigned taken_ = 0;
  unsigned received_ = 0;
  unsigned ready_ = 0;  // a bit for each that Prepare need not touch
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_DATAGRAM_IO_H_
