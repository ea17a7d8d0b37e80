// The receive machine: everything that a process decides about what arrives on its ports.
//
//     Step(machine, event, ...) -> actions, in the order to perform them
//
//   shapes    one value for the ports of a process, since they share the segments that were
//             announced to it; a port is a small number, from AddPort to RemovePort. Events
//             are facts: what a call of the kernel returned, what a datagram is made of.
//             `view` tells what the segments' memory says now
//   returns   Step clears `actions` and fills it. Same state, same event, same view: same
//             actions. A refused datagram changes nothing but what its rule says (RCV-5)
//   holds     what is unfinished, within FRG-8's limits for each port; no payload, no
//             descriptor, no mapping. In the steady state nothing is allocated
//   rules     HDR-1, HDR-4, HDR-7, HDR-8, FDS-1, FDS-2, FDS-4, FDS-5, FDS-7, RCV-1, RCV-2,
//             RCV-4, RCV-5, RCV-6, RCV-7, FRG-1, FRG-2, FRG-3, FRG-4, FRG-6, FRG-7, FRG-8,
//             FRG-9, FRG-10, SHM-1, SHM-2, SHM-6, SHM-8, SHM-10, SHM-13, SHM-14
//   source    nxt_port_read_handler, nxt_port_read_msg_process, nxt_unit_process_msg
#ifndef PORTPROOF_PROTOCOL_RECEIVE_MACHINE_H_
#define PORTPROOF_PROTOCOL_RECEIVE_MACHINE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "protocol/budget.h"
#include "protocol/chunk.h"
#include "protocol/control.h"
#include "protocol/header.h"
#include "protocol/held_messages.h"
#include "protocol/profile.h"
#include "protocol/reassembly.h"
#include "protocol/receive_action.h"
#include "protocol/segment_table.h"
#include "protocol/turn.h"

namespace portproof {

// What does not change while a port lives.
struct ReceivePortConfig {
  const Profile* profile = nullptr;  // never null
  uint32_t max_size = 16384;         // MAX
  uint32_t buffer_bytes = 16400;     // of a receive buffer that is kept
  HandledTypes handled = HandledTypes::All();
  bool takes_fragments = true;   // FRG-10
  bool obeys_remove_pid = true;  // a remove_pid message is its process's death (FRG-9)
  uint32_t reads_per_turn = kReadsPerTurn;
  uint32_t reads_per_call = 16;
  ReassemblyLimits limits = {};

  friend bool operator==(const ReceivePortConfig&, const ReceivePortConfig&) = default;
};

// ----------------------------------------------------------------- events

struct TurnBegins {
  uint32_t port = 0;
  bool slots_short = false;  // the descriptor table was full when last looked at
};

struct SlotsCounted {  // after kAskSlots
  uint32_t port = 0;
  bool room = false;  // the process can take all descriptors that a batch can bring
};

// A receive call returned. Each datagram it brought has been an Arrival before.
struct CallReturned {
  uint32_t port = 0;
  Answer answer = Answer::kDatagram;
  uint32_t count = 0;       // how many it brought
  bool came_short = false;  // fewer than were asked for: the socket was empty then
  bool slots_short = false;
};

struct Arrival {
  uint32_t port = 0;
  Received received = {};
  bool used_slots = false;               // descriptors came, or were sent and found no slot
  const Header* header = nullptr;        // null exactly where fewer than 16 bytes came
  uint32_t payload_bytes = 0;            // behind it, as far as they came
  const ReferenceList* named = nullptr;  // null exactly where NamesChunks says no
  const ZeroRead* zero = nullptr;        // of one without bytes (HDR-8), else null
};

struct GoesOn {  // what ready() names
  uint32_t port = 0;
};

// After kTake: its sender took the message back (SHM-14).
struct Cancelled {
  uint32_t port = 0;
  int32_t sender = 0;
  Header header;  // of the datagram at hand
};

// A message of Use::kAnnouncement came on that port.
struct Announced {
  uint32_t port = 0;
  Announcement announcement;
};

struct Mapped {  // after kMap
  uint32_t slot = 0;
  bool mapped = false;
};

struct Released {  // what kLend handed over, by whoever had it
  Holding holding;
};

struct SenderDied {  // remove_pid, a hang-up, or the owner's word (FRG-9)
  uint32_t port = 0;
  int32_t sender = 0;
};

struct PortClosed {
  uint32_t port = 0;
};

using ReceiveEvent = std::variant<TurnBegins, SlotsCounted, CallReturned, Arrival, GoesOn,
                                  Cancelled, Announced, Mapped, Released, SenderDied, PortClosed>;

// ---------------------------------------------------------------- machine

class ReceiveMachine {
 public:
  explicit ReceiveMachine(const SegmentConfig& segments) : segments_(segments) {}

  uint32_t AddPort(const ReceivePortConfig& config);
  void RemovePort(uint32_t port);  // precondition: closed

  // What the shell needs for an Arrival: whether the payload is to be decoded as a list of
  // references (SHM-1), and whether tracking precedes it.
  bool NamesChunks(uint32_t port, const Header& header) const {
    return header.mmap && header.type != ports_[port].read_queue_type;
  }
  bool HasTracking(uint32_t port, const Header& header) const {
    return header.byte15 != 0 && ports_[port].config.profile->byte15 == Byte15::kTracking;
  }
  // A port where a held datagram goes on; see kGoOn.
  std::optional<uint32_t> ready() const;

  const SegmentTable& segments() const { return segments_; }
  const Reassembly& assemblies(uint32_t port) const { return ports_[port].assemblies; }
  const HeldMessages& held(uint32_t port) const { return ports_[port].held; }
  bool open(uint32_t port) const { return ports_[port].open; }
  // What the state of the port itself occupies, unused capacity included (FRG-8).
  uint64_t MemoryBytes(uint32_t port) const;

  friend void Step(ReceiveMachine&, const TurnBegins&, const SegmentView&, ReceiveActions&);
  friend void Step(ReceiveMachine&, const SlotsCounted&, const SegmentView&, ReceiveActions&);
  friend void Step(ReceiveMachine&, const CallReturned&, const SegmentView&, ReceiveActions&);
  friend void Step(ReceiveMachine&, const Arrival&, const SegmentView&, ReceiveActions&);
  friend void Step(ReceiveMachine&, const GoesOn&, const SegmentView&, ReceiveActions&);
  friend void Step(ReceiveMachine&, const Cancelled&, const SegmentView&, ReceiveActions&);
  friend void Step(ReceiveMachine&, const Announced&, const SegmentView&, ReceiveActions&);
  friend void Step(ReceiveMachine&, const Mapped&, const SegmentView&, ReceiveActions&);
  friend void Step(ReceiveMachine&, const Released&, const SegmentView&, ReceiveActions&);
  friend void Step(ReceiveMachine&, const SenderDied&, const SegmentView&, ReceiveActions&);
  friend void Step(ReceiveMachine&, const PortClosed&, const SegmentView&, ReceiveActions&);

  friend bool operator==(const ReceiveMachine&, const ReceiveMachine&) = default;
  friend std::string ToString(const ReceiveMachine& machine);

 private:
  struct Port {
    explicit Port(const ReceivePortConfig& config);

    ReceivePortConfig config;
    std::optional<uint8_t> mmap_type;
    std::optional<uint8_t> read_queue_type;
    std::optional<uint8_t> remove_pid_type;
    HandledTypes attended = HandledTypes::None();  // whose Use is not kHandler
    bool used = true;
    bool open = true;
    Turn turn;
    Caution caution;
    bool at_end = false;  // HDR-8
    Reassembly assemblies;
    HeldMessages held;
    std::array<std::pair<int32_t, int32_t>, 16> reported = {};  // header's pid, sender (HDR-7)
    size_t reported_next = 0;

    friend bool operator==(const Port&, const Port&) = default;
  };
  using Named = const ReferenceList*;

  static void ReadOn(Port& port, bool slots_short, ReceiveActions& actions);
  void RefuseArrival(Port& port, const Arrival& arrival, const Admission& admission,
                     const SegmentView& view, ReceiveActions& actions);
  void Admitted(Port& port, const Datagram& datagram, Named named, bool resumed,
                const SegmentView& view, ReceiveActions& actions);
  void AdmittedNamed(Port& port, const Datagram& datagram, const ReferenceList& named, bool resumed,
                     const SegmentView& view, ReceiveActions& actions);
  bool Holds(Port& port, const Datagram& datagram, Named named, const SegmentView& view,
             ReceiveActions& actions);
  std::optional<Rule> TakeChunks(const Datagram& datagram, const ReferenceList& named,
                                 const SegmentView& view, Holdings& holdings,
                                 std::optional<uint32_t>& tracked, ReceiveActions& actions);
  void Assemble(Port& port, const Datagram& datagram, ReceiveActions& actions);
  void AssembleNamed(Port& port, const Datagram& datagram, const ReferenceList& named,
                     const Holdings& holdings, std::optional<uint32_t> tracked,
                     ReceiveActions& actions);
  void Refuse(Port& port, Rule rule, const Datagram& datagram, bool resumed,
              const SegmentView& view, ReceiveActions& actions);
  void Tear(Port& port, Rule rule, const Datagram& datagram, bool resumed, const SegmentView& view,
            ReceiveActions& actions);
  void DropKept(const std::vector<HeldMessage>& discarded, const SegmentView& view,
                ReceiveActions& actions);
  void FreeNamed(int32_t sender, Named named, const SegmentView& view, ReceiveActions& actions);
  void ReleaseFreed(ReceiveActions& actions);
  static void ReportPid(Port& port, const Datagram& datagram, ReceiveActions& actions);
  static void ShrinkIfIdle(Port& port);

  SegmentTable segments_;
  std::vector<Port> ports_;
};

void Step(ReceiveMachine& machine, const ReceiveEvent& event, const SegmentView& view,
          ReceiveActions& actions);

// FRG-8: all that one port's unfinished messages can make a receiver hold, whatever the peers
// send: the chains and states of its assemblies, three times that where references of 12
// bytes alternate with plain bytes, and what is held for an announcement.
uint64_t ReceiveBytesMax(const ReassemblyLimits& limits);

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_RECEIVE_MACHINE_H_
