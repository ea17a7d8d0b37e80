// The send end of a port: takes messages, puts them on the socket as SendMachine decides.
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
//   rules     those of protocol/send_machine.h, which decides; SND-8, SND-10, PRT-1, PRT-2
//   source    nxt_port_write_enable, nxt_port_socket_write
#ifndef PORTPROOF_PORT_SENDER_H_
#define PORTPROOF_PORT_SENDER_H_

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

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "port/owned_fd.h"
#include "port/process.h"
#include "port/segment.h"
#include "port/socket_pair.h"
#include "port/workspace.h"
#include "protocol/send_machine.h"

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
    const WriteAnswer answer = Enqueue(message);
    if (answer != WriteAnswer::kAccepted || !flush_wanted_) return answer;
    Flush();  // SND-1
    return answer_;
  }
  // Tells the receiver of a segment whose chunks messages will name (SHM-10), once for
  // each id: kNoSegment where one of that id was announced before. It completes as a
  // message without buffers, of id 0. If it fails alone (SND-4), the segment was not
  // announced: what names it and is queued fails too, and it may be announced again.
  WriteAnswer Announce(const std::shared_ptr<Segment>& segment, bool batch = false,
                       uint32_t writer = 0);
  // The receiver asked for a segment of that id with get_mmap, on that stream: the segment is
  // announced to it again, or it is told by rpc_error that there is none (SHM-10).
  WriteAnswer AnswerGetMmap(uint32_t segment_id, uint32_t stream);
  // The first `bytes` of a range of an announced segment, for a chain of this port.
  Buffer BufferIn(const Segment& segment, const ChunkRange& range, uint32_t bytes,
                  uint64_t buffer_id) const {
    return segment.BufferOf(range, bytes, buffer_id, port_id_);
  }
  void Flush();

  int fd() const { return socket_.get(); }
  bool wants_writable() const { return machine_.armed(); }
  std::optional<uint32_t> retry_ms() const { return retry_ms_; }
  void OnWritable();
  void OnRetry();
  void OnHangUp();  // the receive end is gone: fails the port (SND-4)
  void Close();     // fails what is queued, closes the socket; also from a handler

  // Appends what completed since the last call, in order.
  void TakeCompletions(std::vector<Completion>& completions);
  bool has_completions() const { return !completions_.empty(); }

  bool open() const { return machine_.open() && !forked(); }
  bool announced(uint32_t segment_id) const { return machine_.announced(segment_id); }
  size_t queued_messages() const { return machine_.message_count(); }
  uint64_t queued_bytes() const { return machine_.queued_bytes(); }
  int last_error() const { return last_error_; }  // errno of what failed last, 0: none
  // What an empty port keeps for later, as an idle one needs none. OnWritable does it when it
  // finds nothing to send.
  void ReleaseMemory();

  // For a flusher that must not hold its lock over the system call (shared_sender.h).
  // Prepare: false where nothing can be sent now. Conclude: whether to go on. Between
  // them Write and nothing else.
  bool Prepare(Workspace& workspace);
  bool Conclude(Workspace& workspace, const SendResult& result);
  // As Write, but the caller flushes. What has descriptors is a batch, so that they are
  // copied.
  WriteAnswer Enqueue(const Outgoing& message) {
    WriteRequest request = {.stream = message.stream,
                            .reply_port = message.reply_port,
                            .type = message.type,
                            .last = message.last,
                            .batch = message.batch,
                            .close_fds = message.close_fds,
                            .writer = message.writer,
                            .message_id = message.id,
                            .chain = message.chain};
    if (message.tracking) request.tracking = message.tracking;
    return Put(request, message.fds);
  }
  void AcceptEvents(bool retry_due);  // and the socket may be writable
  bool CanFlush() const { return !machine_.waiting() && !machine_.empty(); }

 private:
  Sender(Workspace& workspace, OwnedFd socket, const SenderOptions& options, int32_t pid);
  bool forked() const { return generation_ != ForkGeneration(); }

  template <typename Event>
  void Run(const Event& event) {
    Step(machine_, event, actions_);
    Perform();
  }
  template <typename Event>
  WriteAnswer Try(const Event& event);
  WriteAnswer Put(WriteRequest& request, std::span<const int> fds);
  void Perform();
  bool PerformOne(const SendAction& action);
  bool Duplicate(FdSlot slot);
  FdSlot TakeSlot(int fd);
  void FreeSlot(FdSlot slot);

  Workspace* workspace_;
  OwnedFd socket_;
  uint16_t port_id_;
  uint32_t generation_;
  SendMachine machine_;
  SendActions actions_;
  std::vector<int> descriptors_;  // by slot
  std::vector<FdSlot> free_slots_;
  std::vector<Completion> completions_;
  absl::flat_hash_map<uint32_t, std::shared_ptr<Segment>> segments_;  // announced, by id
  std::optional<uint32_t> retry_ms_;
  int last_error_ = 0;
  WriteAnswer answer_ = WriteAnswer::kAccepted;  // to the write that goes on
  bool flush_wanted_ = false;                    // so does its flush
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_SENDER_H_
