// What the receive ends of one process share: their machine, and the segments that were
// announced to them.
//
//   shapes    a receiver is known by its port in the machine. Senders are process ids as
//             HDR-7 has them
//   returns   Describe: the facts of an announcement. Map, Take: whether it was done. Lend:
//             the chunks of a holding as a part, which releases them when it is destroyed
//   holds     one mapping for each segment, no descriptor. A segment whose chunks are in
//             parts stays mapped whoever dies (SHM-13). The process object lives as long as
//             one of its receivers or parts
//   rules     SHM-6, SHM-8, SHM-9, SHM-13, SHM-14, PRT-1: a child that was forked frees
//             nothing
//   source    nxt_process_t's incoming mmaps, nxt_port_incoming_port_mmap
#ifndef PORTPROOF_PORT_RECEIVING_PROCESS_H_
#define PORTPROOF_PORT_RECEIVING_PROCESS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "port/buffer_pool.h"
#include "port/datagram_io.h"
#include "port/kernel.h"
#include "port/mapping.h"
#include "port/process.h"
#include "port/segment_guard.h"
#include "protocol/receive_machine.h"

namespace portproof {

class Receiver;

// One thread uses it and the parts it lends. A config for unit-seed names the process (SHM-8).
// A child that was forked makes a ReceivingProcess of its own.
class ReceivingProcess final : public std::enable_shared_from_this<ReceivingProcess>,
                               private SegmentView {
 public:
  // The guard counts where the application has installed it (SegmentGuard::Install).
  static std::shared_ptr<ReceivingProcess> Create(const SegmentConfig& config,
                                                  Kernel& kernel = Kernel::Real());

  ReceiveMachine& machine() { return machine_; }
  const SegmentView& view() const { return *this; }
  bool forked() const { return generation_ != ForkGeneration(); }

  uint32_t Add(Receiver& receiver, const ReceivePortConfig& config);
  void Remove(uint32_t port);
  Receiver& ReceiverOf(uint32_t port) const { return *receivers_[port]; }
  // A held datagram goes on (kGoOn), and no receiver has seen to it yet.
  bool goes_on() const { return goes_on_; }
  void SetGoesOn(bool goes_on) { goes_on_ = goes_on; }

  Announcement Describe(int32_t sender, const Fds& fds) const;
  bool Map(const ReceiveAction& action, int fd);
  bool Take(const ReceiveAction& action) const;
  void Perform(const ReceiveAction& action);  // kFree and kUnmap; ignores all others
  Part Lend(const Holding& holding);
  // A page of its segment was dead: the bytes may be zeros (SHM-8).
  bool Damaged(const Holding& holding) const { return Poisoned(holding.slot); }

 private:
  class Lent;
  // A watch ends before its range is unmapped: members go in reverse order.
  struct Mapped {
    Mapping mapping;
    std::optional<SegmentGuard::Watch> watch;
  };

  ReceivingProcess(const SegmentConfig& config, Kernel& kernel)
      : kernel_(kernel), machine_(config), generation_(ForkGeneration()) {}
  bool AllBusy(uint32_t slot, uint32_t first_chunk, uint32_t chunk_count) const override;
  bool Poisoned(uint32_t slot) const override;
  void Free(const Holding& holding) const;
  std::span<uint8_t> Memory(const Holding& holding) const;
  AtomicWords WordsOf(uint32_t slot) const;
  const SegmentConfig& config() const { return machine_.segments().config(); }

  Kernel& kernel_;
  ReceiveMachine machine_;
  std::vector<Receiver*> receivers_;  // by port
  std::vector<Mapped> mapped_;        // by slot of the segment
  ReceiveActions releasing_;          // of a part that goes
  uint32_t generation_;
  bool goes_on_ = false;
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_RECEIVING_PROCESS_H_
