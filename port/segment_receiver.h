// The receiver's segments: announcements in, mapped memory out.
//
//   shapes    senders are process ids as HDR-7 has them; Holding: see segment_table.h
//   returns   Announce: the rule that is broken, or none; every descriptor is closed in
//             either case. Accept: as SegmentTable; on success each holding's bytes are
//             at Memory() until Release
//   holds     one mapping for each segment, no descriptor. A segment with holdings stays
//             mapped whoever dies (SHM-13); all others go with their sender, the holdings
//             themselves are to be released before this is destroyed
//   rules     SHM-2, SHM-6, SHM-8, SHM-9, SHM-13, SHM-14, FRG-9, FDS-5, RCV-2
//   source    nxt_port_incoming_port_mmap
#ifndef PORTPROOF_PORT_SEGMENT_RECEIVER_H_
#define PORTPROOF_PORT_SEGMENT_RECEIVER_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "port/kernel.h"
#include "port/mapping.h"
#include "port/owned_fd.h"
#include "port/segment_guard.h"
#include "protocol/segment_table.h"

namespace portproof {

class SegmentReceiver {
 public:
  // The guard counts where the application has installed it (SegmentGuard::Install).
  explicit SegmentReceiver(const SegmentConfig& config, Kernel& kernel = Kernel::Real())
      : kernel_(&kernel), table_(config) {}

  // An mmap message came, with these descriptors. `id`: of the segment, where it is good.
  std::optional<Rule> Announce(int32_t sender, std::vector<OwnedFd> fds, uint32_t* id = nullptr);
  std::optional<Rule> Accept(int32_t sender, std::span<const Reference> references,
                             std::vector<Holding>& holdings);
  // SHM-14: whether a word is where the tracking says; the slot of its segment.
  std::optional<Rule> JudgeTracking(int32_t sender, const Tracking& tracking, uint32_t& slot);
  // False: the message was cancelled. precondition: JudgeTracking, in this turn
  bool Take(uint32_t slot, const Tracking& tracking, uint32_t stream);
  // What the references named. It may change under the reader's eyes: copy, then check.
  std::span<const uint8_t> Memory(const Holding& holding) const;
  // A page of its segment was dead: the bytes may be zeros (SHM-8).
  bool Damaged(const Holding& holding) const;
  void Release(const Holding& holding);
  void SenderDied(int32_t sender);
  void Close();

  const SegmentTable& table() const { return table_; }

 private:
  // A watch ends before its range is unmapped: members go in reverse order.
  struct Mapped {
    Mapping mapping;
    std::optional<SegmentGuard::Watch> watch;

    bool poisoned() const { return watch && watch->poisoned(); }
  };

  AtomicWords WordsOf(uint32_t slot) const;
  void Unmap(uint32_t slot);
  void PoisonWhatDied(int32_t sender, std::span<const Reference> references);

  Kernel* kernel_;
  SegmentTable table_;
  std::vector<Mapped> mapped_;  // by slot
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_SEGMENT_RECEIVER_H_
