// A receiver in memory that runs the core and performs its actions on real bytes:
// what the shell does, with strings for buffers and numbers for descriptors.
//   shapes    see wire.h; the core's own state can be looked at
//   returns   what the datagram, the death or the closing led to, in `outcome`;
//             aborts where the core's actions make no sense (a slot used twice)
//   holds     buffers as Storage says; MemoryBytes counts them, capacity included
//   rules     those of control, chunk and reassembly
//   source    none
#ifndef PORTPROOF_PROPS_CORE_RECEIVER_H_
#define PORTPROOF_PROPS_CORE_RECEIVER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "props/wire.h"
#include "protocol/chunk.h"
#include "protocol/control.h"
#include "protocol/reassembly.h"

namespace portproof {

class CoreReceiver {
 public:
  // The profile gives what the Port does not say; see ProfileOf.
  CoreReceiver(const Profile& profile, const Port& port);

  void Receive(const Wire& wire, Outcome& outcome);
  void SenderDied(int32_t sender, Outcome& outcome);
  void Close(Outcome& outcome);

  const Reassembly& state() const { return state_; }
  // The state and all chains, as MemoryBytesMax counts them (FRG-8).
  uint64_t MemoryBytes() const { return state_.MemoryBytes() + chain_bytes_; }
  const Actions& actions() const { return actions_; }

 private:
  // A chain of buffers, joined; of the buffers themselves only what FRG-8 counts.
  struct Slot {
    bool used = false;
    std::vector<int> fds;
    std::string payload;
    std::string kinds;
    uint32_t last_capacity = 0;  // of the newest buffer
    uint32_t last_bytes = 0;
    uint64_t memory_bytes = 0;  // buffers, and stretches of one kind in one buffer
  };

  bool ReferencesAreGood(std::string_view payload, bool tracking, Rule& rule);
  bool IsCancelled(std::string_view payload) const;
  void Cancel(const Header& header, int32_t sender, const Wire& wire, Outcome& outcome);
  void Perform(const Wire& wire, Outcome& outcome);
  void PerformOne(const Action& action, const Wire& wire, Outcome& outcome);
  void Store(const Action& action, const Wire& wire, Slot& slot);
  Slot& SlotOf(const Action& action, bool used);
  void Free(Slot& slot);

  Intake receiver_;
  bool has_tracking_;
  uint32_t buffer_bytes_;
  Reassembly state_;
  Actions actions_;
  std::vector<Reference> references_;
  std::vector<uint32_t> scratch_;
  std::vector<Slot> slots_;
  uint64_t chain_bytes_ = 0;
};

// The port that a profile describes, with tiny MAX: one fragment is a few bytes.
Port PortOf(const Profile& profile);

}  // namespace portproof

#endif  // PORTPROOF_PROPS_CORE_RECEIVER_H_
