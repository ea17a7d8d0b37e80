// SendQueue decides what leaves a port's send end next, and what that means for the
// writers. It performs nothing: the shell sends what Plan names, tells how many
// datagrams the kernel took, and carries out the actions in their order.
//
//     Write(...) -> flush_now?      Plan(plan); sendmmsg; Commit(plan, k, actions);
//                                   then again, until the plan is empty or the kernel
//                                   says no: WouldBlock, Busy, MessageError, PortError
//
//   shapes    SendLimits, WriteRequest: below. Descriptors are slots, buffers and
//             messages are the writer's ids; the shell resolves them. A plan is at most
//             kPlanDatagramsMax datagrams and never crosses a rotation
//   returns   Write: accepted, or why not, and then nothing has changed and the caller
//             owns everything still. Plan: a function of the state; the next datagrams.
//             The events append to `actions`, in the order to be performed; completions
//             among them are run later, by the caller's loop (CMP-4). A short count of
//             the kernel is PortError: nobody knows what the receiver saw (SND-3)
//   holds     the messages; blocks are kept and reused, so that in the steady state a
//             message allocates nothing (up to two buffers; more reuse what earlier
//             ones left). A fresh queue, or an empty one after ReleaseMemory, holds none
//   rules     SND-1 ... SND-9, SND-11, SND-12; CMP-1 ... CMP-6; IOV-5, IOV-6;
//             SHM-3, SHM-4, SHM-5, SHM-11; FDS-2, FRG-10, HDR-4
//   source    nxt_port_socket_write, nxt_port_write_handler; differs where section 4
//             of the rules says "Original"
#ifndef PORTPROOF_PROTOCOL_SEND_QUEUE_H_
#define PORTPROOF_PROTOCOL_SEND_QUEUE_H_

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/container/flat_hash_set.h"
#include "protocol/buffer_list.h"
#include "protocol/chain.h"
#include "protocol/chunk.h"
#include "protocol/compose.h"
#include "protocol/header.h"
#include "protocol/profile.h"
#include "protocol/slot_ring.h"

namespace portproof {

inline constexpr size_t kPlanDatagramsMax = 16;
inline constexpr uint32_t kShareBytesDefault = 65536;
inline constexpr uint32_t kRetryFirstMs = 1;  // SND-2: doubling, up to
inline constexpr uint32_t kRetryLastMs = 100;

struct SendLimits {
  int32_t pid = 0;                            // as this process knows itself (HDR-6)
  uint32_t payload_bytes = 0;                 // L
  uint64_t share_bytes = kShareBytesDefault;  // SHARE, at least 1
  uint32_t plain_runs = kPlainRunsMax;
  uint32_t chunk_bytes = kUnitGeometry.chunk_bytes;
  uint32_t type_count = 256;      // HDR-4: types on the wire are below
  uint8_t fds_per_message = 2;    // FDS-2: 1 or 2
  bool takes_fragments = true;    // FRG-10: false for a receiver that takes none
  uint32_t messages_max = 4096;   // SND-12, all three; exactly the limit is allowed
  uint64_t bytes_max = 64 << 20;  // of chains, unsent
  uint32_t fds_max = 256;         // unsent

  friend bool operator==(const SendLimits&, const SendLimits&) = default;
};

// SND-11: whether a port may be made or adopted with these numbers.
bool SendParametersAllowed(const Profile& profile, uint32_t max_size, uint64_t max_share,
                           uint32_t send_buffer_bytes);

using FdSlot = uint32_t;

struct WriteRequest {
  uint32_t stream = 0;
  uint16_t reply_port = 0;
  uint8_t type = 0;
  bool last = false;       // the LAST flag: in every datagram
  bool batch = false;      // wait for the writer's next flush
  bool close_fds = false;  // CLOSE_FD: the queue owns the descriptors
  uint8_t fd_count = 0;
  // Aligned, so that no field is loaded across two stores of the caller's.
  alignas(8) std::array<FdSlot, 2> fds = {};
  uint32_t writer = 0;                    // whose completions (CMP-6)
  uint64_t message_id = 0;                // comes back in every completion
  std::optional<Tracking> tracking = {};  // only profiles to 1.18, only shared mode
  std::span<const Buffer> chain = {};     // copied; ValidChain holds
};

enum class WriteAnswer : uint8_t {
  kAccepted,
  kClosed,        // the port was closed
  kFailed,        // the port failed (SND-4)
  kType,          // HDR-4
  kFds,           // FDS-2: more than a message may carry
  kFragments,     // FRG-10: needs more than one datagram
  kMessagesFull,  // SND-12
  kBytesFull,
  kFdsFull,
  kNoDescriptor,  // the shell's own answers: a descriptor cannot be duplicated (SND-8)
  kNoSegment,     // a buffer's segment was not announced over this port (SHM-10)
};
std::string_view Name(WriteAnswer answer);

struct WriteResult {
  WriteAnswer answer = WriteAnswer::kAccepted;
  bool flush_now = false;  // SND-1: the caller flushes before it returns to the writer
  bool tracked = false;    // SHM-15: its first datagram will carry the tracking asked for
};

// What the shell must do, in this order.
struct SendAction {
  enum class Kind : uint8_t {
    kCloseFd,      // fd: close it (SND-9)
    kDuplicateFd,  // fd: put a close-on-exec copy in the slot; the queue owns it. If
                   // that fails: WithdrawLast, and the write is refused after all (SND-8)
    kComplete,     // message_id, buffer_id if has_buffer, writer, ok
    kArm,          // watch the socket for writability
    kDisarm,       // do not
    kRetryLater,   // delay_ms: call Retry then (SND-2)
  };
  Kind kind = Kind::kComplete;
  bool ok = false;
  bool has_buffer = false;  // false: the completion of a message without buffers
  uint32_t writer = 0;
  FdSlot fd = 0;
  uint32_t delay_ms = 0;
  uint64_t message_id = 0;
  uint64_t buffer_id = 0;

  friend bool operator==(const SendAction&, const SendAction&) = default;
};
using SendActions = std::vector<SendAction>;
std::string ToString(const SendAction& action);

// One cache line.
struct alignas(64) PlannedDatagram {
  Header header = {};
  uint32_t payload_bytes = 0;  // behind the header, on the wire
  Mode mode = Mode::kPlain;    // kShared: the payload is references (SHM-5)
  uint8_t fd_count = 0;        // with the first datagram of a message only (SND-8)
  uint16_t run_count = 0;
  std::array<FdSlot, 2> fds = {};
  std::optional<Tracking> tracking = {};  // 8 bytes before the first datagram's references

  // What Commit needs.
  uint32_t first_run = 0;
  uint32_t slot = 0;
  uint32_t chain_bytes = 0;  // of the chain, in whatever mode
  ChainCursor next = {};     // but for a whole message
};
static_assert(sizeof(PlannedDatagram) == 64);

// Reused by the caller; about 22 KiB, which is why a loop has one and not each port.
class SendPlan {
 public:
  SendPlan() : runs_(kPlanDatagramsMax * kSharedRunsMax) {}
  std::span<const PlannedDatagram> datagrams() const { return {datagrams_.data(), count_}; }
  std::span<const ByteRun> RunsOf(const PlannedDatagram& datagram) const {
    return {runs_.data() + datagram.first_run, datagram.run_count};
  }

 private:
  friend class SendQueue;
  std::array<PlannedDatagram, kPlanDatagramsMax> datagrams_;
  std::vector<ByteRun> runs_;
  size_t count_ = 0;
  size_t run_count_ = 0;
  uint64_t generation_ = 0;
};

// The reference that a run of a shared datagram becomes on the wire.
Reference ReferenceOf(const ByteRun& run, uint32_t chunk_bytes);

class SendQueue {
 public:
  explicit SendQueue(const SendLimits& limits);

  WriteResult Write(const WriteRequest& request, SendActions& actions);
  // The same for a caller that has taken the survey with this queue's chunk_bytes.
  // Inline, as all is that each message passes: what it is given is stored where it stays.
  ABSL_ATTRIBUTE_ALWAYS_INLINE WriteResult WriteSurveyed(const WriteRequest& request,
                                                         const ChainSurvey& survey,
                                                         SendActions& actions);
  // Takes back the message written last, which has not begun. Nothing completes. A plan
  // made before that write stays valid; one made after it must not be committed any more.
  void WithdrawLast();

  // Stays valid across Write (a write never comes before what is planned), also one that
  // is withdrawn, and until the next other event.
  void Plan(SendPlan& plan) const;
  // The kernel took the first `count` datagrams of the plan.
  void Commit(const SendPlan& plan, size_t count, SendActions& actions);

  // The kernel's answer to the first datagram of the next plan, which is not empty.
  void WouldBlock(SendActions& actions);
  void Busy(SendActions& actions);
  void MessageError(SendActions& actions);
  // The announcement of a segment failed: what would name it, and cannot have begun (SND-6),
  // fails too (SHM-10).
  void FailNaming(uint32_t segment_id, SendActions& actions);
  // Of the port, at any time: an answer of that kind, a short count, a hang-up.
  void PortError(SendActions& actions);

  // True: flush now.
  bool Writable(SendActions& actions);
  bool Retry();

  void Close(SendActions& actions);  // with messages queued, too (PRT-2)

  bool empty() const { return begun_.empty() && unbegun_.empty(); }
  bool open() const { return status_ == Status::kOpen; }
  bool armed() const { return armed_; }
  // The kernel refused, and neither the event nor the retry has come: a flush is in vain.
  bool waiting() const { return waiting_ != Waiting::kNo; }
  size_t message_count() const { return begun_.size() + unbegun_.size(); }
  uint64_t queued_bytes() const { return queued_bytes_; }
  uint32_t queued_fds() const { return queued_fds_; }
  const SendLimits& limits() const { return limits_; }

  void ReleaseMemory();  // of an empty queue

  // For tests: what the queue holds, whatever its slots; one line a message.
  friend std::string ToString(const SendQueue& queue);
  friend bool operator==(const SendQueue& a, const SendQueue& b);

 private:
  enum class Status : uint8_t { kOpen, kFailed, kClosed };
  enum class Waiting : uint8_t { kNo, kEvent, kRetry };

  struct Message {
    Header header;    // of its next datagram, but for mmap, nf, mf and byte 15
    uint64_t id = 0;  // from here on in the order a short message needs them
    uint32_t writer = 0;
    uint8_t fd_count = 0;
    bool owns_fds = false;
    bool whole = false;  // plain, of one buffer at most, and a single datagram
    bool begun = false;
    BufferList chain;
    uint64_t place = 0;  // in the one queue of SND-6: grows with writes and rotations
    uint64_t bytes_left = 0;
    ChainCursor unsent;  // as new in a free slot, as `begun` and `share` are
    uint64_t share = 0;
    std::array<FdSlot, 2> fds = {};
    Mode mode = Mode::kPlain;
    std::optional<Tracking> tracking = {};  // only in shared mode
  };

  // How far a plan has used up the queue.
  struct Ahead {
    size_t begun = 0;
    size_t unbegun = 0;
  };

  WriteAnswer Judge(const WriteRequest& request, uint64_t chain_bytes) const;
  ABSL_ATTRIBUTE_NOINLINE WriteAnswer NotOpen() const;
  ABSL_ATTRIBUTE_NOINLINE bool NeedsFragments(const WriteRequest& request) const;
  uint32_t TakeSlot();
  void FreeSlot(uint32_t slot) { free_.push_back(slot); }
  void FreeFragmented(uint32_t slot);
  ABSL_ATTRIBUTE_NOINLINE void Track(const WriteRequest& request, Message& message) const;
  std::optional<uint32_t> Next(Ahead ahead) const;
  bool StreamBusy(uint32_t stream, size_t begun_ended) const;
  static void PlanWhole(const Message& message, uint32_t slot, ByteRun& run,
                        PlannedDatagram& datagram);
  ABSL_ATTRIBUTE_NOINLINE bool PlanFragments(const Message& message, uint32_t slot,
                                             SendPlan& plan) const;
  Composed ComposeNext(const Message& message, ChainCursor from, bool first,
                       PlannedDatagram& datagram, std::span<ByteRun> runs) const;
  ABSL_ATTRIBUTE_NOINLINE std::optional<Composed> ComposeReferences(
      std::span<const Buffer> chain, ChainCursor from, const std::optional<Tracking>& tracking,
      PlannedDatagram& datagram, std::span<ByteRun> runs) const;
  ABSL_ATTRIBUTE_ALWAYS_INLINE void CommitOne(const PlannedDatagram& datagram,
                                              SendActions& actions);
  ABSL_ATTRIBUTE_NOINLINE void CommitFragment(const PlannedDatagram& datagram, Message& message,
                                              SendActions& actions);
  ABSL_ATTRIBUTE_ALWAYS_INLINE void LeaveUnbegun(Message& message, SendActions& actions);
  static SendAction Completion(const Message& message, const Buffer& buffer, bool ok);
  static void CompleteTo(const Message& message, uint32_t buffer_index, bool ok,
                         SendActions& actions);
  ABSL_ATTRIBUTE_NOINLINE void DuplicateBorrowed(Message& message, SendActions& actions);
  void FailMessage(uint32_t slot, SendActions& actions);
  void FailAll(Status status, SendActions& actions);
  void Arm(bool armed, SendActions& actions);
  std::vector<uint32_t> QueueOrder() const;

  SendLimits limits_;
  std::vector<Message> slots_;
  std::vector<uint32_t> free_;
  SlotRing begun_;    // ascending places; the front one is being sent
  SlotRing unbegun_;  // ascending places, as written
  absl::flat_hash_set<uint32_t> begun_streams_;
  uint64_t next_place_ = 0;
  uint64_t generation_ = 0;  // of plans: which of them may be committed
  uint64_t queued_bytes_ = 0;
  uint32_t queued_fds_ = 0;
  uint32_t retry_ms_ = 0;
  Status status_ = Status::kOpen;
  Waiting waiting_ = Waiting::kNo;
  bool armed_ = false;
};

inline WriteAnswer SendQueue::Judge(const WriteRequest& request, uint64_t chain_bytes) const {
  if (status_ != Status::kOpen) return NotOpen();
  if (request.type >= limits_.type_count) return WriteAnswer::kType;
  if (request.fd_count > limits_.fds_per_message) return WriteAnswer::kFds;
  if (!limits_.takes_fragments && NeedsFragments(request)) return WriteAnswer::kFragments;
  if (message_count() >= limits_.messages_max) return WriteAnswer::kMessagesFull;
  if (chain_bytes > limits_.bytes_max - queued_bytes_) return WriteAnswer::kBytesFull;
  if (request.fd_count > limits_.fds_max - queued_fds_) return WriteAnswer::kFdsFull;
  return WriteAnswer::kAccepted;
}

inline uint32_t SendQueue::TakeSlot() {
  if (free_.empty()) {
    slots_.emplace_back();
    return static_cast<uint32_t>(slots_.size() - 1);
  }
  const uint32_t slot = free_.back();  // the warmest
  free_.pop_back();
  return slot;
}

inline WriteResult SendQueue::WriteSurveyed(const WriteRequest& request, const ChainSurvey& survey,
                                            SendActions& actions) {
  assert(ValidChain(request.chain) && request.fd_count <= request.fds.size());
  const WriteAnswer answer = Judge(request, survey.bytes);
  if (answer != WriteAnswer::kAccepted) return {answer, false};
  const bool flush_now = waiting_ == Waiting::kNo && !request.batch;
  const bool leaves_at_once = flush_now && empty();  // SND-1
  const uint32_t slot = TakeSlot();
  Message& message = slots_[slot];
  message.header = {.stream = request.stream,
                    .pid = limits_.pid,
                    .reply_port = request.reply_port,
                    .type = request.type,
                    .last = request.last};
  message.id = request.message_id;
  message.writer = request.writer;
  message.fd_count = request.fd_count;
  message.owns_fds = request.close_fds;
  message.whole = survey.mode == Mode::kPlain && request.chain.size() <= 1 &&
                  survey.bytes <= limits_.payload_bytes;
  message.chain.Assign(request.chain);
  message.place = next_place_++;
  message.bytes_left = survey.bytes;
  message.fds = request.fds;
  message.mode = survey.mode;  // SHM-3
  message.tracking.reset();
  if (request.tracking) [[unlikely]]
    Track(request, message);
  queued_bytes_ += survey.bytes;
  queued_fds_ += request.fd_count;
  unbegun_.push_back(slot);
  if (!leaves_at_once && message.fd_count != 0) DuplicateBorrowed(message, actions);
  return {WriteAnswer::kAccepted, flush_now, message.tracking.has_value()};
}

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_SEND_QUEUE_H_
