// The open assemblies of a port: messages that have begun and are not whole yet. It carries out
// what section "Receiving" of the rules says of fragments. The receive machine gives it each
// datagram that passed all other checks.
//
//   nf  mf  open  actions
//   0   0   no    deliver
//   0   0   yes   deliver; the sender broke FRG-6
//   0   1   no    open
//   0   1   yes   refuse FRG-1
//   1   1   yes   append
//   1   0   yes   finish: append and deliver
//   1   any no    refuse FRG-2
//
//   shapes    sizes in bytes of payload, the 16 of the header not counted. A slot is a small
//             number for an open assembly; the shell keeps that assembly's descriptors,
//             chunks and chain of buffers under it
//   returns   each call appends its actions, in the order to perform them. A refused datagram
//             changes nothing, but that FRG-3 and FRG-8 discard the open assembly of its key
//   holds     a table entry of 32 bytes for each open assembly, and the port's Budget, which
//             HeldMessages charges too. No payload, no descriptor. In the steady state
//             nothing is allocated. MemoryBytesMax states FRG-8's function
//   rules     FRG-1, FRG-2, FRG-3, FRG-4, FRG-6, FRG-7, FRG-8, FRG-9, FRG-10, SHM-14
//   source    nxt_port_read_msg_process and its table of fragmented streams; the
//             original trusts its peers, takes `last` from the first fragment, keys
//             by stream alone up to 1.8.0, walks the whole chain for each fragment
//             and bounds nothing
#ifndef PORTPROOF_PROTOCOL_REASSEMBLY_H_
#define PORTPROOF_PROTOCOL_REASSEMBLY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "protocol/budget.h"
#include "protocol/header.h"
#include "protocol/receive_action.h"
#include "protocol/rule.h"

namespace portproof {

// What does not change while a port lives.
struct ReassemblyConfig {
  bool key_has_sender = true;     // else keyed by stream alone (0.2 - 1.8.0)
  bool takes_fragments = true;    // FRG-10
  uint32_t buffer_bytes = 16400;  // of a receive buffer: MAX + 16
  ReassemblyLimits limits;

  friend bool operator==(const ReassemblyConfig&, const ReassemblyConfig&) = default;
};

// A datagram that passed all checks before the assembly table.
struct Datagram {
  Header header;
  int32_t sender = 0;  // HDR-7
  uint32_t payload_bytes = 0;

  friend bool operator==(const Datagram&, const Datagram&) = default;
};

// What is known of an open message.
struct Assembly {
  int32_t pid = 0;
  uint16_t reply_port = 0;
  uint8_t type = 0;
  bool last : 1 = false;  // the OR so far
  bool mmap : 1 = false;  // of the first fragment
  bool cancelled : 1 = false;
  uint32_t slot = 0;
  uint32_t bytes = 0;
  uint32_t fragments = 0;  // at least 1; 2^32 - 1 means so many or more
  uint32_t room = 0;       // free bytes in the chain's last buffer

  friend bool operator==(const Assembly&, const Assembly&) = default;
};

class Reassembly {
 public:
  explicit Reassembly(const ReassemblyConfig& config);

  const ReassemblyConfig& config() const { return config_; }
  size_t open() const { return table_.size(); }
  // What FRG-8 counts: the open assemblies, and what HeldMessages charged.
  Budget& budget() { return budget_; }
  const Budget& budget() const { return budget_; }
  const Assembly* Find(int32_t sender, uint32_t stream) const;  // null where none is open
  // Bytes of memory of the state itself, unused capacity included.
  size_t MemoryBytes() const;

  void Take(const Datagram& datagram, ReceiveActions& actions);
  // A datagram of that key was refused by a rule that discards (RCV-5).
  void Discard(int32_t sender, uint32_t stream, Rule rule, ReceiveActions& actions);
  // SHM-14: its sender cancelled the message that has just opened the key's assembly.
  void Cancel(int32_t sender, uint32_t stream, ReceiveActions& actions);
  void SenderDied(int32_t sender, ReceiveActions& actions);
  void Close(ReceiveActions& actions);
  // Frees unused memory. precondition: nothing is open or charged
  void ReleaseMemory() { *this = Reassembly(ReassemblyConfig(config_)); }

  friend bool operator==(const Reassembly&, const Reassembly&) = default;
  friend std::string ToString(const Reassembly& state);
  friend uint64_t MemoryBytesMax(const ReassemblyLimits& limits);

 private:
  using Table = absl::flat_hash_map<uint64_t, Assembly>;
  // An entry and a byte of control.
  static constexpr size_t kPlaceBytes = sizeof(Table::value_type) + 1;

  uint64_t KeyOf(int32_t sender, uint32_t stream) const {
    const uint64_t high = config_.key_has_sender ? static_cast<uint32_t>(sender) : 0;
    return high << 32 | stream;
  }
  // The sender whose limit an assembly counts in: the key's, or the opener's pid.
  int32_t OwnerOf(uint64_t key, const Assembly& assembly) const {
    return config_.key_has_sender ? static_cast<int32_t>(key >> 32) : assembly.pid;
  }
  void Open(const Datagram& datagram, uint64_t key, ReceiveActions& actions);
  Assembly Begin(const Datagram& datagram);
  void Continue(const Datagram& datagram, Table::iterator entry, ReceiveActions& actions);
  void Place(uint32_t payload_bytes, uint32_t& room, ReceiveAction& action) const;
  void DiscardEntry(Table::iterator entry, Rule rule, ReceiveActions& actions);
  template <typename Wanted>
  void DiscardAll(Wanted wanted, ReceiveActions& actions);
  void Erase(Table::iterator entry);

  ReassemblyConfig config_;
  Table table_;
  Budget budget_;
  std::vector<uint32_t> free_slots_;  // below next_slot_, the next to use at the back
  uint32_t next_slot_ = 0;
};

constexpr bool IsMessage(const Header& header) { return !header.nf && !header.mf; }

// What a chain of fragments occupies in the shell that performs Storage, capacity
// included: each buffer its capacity, each stretch of one kind (plain, shared) in
// a buffer kChainEntryBytes.
inline constexpr uint32_t kSlabBytesMin = 64;
inline constexpr uint32_t kChainEntryBytes = 16;

// FRG-8: all memory a port's open assemblies can make a receiver hold, whatever the
// peers send: the state above and the chains. About 336 bytes for each assembly and 8
// for each byte of payload allowed; honest senders make it hold little more than 1.
uint64_t MemoryBytesMax(const ReassemblyLimits& limits);

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_REASSEMBLY_H_
