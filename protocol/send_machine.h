// The send machine: everything that a process decides about what leaves one port's send end,
// and what that means for the writers.
//
//     Step(machine, event, actions)    a write, an announcement, what the kernel answered, ...
//     machine.Plan(plan)               the next datagrams: a function of the state
//
//   shapes    descriptors are slots, buffers and messages are the writer's ids, segments are
//             known by their ids; the shell resolves them. A plan is at most
//             kPlanDatagramsMax datagrams and never crosses a rotation
//   returns   Step clears `actions` and fills it, in the order to be performed. A write that
//             is refused gives a kReleaseFd for each of its descriptors, then kRefuse. The
//             machine has not changed then, and the caller still owns everything. The
//             caller's loop runs completions later (CMP-4). The shell reports a short count
//             of the kernel as kPortError, for nobody knows what the receiver saw (SND-3)
//   holds     the messages. Finished ones are kept for reuse, so that in the steady state a
//             message of up to two buffers allocates nothing. A longer chain reuses the
//             memory of an earlier one. A fresh machine holds nothing. An empty one holds
//             only the ids of the announced segments after ReleaseMemory
//   rules     SND-1, SND-2, SND-3, SND-4, SND-5, SND-6, SND-7, SND-8, SND-9, SND-11, SND-12,
//             CMP-1, CMP-2, CMP-3, CMP-4, CMP-5, CMP-6, IOV-5, IOV-6, SHM-3, SHM-4, SHM-5,
//             SHM-6, SHM-10, SHM-11, SHM-15, FDS-2, FDS-6, FRG-5, FRG-10, HDR-4
//   source    nxt_port_socket_write, nxt_port_write_handler; differs where the section
//             "Sending" of the rules says "Original"
#ifndef PORTPROOF_PROTOCOL_SEND_MACHINE_H_
#define PORTPROOF_PROTOCOL_SEND_MACHINE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "protocol/chain.h"
#include "protocol/chunk.h"
#include "protocol/compose.h"
#include "protocol/control.h"
#include "protocol/header.h"
#include "protocol/profile.h"

namespace portproof {

inline constexpr size_t kPlanDatagramsMax = 16;
inline constexpr uint32_t kShareBytesDefault = 65536;
// SND-2: the delay of a retry doubles from the first to the last.
inline constexpr uint32_t kRetryFirstMs = 1;
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
  bool has_tracking = true;       // HDR-5: byte 15 is the tracking flag
  uint32_t messages_max = 4096;   // SND-12, all three; exactly the limit is allowed
  uint64_t bytes_max = 64 << 20;  // of chains, unsent
  uint32_t fds_max = 256;         // unsent
  // FDS-6: the types that go with another number of descriptors than 0, 1, 2.
  std::array<HandledTypes, 3> types_not_with = {HandledTypes::None(), HandledTypes::None(),
                                                HandledTypes::None()};
  uint8_t mmap_type = 0;
  uint8_t rpc_error_type = 1;

  friend bool operator==(const SendLimits&, const SendLimits&) = default;
};

// The limits that a profile gives; the others keep their defaults.
SendLimits SendLimitsOf(const Profile& profile, uint32_t max_size);

// SND-11: whether a port may be made or adopted with these numbers.
bool SendParametersAllowed(const Profile& profile, uint32_t max_size, uint64_t max_share,
                           uint32_t send_buffer_bytes);

using FdSlot = uint32_t;

// ------------------------------------------------------------------- plan

// One cache line.
struct alignas(64) PlannedDatagram {
  Header header = {};
  uint32_t payload_bytes = 0;  // behind the header, on the wire
  Mode mode = Mode::kPlain;    // kShared: the payload is references (SHM-5)
  uint8_t fd_count = 0;        // with the first datagram of a message only (SND-8)
  uint16_t run_count = 0;
  std::array<FdSlot, 2> fds = {};
  std::optional<Tracking> tracking = {};  // 8 bytes before the first datagram's references

  // What Sent needs.
  uint32_t first_run = 0;
  uint32_t chain_bytes = 0;  // of the chain, in whatever mode
  ChainCursor next = {};
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
  friend class SendMachine;
  std::array<PlannedDatagram, kPlanDatagramsMax> datagrams_;
  std::vector<ByteRun> runs_;
  size_t count_ = 0;
  size_t run_count_ = 0;
};

// The reference that a run of a shared datagram becomes on the wire.
Reference ReferenceOf(const ByteRun& run, uint32_t chunk_bytes);

// ----------------------------------------------------------------- events

struct WriteRequest {
  uint32_t stream = 0;
  uint16_t reply_port = 0;
  uint8_t type = 0;
  bool last = false;       // the LAST flag: in every datagram
  bool batch = false;      // wait for the writer's next flush
  bool close_fds = false;  // CLOSE_FD: the machine owns the descriptors
  uint8_t fd_count = 0;
  std::array<FdSlot, 2> fds = {};
  uint32_t writer = 0;      // whose completions (CMP-6)
  uint64_t message_id = 0;  // comes back in every completion
  // SHM-15. Ignored if byte 15 is no flag, for stream 0, and if the first datagram goes plain.
  std::optional<Tracking> tracking = {};
  std::span<const Buffer> chain = {};  // copied; ValidChain holds
};

// Tell the receiver of a segment whose chunks messages will name (SHM-10): a message of type
// mmap with the segment's descriptor, which is borrowed.
struct AnnounceSegment {
  uint32_t segment_id = 0;
  uint32_t tracking_slots = 0;  // that its header has room for
  FdSlot fd = 0;
  bool batch = false;
  uint32_t stream = 0;  // 0 in all that Unit sends, as the next
  uint16_t reply_port = 0;
  uint32_t writer = 0;
  uint64_t message_id = 0;
};

// The receiver asked with get_mmap (SHM-10). `fd` is empty if the shell has no such segment. A
// segment that was announced over this port is announced again on the asker's stream. Any
// other question is answered with rpc_error.
struct SegmentAsked {
  uint32_t segment_id = 0;
  uint32_t stream = 0;
  std::optional<FdSlot> fd = std::nullopt;
  uint64_t message_id = 0;
};

// kDuplicateFd failed for that slot. The latest message, which has not begun, is removed, and
// its write is refused (SND-8). A plan made after that write is invalid.
struct NotDuplicated {
  FdSlot fd = 0;
};

// A plan is about to be given to the kernel. It stays valid across writes, refused ones
// included, since new messages queue behind the planned ones. Any other event ends it.
struct Sending {
  const SendPlan& plan;
};

enum class SendAnswer : uint8_t {
  kTaken,         // all of them, or the call must be repeated for the rest
  kWouldBlock,    // EAGAIN
  kBusy,          // ENOBUFS, ENOMEM, ETOOMANYREFS
  kMessageError,  // of the first that was not taken: anything else
  kPortError,     // EPIPE, ECONNRESET, ECONNREFUSED, ENOTCONN, or a short count
};

// The kernel took the first `count` datagrams of the plan, and said why no more.
struct Sent {
  const SendPlan& plan;
  size_t count = 0;
  SendAnswer answer = SendAnswer::kTaken;
};

struct BecameWritable {};
struct RetryDue {};
struct HungUp {};        // the receive end is gone
struct SenderClosed {};  // with messages queued, too (PRT-2)

// ---------------------------------------------------------------- actions

enum class WriteAnswer : uint8_t {
  kAccepted,
  kClosed,        // the port was closed
  kFailed,        // the port failed (SND-4)
  kType,          // HDR-4
  kFds,           // FDS-2, FDS-6: not so many with a message, or with this type
  kFragments,     // FRG-10: needs more than one datagram
  kMessagesFull,  // SND-12
  kBytesFull,
  kFdsFull,
  kNoDescriptor,  // a descriptor cannot be duplicated (SND-8)
  kNoSegment,     // a buffer's or word's segment was not announced over this port, or one that
                  // is to be announced was (SHM-10)
};
std::string_view Name(WriteAnswer answer);

struct SendAction {
  enum class Kind : uint8_t {
    kRefuse,       // `answer`: the write, the announcement, is not accepted
    kTrack,        // store `stream` in the word of `tracking` (SHM-15), before anything is sent
    kUntrack,      // undo kTrack: the message will not be sent
    kCloseFd,      // fd: close it (SND-9); the slot is free
    kReleaseFd,    // fd: do not close it, the caller owns it; the slot is free
    kDuplicateFd,  // fd: put a close-on-exec copy in the slot; the machine owns it. If that
                   // fails, skip the rest of the list and raise NotDuplicated
    kComplete,     // message_id, buffer_id if has_buffer, writer, ok
    kHandOver,     // the chunks of `reference` are the receiver's from now on (SHM-6)
    kTakeBack,     // the chunks of `reference` are the sender's again: they did not leave
    kForget,       // segment_id: it is not announced over this port any more
    kArm,          // watch the socket for writability
    kDisarm,       // stop watching it
    kRetryLater,   // raise RetryDue after delay_ms (SND-2)
    kFlush,        // send what Plan says, before anything else is done (SND-1); the last action
  };
  Kind kind = Kind::kComplete;
  bool ok = false;
  bool has_buffer = false;  // false: the completion of a message without buffers
  WriteAnswer answer = WriteAnswer::kAccepted;
  uint32_t writer = 0;
  FdSlot fd = 0;
  uint32_t delay_ms = 0;
  uint32_t segment_id = 0;
  uint32_t stream = 0;
  uint64_t message_id = 0;
  uint64_t buffer_id = 0;
  Tracking tracking = {};
  Reference reference = {};

  friend bool operator==(const SendAction&, const SendAction&) = default;
};
using SendActions = std::vector<SendAction>;
std::string ToString(const SendAction& action);

// ---------------------------------------------------------------- machine

class SendMachine {
 public:
  explicit SendMachine(const SendLimits& limits);

  void Plan(SendPlan& plan) const;

  friend void Step(SendMachine&, const WriteRequest&, SendActions&);
  friend void Step(SendMachine&, const AnnounceSegment&, SendActions&);
  friend void Step(SendMachine&, const SegmentAsked&, SendActions&);
  friend void Step(SendMachine&, const NotDuplicated&, SendActions&);
  friend void Step(SendMachine&, const Sending&, SendActions&);
  friend void Step(SendMachine&, const Sent&, SendActions&);
  friend void Step(SendMachine&, const BecameWritable&, SendActions&);
  friend void Step(SendMachine&, const RetryDue&, SendActions&);
  friend void Step(SendMachine&, const HungUp&, SendActions&);
  friend void Step(SendMachine&, const SenderClosed&, SendActions&);

  bool empty() const { return begun_.empty() && unbegun_.empty(); }
  bool open() const { return status_ == Status::kOpen; }
  bool armed() const { return armed_; }
  // The kernel refused, and neither BecameWritable nor RetryDue has come: a flush is useless.
  bool waiting() const { return waiting_ != Waiting::kNo; }
  size_t message_count() const { return begun_.size() + unbegun_.size(); }
  uint64_t queued_bytes() const { return queued_bytes_; }
  uint32_t queued_fds() const { return queued_fds_; }
  bool announced(uint32_t segment_id) const { return announced_.contains(segment_id); }
  const SendLimits& limits() const { return limits_; }

  void ReleaseMemory();  // of an empty machine

  // Compares what the machines would do, not the memory they keep for reuse.
  friend bool operator==(const SendMachine& a, const SendMachine& b);
  friend std::string ToString(const SendMachine& machine);  // one line a message

 private:
  enum class Status : uint8_t { kOpen, kFailed, kClosed };
  enum class Waiting : uint8_t { kNo, kEvent, kRetry };

  struct Message {
    Header header;  // of its next datagram, but for mmap, nf, mf and byte 15
    uint64_t id = 0;
    uint32_t writer = 0;
    uint8_t fd_count = 0;
    bool owns_fds = false;
    bool begun = false;
    Mode mode = Mode::kPlain;
    absl::InlinedVector<Buffer, 2> chain = {};
    uint64_t place = 0;  // in the one queue of SND-6: grows with writes and rotations
    uint64_t bytes_left = 0;
    ChainCursor unsent = {};
    uint64_t share = 0;
    std::array<FdSlot, 2> fds = {};
    std::optional<Tracking> tracking = {};   // only in shared mode
    std::optional<uint32_t> announces = {};  // the id of a segment

    friend bool operator==(const Message&, const Message&) = default;
  };
  // Lists, since a plan and a rotation move messages and copy none.
  using Messages = std::list<Message>;
  // Of a datagram that was composed: a marked sync buffer was passed, bytes remain.
  struct Cut {
    bool last = false;
    bool more = false;
  };
  // How far a plan has used up the queue.
  struct Ahead {
    Messages::const_iterator begun;
    Messages::const_iterator unbegun;
  };

  WriteAnswer Judge(const WriteRequest& request, const ChainSurvey& survey) const;
  bool SegmentsKnown(const WriteRequest& request, const ChainSurvey& survey) const;
  bool NeedsFragments(const WriteRequest& request, const ChainSurvey& survey) const;
  std::optional<Tracking> TrackingOf(const WriteRequest& request, const ChainSurvey& survey) const;
  bool Accept(const WriteRequest& request, std::optional<uint32_t> announces, SendActions& actions);
  Message& Append(const WriteRequest& request, const ChainSurvey& survey);
  const Message* Next(Ahead& ahead) const;
  bool StreamBusy(uint32_t stream, const Ahead& ahead) const;
  bool PlanMessage(const Message& message, SendPlan& plan) const;
  Cut ComposeNext(const Message& message, ChainCursor from, bool first, PlannedDatagram& datagram,
                  ByteRun* runs) const;
  std::optional<Cut> ComposeReferences(std::span<const Buffer> chain, ChainCursor from,
                                       const std::optional<Tracking>& tracking,
                                       PlannedDatagram& datagram, ByteRun* runs) const;
  static Cut Keep(const Composed& composed, PlannedDatagram& datagram);
  void References(const SendPlan& plan, size_t from, SendAction::Kind kind,
                  SendActions& actions) const;
  void Commit(const PlannedDatagram& datagram, SendActions& actions);
  void Rotate(const PlannedDatagram& datagram);
  void LetFdsGo(Message& message, SendActions& actions);
  static void Complete(const Message& message, uint64_t buffer_id, bool ok, SendActions& actions);
  static void CompleteTo(const Message& message, size_t buffer_index, bool ok,
                         SendActions& actions);
  void MustWait(SendActions& actions);
  static void DuplicateBorrowed(Message& message, SendActions& actions);
  void MessageError(SendActions& actions);
  void FailNaming(uint32_t segment_id, SendActions& actions);
  void Fail(Messages& queue, Messages::iterator message, SendActions& actions);
  void FailAll(Status status, SendActions& actions);
  void Arm(bool armed, SendActions& actions);
  void Free(Messages& queue, Messages::iterator message);

  SendLimits limits_;
  Messages begun_;    // ascending places; the front one is being sent
  Messages unbegun_;  // ascending places, as written
  Messages free_;     // to be used again, the last used first
  absl::flat_hash_set<uint32_t> begun_streams_;
  absl::flat_hash_map<uint32_t, uint32_t> announced_;  // segments' tracking slots, by id
  uint64_t next_place_ = 0;
  uint64_t queued_bytes_ = 0;
  uint32_t queued_fds_ = 0;
  uint32_t retry_ms_ = 0;
  Status status_ = Status::kOpen;
  Waiting waiting_ = Waiting::kNo;
  bool armed_ = false;
};

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_SEND_MACHINE_H_
