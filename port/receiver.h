// The receive end of a port: reads datagrams, hands whole messages to a handler.
//
//     auto receiver = Receiver::Adopt(workspace, std::move(pair->receive_end),
//                                     {.profile = profile}, [](Message& message) { ... });
//     (*receiver)->Turn();   // whenever the socket is readable
//
//   shapes    Message: what the handler gets (see incoming.h). Sizes in bytes
//   returns   Turn: kWait: the socket is empty, wait for the next event; kCallAgain: there
//             may be more, call again without an event; kRetry: call again after about 1 ms,
//             without an event; kEnd: the receive end is over and closed. A refused datagram
//             is counted and told to the observer; it changes nothing else but what its rule
//             says (RCV-5)
//   holds     the socket, and what is unfinished: at most ReceiveBytesMax(limits). Between
//             turns it holds no buffer of the workspace. A forked child cannot use it, and
//             adopts the socket again (PRT-1). One thread uses it
//   rules     those of protocol/receive_machine.h, which decides; RCV-3, FDS-3, FDS-5, SOC-4,
//             PRT-1, PRT-2
//   source    nxt_port_read_enable, nxt_port_read_handler, nxt_port_queue_read_handler
//
// A handler may write, take turns of other workspaces, close this receiver, or destroy it. An
// observer and ask_segment may only write. When an announcement comes, the messages that were
// held for it go to the handlers of their own receivers, within this turn. Announcements
// themselves go to no handler.
#ifndef PORTPROOF_PORT_RECEIVER_H_
#define PORTPROOF_PORT_RECEIVER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "port/buffer_pool.h"
#include "port/incoming.h"
#include "port/owned_fd.h"
#include "port/receiving_process.h"
#include "port/socket_pair.h"
#include "port/workspace.h"
#include "protocol/receive_machine.h"

namespace portproof {

struct Refusal {
  Rule rule = Rule::kRcv1;
  std::optional<Header> header;  // none where there were not 16 bytes
  int32_t sender = 0;
  bool accepted = false;  // only reported: HDR-7, FRG-6, FRG-7
};

struct ReceiverOptions {
  const Profile* profile = nullptr;  // never null
  PortSizes sizes = {};
  int32_t pid = 0;  // SHM-8: the receiver that unit-seed segments name; 0: this process
  HandledTypes handled = HandledTypes::All();  // mmap among them, if segments may come
  ReassemblyLimits limits = {};
  bool takes_fragments = true;              // FRG-10
  uint32_t reads_per_turn = kReadsPerTurn;  // RCV-4, at least 1
  // A remove_pid message discards what its process left unfinished (FRG-9); it is
  // delivered all the same.
  bool obeys_remove_pid = true;
  // What the ports of this process share, such as segments. Null: this port shares nothing.
  std::shared_ptr<ReceivingProcess> process = nullptr;
  std::function<void(const Refusal&)> observer = nullptr;
  // From 1.19: a message names an unknown segment; send get_mmap to its sender (SHM-10).
  std::function<void(int32_t sender, uint32_t segment_id)> ask_segment = nullptr;
};

class Receiver {
 public:
  using Handler = std::function<void(Message&)>;

  // The workspace outlives the receiver. A refused socket is closed.
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
  uint64_t refusals() const {
    return std::accumulate(refusals_.begin(), refusals_.end(), uint64_t{0});
  }
  size_t open_assemblies() const { return machine().assemblies(port_).open(); }
  uint64_t held_bytes() const { return machine().assemblies(port_).budget().bytes(); }
  size_t held_messages() const { return machine().held(port_).count(); }
  uint64_t cancelled() const { return cancelled_; }  // messages that were taken back (SHM-14)
  int last_error() const { return last_error_; }     // errno that ended it, 0: none
  const ReceiverOptions& options() const { return options_; }

 private:
  // Payload and descriptors of an open assembly.
  struct Unfinished {
    Payload payload;
    Fds fds;
  };

  Receiver(Workspace& workspace, OwnedFd socket, ReceiverOptions options, Handler handler,
           bool seqpacket);
  ReceiveMachine& machine() const { return options_.process->machine(); }
  const SegmentView& view() const { return options_.process->view(); }
  // False in a forked child as well: a handler that forked may return in both (PRT-1).
  bool Usable() const { return open() && !options_.process->forked(); }

  Next RunTurn(const bool& destroyed);
  CallReturned Read(unsigned count, const bool& destroyed);
  void Present(unsigned index, Incoming& incoming);
  static void GoOn(ReceivingProcess& process);
  void GoOnOwn();

  void Perform(const ReceiveActions& actions, Incoming& incoming);
  template <typename Event>
  void Run(const Event& event, Incoming& incoming);
  bool PerformOne(const ReceiveAction& action, Incoming& incoming);
  void Deliver(Use use, Incoming& incoming);
  void Append(const ReceiveAction& action, Incoming& incoming);
  Unfinished& UnfinishedOf(uint32_t slot);
  void ShrinkIfIdle();
  void Tell(Rule rule, const Incoming& incoming, bool accepted);

  Workspace& workspace_;
  OwnedFd socket_;
  ReceiverOptions options_;
  std::unique_ptr<Handler> handler_;
  bool seqpacket_;
  uint32_t port_;  // in the machine
  std::vector<Unfinished> unfinished_;
  std::vector<std::unique_ptr<Incoming>> kept_;
  std::array<uint64_t, kRuleCount> refusals_ = {};
  uint64_t cancelled_ = 0;
  int last_error_ = 0;
  bool* destroyed_ = nullptr;  // of the turn that is going on
  bool reading_ = false;       // the workspace's batch is ours
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_RECEIVER_H_
