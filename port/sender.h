// The send end of a port: takes messages, puts them on the socket as SendQueue decides.
//
//     auto sender = Sender::Adopt(workspace, std::move(pair->send_end), {.profile = profile});
//     Buffer buffer = PlainBuffer(text);
//     (*sender)->Write({.type = 27, .stream = 1, .chain = {&buffer, 1}});
//
//   shapes    Outgoing: one message; buffers and descriptors stay the caller's until the
//             write is accepted, buffers then until they complete. Delays in milliseconds
//   returns   Write: accepted, or why not, and then nothing has changed. A message that
//             was accepted and fails is told by its completions, which are handed out by
//             TakeCompletions and never run from inside (CMP-4).
//             wants_writable(): call OnWritable when the socket can be written;
//             retry_ms(): call OnRetry after so long. Between them nothing stands still
//             (SND-7); an edge-triggered loop may watch for writability all the time.
//             A write refused for want of a descriptor's copy may leave the first wanted
//   holds     the socket; the descriptors it owns; what SND-12 allows. A child that was
//             forked cannot use it: writes are refused there, and it adopts anew (PRT-1).
//             Not for several threads: see shared_sender.h
//   rules     SND-1 ... SND-12, CMP-1 ... CMP-6, SHM-6, SHM-10, PRT-1, PRT-2
//   source    nxt_port_write_enable, nxt_port_socket_write
#ifndef PORTPROOF_PORT_SENDER_H_
#define PORTPROOF_PORT_SENDER_H_

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "port/owned_fd.h"
#include "port/segment.h"
#include "port/socket_pair.h"
#include "port/workspace.h"
#include "protocol/control.h"
#include "protocol/send_queue.h"

namespace portproof {

struct SenderOptions {
  const Profile* profile = nullptr;  // never null
  PortSizes sizes = {};              // in force, as SocketPair says
  int32_t pid = 0;                   // in headers; 0: this process's number (HDR-6)
  uint16_t port_id = 0;              // of the destination, for its segments (section 6)
  bool takes_fragments = true;       // FRG-10
  uint32_t messages_max = 4096;      // SND-12
  uint64_t bytes_max = 64 << 20;
  uint32_t fds_max = 256;
};

struct Outgoing {
  uint8_t type = 0;
  uint32_t stream = 0;
  uint16_t reply_port = 0;
  bool last = false;
  bool batch = false;      // waits for Flush, or for a write without it; asks for nothing
  bool close_fds = false;  // CLOSE_FD: if accepted, they are ours to close (SND-9)
  std::span<const int> fds = {};
  std::span<const Buffer> chain = {};
  uint64_t id = 0;  // comes back in completions
  uint32_t writer = 0;
  // A slot of an announced segment, for Segment::Cancel with that slot and stream (SHM-15).
  // Left out where byte 15 is no flag (HDR-5), for stream 0, and where the first datagram
  // goes plain: then there is nothing to cancel.
  std::optional<Tracking> tracking = {};
};

struct Completion {
  uint64_t message_id = 0;
  uint64_t buffer_id = 0;
  uint32_t writer = 0;
  bool has_buffer = false;  // false: of a message without buffers
  bool ok = false;

  friend bool operator==(const Completion&, const Completion&) = default;
};

// The bytes are the caller's, and stay where they are until the buffer completes.
// precondition: less than 4 GiB
inline Buffer PlainBuffer(std::span<const uint8_t> bytes, uint64_t id = 0) {
  assert(bytes.size() <= std::numeric_limits<uint32_t>::max());
  return {.address = reinterpret_cast<uint64_t>(bytes.data()),
          .id = id,
          .bytes = static_cast<uint32_t>(bytes.size())};
}
inline Buffer PlainBuffer(std::string_view text, uint64_t id = 0) {
  return PlainBuffer({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, id);
}
inline Buffer SyncBuffer(bool last, uint64_t id = 0) {
  return {.id = id, .kind = BufferKind::kSync, .last = last};
}

class Sender {
 public:
  // The workspace outlives the sender. Refused, the socket is closed.
  static absl::StatusOr<std::unique_ptr<Sender>> Adopt(Workspace& workspace, OwnedFd socket,
                                                       const SenderOptions& options);
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;
  ~Sender();  // closes; completions that nobody took are gone with it

  WriteAnswer Write(const Outgoing& message) {
    const WriteRequest request = RequestFor(message);
    return message.fds.empty() ? WriteBuffers(request) : WriteDescriptors(message, request);
  }
  // Tells the receiver of a segment whose chunks messages will name (SHM-10), once for
  // each id: kNoSegment where one of that id was announced before. It completes as a
  // message without buffers, of id 0. If it fails alone (SND-4), the segment was not
  // announced: what names it and is queued fails too, and it may be announced again.
  WriteAnswer Announce(const std::shared_ptr<Segment>& segment, bool batch = false,
                       uint32_t writer = 0);
  // The first `bytes` of a range of an announced segment, for a chain of this port.
  Buffer BufferIn(const Segment& segment, const ChunkRange& range, uint32_t bytes,
                  uint64_t buffer_id) const {
    return segment.BufferOf(range, bytes, buffer_id, port_id_);
  }
  void Flush();

  int fd() const { return socket_.get(); }
  bool wants_writable() const { return queue_.armed(); }
  std::optional<uint32_t> retry_ms() const { return retry_ms_; }
  void OnWritable();
  void OnRetry();
  void OnHangUp();  // the receive end is gone: fails the port (SND-4)
  void Close();     // fails what is queued, closes the socket; also from a handler

  // Appends what completed since the last call, in order.
  void TakeCompletions(std::vector<Completion>& completions);
  bool has_completions() const { return !completions_.empty(); }

  bool open() const;
  size_t queued_messages() const { return queue_.message_count(); }
  uint64_t queued_bytes() const { return queue_.queued_bytes(); }
  int last_error() const { return last_error_; }  // errno of what failed last, 0: none
  // The queue's own blocks, if it is empty, as an idle port needs none. OnWritable does it
  // when it finds nothing to send.
  void ReleaseMemory();

  // For a flusher that must not hold its lock over the system call (shared_sender.h).
  // Prepare: false where nothing can be sent now. Conclude: whether to go on. Between
  // them Write and nothing else.
  bool Prepare(Workspace& workspace);
  bool Conclude(Workspace& workspace, const SendResult& result);
  // As Write, but the caller flushes. What has descriptors is a batch, so that they are
  // copied.
  WriteAnswer Enqueue(const Outgoing& message);
  void AcceptEvents(bool retry_due);  // and the socket may be writable
  bool CanFlush() const { return !queue_.waiting() && !queue_.empty(); }
  Segment* FindSegment(uint32_t id) const;

 private:
  struct Descriptor {
    int fd = -1;
    bool owned = false;
    std::optional<uint32_t> announces = {};  // the id of its segment
  };

  Sender(Workspace& workspace, OwnedFd socket, const SenderOptions& options, int32_t pid);
  // All but the descriptors.
  WriteRequest RequestFor(const Outgoing& message) const {
    WriteRequest request = {.stream = message.stream,
                            .reply_port = message.reply_port,
                            .type = message.type,
                            .last = message.last,
                            .batch = message.batch,
                            .close_fds = message.close_fds,
                            .writer = message.writer,
                            .message_id = message.id,
                            .chain = message.chain};
    if (message.tracking && profile_->byte15 == Byte15::kTracking) {
      request.tracking = message.tracking;
    }
    return request;
  }
  WriteAnswer WriteBuffers(const WriteRequest& request);
  WriteAnswer WriteDescriptors(const Outgoing& message, WriteRequest request);
  WriteResult Put(const WriteRequest& request);
  WriteResult PutDescriptors(const Outgoing& message, WriteRequest& request);
  WriteAnswer SettleBorrowed(const WriteRequest& request);
  WriteAnswer Withdraw(const WriteRequest& request);
  ABSL_ATTRIBUTE_NOINLINE bool SegmentsKnown(std::span<const Buffer> chain) const;
  ABSL_ATTRIBUTE_NOINLINE bool CanTrack(const Tracking& tracking) const;
  void HandOver(const SendPlan& plan, size_t from, bool over);
  void FailFirst(const PlannedDatagram& datagram);
  void Perform();
  ABSL_ATTRIBUTE_NOINLINE void PerformRare(const SendAction& action);
  bool Duplicate(Descriptor& descriptor);
  FdSlot TakeSlot(Descriptor descriptor);
  void FreeSlot(FdSlot slot);
  void CloseSlot(FdSlot slot);

  Workspace* workspace_;
  OwnedFd socket_;
  const Profile* profile_;
  std::array<HandledTypes, 3> needs_others_;  // types that go with other than 0, 1, 2 fds
  uint16_t port_id_;
  uint32_t generation_;
  SendQueue queue_;
  SendActions actions_;
  std::vector<Descriptor> descriptors_;  // by slot
  std::vector<FdSlot> free_slots_;
  std::vector<Completion> completions_;
  absl::flat_hash_map<uint32_t, std::shared_ptr<Segment>> segments_;
  std::optional<uint32_t> retry_ms_;
  int last_error_ = 0;
  bool duplicate_failed_ = false;
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_SENDER_H_
