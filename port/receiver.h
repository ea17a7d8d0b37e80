// The receive end of a port: reads datagrams, hands whole messages to a handler.
//
//     auto receiver = Receiver::Adopt(workspace, std::move(pair->receive_end),
//                                     {.profile = profile}, [](Message& message) { ... });
//     (*receiver)->Turn();   // whenever the socket is readable
//
//   shapes    Message: what the handler gets; what it moves out of it is its own (buffers,
//             descriptors), the rest is taken back when it returns. Sizes in bytes
//   returns   Turn: kWait: the socket is empty, the next event tells; kCallAgain: there
//             may be more, no event will tell; kRetry: call again after a while (1 ms
//             does), no event will tell; kEnd: the receive end is over and closed. A
//             refused datagram is counted and told to the observer, and changes nothing
//             else but what its rule says (RCV-5)
//   holds     the socket; what is unfinished, at most ReceiverMemoryBytesMax(limits);
//             between turns no buffer of the loop's. A child that was forked cannot use
//             it, and adopts anew (PRT-1). Not for several threads
//   rules     HDR-1, HDR-4, HDR-7, HDR-8, FRG-1 ... FRG-9, RCV-1 ... RCV-7, SHM-1, SHM-2,
//             SHM-8 ... SHM-10, SHM-13, SHM-14, FDS-1 ... FDS-7, SOC-4, PRT-1, PRT-2
//   source    nxt_port_read_enable, nxt_port_read_handler, nxt_port_queue_read_handler
//
// A handler may write, take turns of other workspaces, close this receiver, or destroy it;
// an observer, and ask_segment, may write only. What an announcement lets go on is handed
// to its own receiver's handler within this turn. Announcements are never handed to one.
#ifndef PORTPROOF_PORT_RECEIVER_H_
#define PORTPROOF_PORT_RECEIVER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/status/statusor.h"
#include "port/buffer_pool.h"
#include "port/owned_fd.h"
#include "port/process.h"
#include "port/process_segments.h"
#include "port/socket_pair.h"
#include "port/workspace.h"
#include "protocol/control.h"
#include "protocol/held_messages.h"
#include "protocol/reassembly.h"
#include "protocol/turn.h"

namespace portproof {

struct Message {
  Header header;       // nf = mf = 0, last = OR over the fragments (FRG-4)
  int32_t sender = 0;  // HDR-7
  Payload payload;
  Fds fds;

  uint64_t bytes() const { return BytesOf(payload); }
};

struct Refusal {
  Rule rule = Rule::kRcv1;
  std::optional<Header> header;  // none where there were not 16 bytes
  int32_t sender = 0;
  bool accepted = false;  // only reported: HDR-7, FRG-6, FRG-7
};

struct ReceiverOptions {
  const Profile* profile = nullptr;  // never null
  PortSizes sizes = {};
  int32_t pid = 0;  // that segments of unit-seed name; 0: this process's number (SHM-8)
  HandledTypes handled = HandledTypes::All();  // mmap among them, if segments may come
  ReassemblyLimits limits = {};
  bool takes_fragments = true;              // FRG-10
  uint32_t reads_per_turn = kReadsPerTurn;  // RCV-4, at least 1
  // A remove_pid message discards what its process left unfinished (FRG-9); it is
  // delivered all the same.
  bool obeys_remove_pid = true;
  // The process's segments; none: the port has its own.
  std::shared_ptr<ProcessSegments> segments = nullptr;
  std::function<void(const Refusal&)> observer = nullptr;
  // From 1.19: a message names an unknown segment; send get_mmap to its sender (SHM-10).
  std::function<void(int32_t sender, uint32_t segment_id)> ask_segment = nullptr;
};

class Receiver {
 public:
  using Handler = std::function<void(Message&)>;

  // The workspace outlives the receiver. Refused, the socket is closed.
  static absl::StatusOr<std::unique_ptr<Receiver>> Adopt(Workspace& workspace, OwnedFd socket,
                                                         ReceiverOptions options, Handler handler);
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;
  ~Receiver();

  int fd() const { return socket_.get(); }
  bool open() const { return socket_.valid(); }
  Next Turn();
  // The owner's word (FRG-9). As remove_pid does, it discards what is unfinished on this
  // port, and unmaps the sender's segments for the whole process.
  void SenderDied(int32_t sender);
  void Close();  // discards what is unfinished (FRG-9)

  uint64_t refusals(Rule rule) const { return refusals_[static_cast<size_t>(rule)]; }
  uint64_t refusals() const;
  size_t open_assemblies() const { return reassembly_.open(); }
  uint64_t held_bytes() const { return reassembly_.budget().bytes(); }
  size_t held_messages() const { return held_.count(); }
  uint64_t cancelled() const { return cancelled_; }  // messages that were taken back (SHM-14)
  int last_error() const { return last_error_; }     // errno that ended it, 0: none
  const ReceiverOptions& options() const { return options_; }

 private:
  // What is unfinished, by slot of the reassembly.
  struct Unfinished {
    Payload payload;
    Fds fds;
  };
  // A datagram, which may be a message of its own. Its bytes are in the batch, or its own.
  struct Incoming : Message {
    uint32_t payload_bytes = 0;
    unsigned index = 0;  // in the batch
    bool in_batch = true;
    bool resumed = false;  // it was held before
    // SHM-14: whose word is to be taken, and of which segment.
    std::optional<std::pair<uint32_t, Tracking>> tracked;
    Part part;  // not in the batch
  };

  Receiver(Workspace& workspace, OwnedFd socket, ReceiverOptions options, Handler handler,
           bool seqpacket);
  // Not in a child either, to which a handler may return that forked (PRT-1).
  bool Usable() const { return open() && generation_ == ForkGeneration(); }
  void ShrinkIfIdle();
  unsigned DatagramsOfNextCall();
  ABSL_ATTRIBUTE_NOINLINE void AskForRoom();
  void Read(struct Turn& turn, Next& next, const bool& destroyed);
  bool IsEnd(unsigned index, unsigned count, size_t fds);
  void OnDatagram(const Received& received, Incoming& incoming);
  void RefuseReceived(Rule rule, bool truncated, bool has_header, Incoming& incoming);
  ABSL_ATTRIBUTE_ALWAYS_INLINE void OnAdmitted(Incoming& incoming);
  void GoOn(Incoming& incoming);  // one that was held

  bool HasReferences(const Header& header) const {
    return header.mmap && header.type != read_queue_type_;  // SHM-1
  }
  bool TakeReferences(Incoming& incoming);
  std::optional<Rule> JudgeTracking(Incoming& incoming);
  bool IsCancelled(Incoming& incoming);
  void OnFragment(Incoming& incoming);
  // Never held: what is may wait for it (SHM-10).
  bool IsAnnouncement(const Header& header) const {
    return header.type == mmap_type_ && IsMessage(header);
  }
  bool DecodeList(const Header& header, std::span<const uint8_t> payload);
  void ReleaseRest();
  void ReleaseNamed(const Header& header, int32_t sender, std::span<const uint8_t> payload);
  void ReleaseHoldings();

  bool Hold(Incoming& incoming);
  Part KeepPayload(Incoming& incoming);
  void DiscardHeld(const std::vector<uint32_t>& slots);
  static void Resume(ProcessSegments& segments);
  void ResumeOwn();
  void ResumeAll(const bool& destroyed);
  void AddResumable(const std::vector<uint32_t>& slots);
  void OnAnnouncement(Message& message);
  void OnRemovePid(const Message& message);

  std::span<const uint8_t> PayloadOf(const Incoming& incoming) const {
    if (!incoming.in_batch) return incoming.part.bytes();
    return workspace_.receive_batch.BytesOf(incoming.index).subspan(kHeaderBytes);
  }
  Part TakePart(Incoming& incoming) {
    if (!incoming.in_batch) return std::move(incoming.part);
    return workspace_.receive_batch.TakeBuffer(incoming.index, kHeaderBytes,
                                               incoming.payload_bytes);
  }
  void Perform(Incoming& incoming);
  void Open(Incoming& incoming, const Action& action);
  void Finish(Incoming& incoming, const Action& action);
  ABSL_ATTRIBUTE_ALWAYS_INLINE void DeliverAlone(Incoming& incoming);
  void Deliver(Message& message) {
    if (attended_.Has(message.header.type) && Attend(message)) return;
    (*handler_)(message);
  }
  bool Attend(Message& message);
  void LendHoldings(Payload& payload);
  void AppendTo(Payload& payload, Incoming& incoming, const Action& action);
  void Copy(Payload& payload, Incoming& incoming, const Action& action);
  void Discard(uint32_t slot);

  void Refuse(Rule rule, const std::optional<Header>& header, int32_t sender, bool accepted);
  void RefuseAndDiscard(Rule rule, const std::optional<Header>& header, int32_t sender,
                        bool resumed);
  void ReportPid(const Header& header, int32_t sender);

  Workspace& workspace_;
  OwnedFd socket_;
  ReceiverOptions options_;
  std::unique_ptr<Handler> handler_;
  uint32_t generation_;
  bool seqpacket_;
  std::optional<uint8_t> mmap_type_;
  std::optional<uint8_t> read_queue_type_;
  std::optional<uint8_t> remove_pid_type_;
  Intake intake_;
  HandledTypes attended_ = HandledTypes::None();  // the receiver itself acts on them
  Caution caution_;
  Reassembly reassembly_;
  HeldMessages held_;
  std::vector<Unfinished> unfinished_;
  std::vector<std::unique_ptr<Incoming>> held_incoming_;  // by slot of held_
  std::vector<uint32_t> resumable_;
  std::array<uint64_t, kRuleCount> refusals_ = {};
  std::array<std::pair<int32_t, int32_t>, 16> reported_ = {};  // header's pid, sender
  size_t reported_next_ = 0;
  uint64_t cancelled_ = 0;
  int last_error_ = 0;
  bool* destroyed_ = nullptr;  // of the turn that is going on
  bool reading_ = false;       // the workspace's batch is ours
};

// What unfinished messages can make a receiver hold, whatever its peers send (FRG-8): the
// state machine's own bound for plain ones, and three times that where fragments in
// shared memory, of 12 bytes each, alternate with plain ones of one byte. About 28 times
// limits.bytes: 1.75 GiB by default.
uint64_t ReceiverMemoryBytesMax(const ReassemblyLimits& limits);

}  // namespace portproof

#endif  // PORTPROOF_PORT_RECEIVER_H_
