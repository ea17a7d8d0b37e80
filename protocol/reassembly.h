// Datagrams in, messages and refusals out: section 5 as a machine.
//
//   nf  mf  open  action
//   0   0   no    deliver
//   0   0   yes   deliver; the sender broke FRG-6
//   0   1   no    open
//   0   1   yes   refuse FRG-1
//   1   1   yes   append
//   1   0   yes   finish: append and deliver
//   1   any no    refuse FRG-2
//
//   shapes    Reassembly: the state of one port; an event is an admitted Datagram
//             (see control.h), a Refused one, a SenderDied or a Closed. Sizes in
//             bytes of payload, the 16 of the header not counted. A slot is a small
//             number for an open assembly; the shell keeps that assembly's
//             descriptors, chunks and chain of buffers under it.
//   returns   Step clears and fills `actions`, in the order to perform them. A
//             refused datagram changes nothing, but that FRG-3, FRG-8, RCV-1 and a
//             bad reference discard the open assembly of its key (RCV-5).
//   holds     a table entry of 32 bytes for each open assembly, and the port's Budget,
//             which HeldMessages charges too. No payload, no descriptor. In the steady
//             state nothing is allocated. MemoryBytesMax states FRG-8's function.
//   rules     FRG-1 ... FRG-10, RCV-1, RCV-2, RCV-3, RCV-5, SHM-14
//   source    nxt_port_read_msg_process and its table of fragmented streams; the
//             original trusts its peers, takes `last` from the first fragment, keys
//             by stream alone up to 1.8.0, walks the whole chain for each fragment
//             and bounds nothing
#ifndef PORTPROOF_PROTOCOL_REASSEMBLY_H_
#define PORTPROOF_PROTOCOL_REASSEMBLY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/budget.h"
#include "protocol/header.h"
#include "protocol/probe_table.h"
#include "protocol/profile.h"
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

// The configuration of a port of that profile with the default limits.
ReassemblyConfig ConfigFor(const Profile& profile, uint32_t max_size);

// A datagram that passed Admit and whose references, if any, are good.
struct Datagram {
  Header header;
  int32_t sender = 0;  // HDR-7
  uint32_t payload_bytes = 0;
};

// A datagram that some check before the table refused, its header readable.
struct Refused {
  uint32_t stream = 0;
  int32_t sender = 0;
  Rule rule = Rule::kRcv1;
};

struct SenderDied {  // remove_pid, hang-up, or the owner's word (FRG-9)
  int32_t sender = 0;
};

struct Closed {};  // the receive end is over (FRG-9)

// SHM-14: the message that the key's open assembly has just begun was taken back.
struct Cancelled {
  uint32_t stream = 0;
  int32_t sender = 0;
};

using ReassemblyEvent = std::variant<Datagram, Refused, SenderDied, Closed, Cancelled>;

// Where the payload of a fragment that stays goes, so that memory follows bytes.
enum class Storage : uint8_t {
  kNone,  // no payload (FRG-7), nothing is kept
  kKeep,  // the receive buffer itself joins the chain
  kTail,  // copied into the free room of the chain's last buffer
  kSlab,  // copied into a new buffer of slab_bytes
};

struct Action {
  enum class Kind : uint8_t {
    kDeliver,  // this datagram is a message: header, payload_bytes
    kOpen,     // `slot` begins with this datagram's descriptors and payload
    kAppend,   // this datagram's payload goes to `slot`
    kFinish,   // so does this one's; then `slot` is a message: header, payload_bytes,
               // fragments; the slot is free
    kRefuse,   // this datagram: its descriptors are closed, its chunks released
    kDiscard,  // `slot`: descriptors closed, chunks released; the slot is free
    kCancel,   // `slot`: the same, but the slot stays until the message's end
    kDrop,     // this datagram, of a cancelled message: chunks released, no refusal
  };

  Kind kind = Kind::kDeliver;
  Storage storage = Storage::kNone;  // kOpen, kAppend, kFinish
  std::optional<Rule> rule;          // kRefuse, kDiscard: why; else what the sender broke: accepted
  uint32_t slot = 0;
  uint32_t slab_bytes = 0;
  uint32_t fragments = 1;
  uint32_t payload_bytes = 0;  // kDeliver, kFinish: of the message; else of the datagram
  Header header;               // kDeliver, kFinish: nf = mf = 0, last = OR over all (FRG-4)

  friend bool operator==(const Action&, const Action&) = default;
};

using Actions = std::vector<Action>;

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
  // What the state itself occupies, unused capacity included.
  size_t MemoryBytes() const;
  // Makes room for `open` assemblies at once; without it the table grows as needed.
  void Reserve(size_t open);

  friend bool operator==(const Reassembly&, const Reassembly&) = default;
  friend std::optional<Rule> BrokenByMessage(const Reassembly& state, int32_t sender,
                                             uint32_t stream);
  friend void Step(Reassembly& state, const Datagram& datagram, Actions& actions);
  friend void Step(Reassembly& state, const Refused& refused, Actions& actions);
  friend void Step(Reassembly& state, const SenderDied& died, Actions& actions);
  friend void Step(Reassembly& state, const Closed& closed, Actions& actions);
  friend void Step(Reassembly& state, const Cancelled& cancelled, Actions& actions);
  friend std::string ToString(const Reassembly& state);
  friend uint64_t MemoryBytesMax(const ReassemblyLimits& limits);

 private:
  // Half a cache line.
  struct alignas(32) Entry {
    uint64_t key = 0;
    Assembly assembly;

    bool IsFree() const { return assembly.fragments == 0; }
    void SetFree() { assembly.fragments = 0; }
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  static_assert(sizeof(Entry) == 32);

  uint64_t KeyOf(int32_t sender, uint32_t stream) const {
    const uint64_t high = config_.key_has_sender ? static_cast<uint32_t>(sender) : 0;
    return high << 32 | stream;
  }
  // The sender whose limit an assembly counts in: the key's, or the opener's pid.
  int32_t OwnerOf(const Entry& entry) const {
    return config_.key_has_sender ? static_cast<int32_t>(entry.key >> 32) : entry.assembly.pid;
  }
  void StepFragment(const Datagram& datagram, Actions& actions);
  void Open(const Datagram& datagram, uint64_t key, Actions& actions);
  void Begin(const Datagram& datagram, Assembly& assembly);
  void Continue(const Datagram& datagram, Entry& entry, Actions& actions);
  void Place(uint32_t payload_bytes, uint32_t& room, Action& action) const;
  void Discard(Entry& entry, Rule rule, Actions& actions);
  template <typename Wanted>
  void DiscardAll(Wanted wanted, Actions& actions);
  void Erase(Entry& entry);

  ReassemblyConfig config_;
  ProbeTable<Entry> table_;
  Budget budget_;
  std::vector<uint32_t> free_slots_;  // below next_slot_, the next to use at the back
  uint32_t next_slot_ = 0;
};

// Same state, same event: same actions.
void Step(Reassembly& state, const Refused& refused, Actions& actions);
void Step(Reassembly& state, const SenderDied& died, Actions& actions);
void Step(Reassembly& state, const Closed& closed, Actions& actions);
// precondition: an assembly of that key is open, and was not cancelled
void Step(Reassembly& state, const Cancelled& cancelled, Actions& actions);
void Step(Reassembly& state, const ReassemblyEvent& event, Actions& actions);

// The commonest datagram by far is a message of its own, delivered whatever is open.
constexpr bool IsMessage(const Header& header) { return !header.nf && !header.mf; }
// What the sender of one broke, if anything: Step's answer without the action.
inline std::optional<Rule> BrokenByMessage(const Reassembly& state, int32_t sender,
                                           uint32_t stream) {
  if (state.table_.empty() || state.Find(sender, stream) == nullptr) return std::nullopt;
  return Rule::kFrg6;
}

inline void Step(Reassembly& state, const Datagram& datagram, Actions& actions) {
  actions.clear();
  if (!IsMessage(datagram.header)) {
    state.StepFragment(datagram, actions);
    return;
  }
  Action& action = actions.emplace_back();
  action.header = datagram.header;
  action.payload_bytes = datagram.payload_bytes;
  action.rule = BrokenByMessage(state, datagram.sender, datagram.header.stream);
}

// What a chain of fragments occupies in the shell that performs Storage, capacity
// included: each buffer its capacity, each stretch of one kind (plain, shared) in
// a buffer kChainEntryBytes.
inline constexpr uint32_t kSlabBytesMin = 64;
inline constexpr uint32_t kChainEntryBytes = 16;

// FRG-8: all memory a port's open assemblies can make a receiver hold, whatever the
// peers send: the state above and the chains. About 264 bytes for each assembly and 8
// for each byte of payload allowed; honest senders make it hold little more than 1.
uint64_t MemoryBytesMax(const ReassemblyLimits& limits);

std::string ToString(const Reassembly& state);
std::string ToString(const ReassemblyEvent& event);
std::string_view Name(Action::Kind kind);  // "deliver"
std::string ToString(const Action& action);
std::string ToString(const Actions& actions);

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_REASSEMBLY_H_
