// A process in memory that runs the receive machine and performs its actions on real bytes:
// what the shell does, with strings for buffers and numbers for descriptors.
//   shapes    see wire.h; the machine's own state can be looked at
//   returns   what the event led to, in `outcome`; aborts where the machine's actions make
//             no sense (a slot used twice, a list that goes on behind a delivery)
//   holds     buffers as Storage says; MemoryBytes counts them, capacity included
//   rules     those of protocol/receive_machine.h
//   source    none
#ifndef PORTPROOF_PROPS_MACHINE_PROCESS_H_
#define PORTPROOF_PROPS_MACHINE_PROCESS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "props/wire.h"
#include "protocol/receive_machine.h"

namespace portproof {

// The port that a profile describes, with tiny MAX: one fragment is a few bytes.
Port PortOf(const Profile& profile);

class MachineProcess : private SegmentView {
 public:
  // The profile gives what the Port does not say. Segments: those of wire.h by default.
  MachineProcess(const Profile& profile, const Port& port, uint32_t ports = 1,
                 const SegmentConfig& segments = TinySegments());

  void Receive(uint32_t port, const Wire& wire, Outcome& outcome);
  void GoOn(Outcome& outcome);  // one held datagram, if one can
  void Release(size_t which, Outcome& outcome);
  void SenderDied(uint32_t port, int32_t sender, Outcome& outcome);
  void Reopen(uint32_t port, Outcome& outcome);
  void Close(uint32_t port, Outcome& outcome);
  // The sender's own doing in its newest segment of that id.
  void Take(int32_t sender, uint32_t id, uint32_t chunk);  // it is busy now
  void Turn(int32_t sender, uint32_t id, uint32_t chunk);  // or free, the other than before
  void Spoil(int32_t sender, uint32_t id);

  const ReceiveMachine& machine() const { return machine_; }
  size_t taken() const { return taken_.size(); }  // references that the application has
  // The state of the port and all chains, as ReceiveBytesMax counts them (FRG-8).
  uint64_t MemoryBytes(uint32_t port) const;

  static SegmentConfig TinySegments();

 private:
  // A chain of buffers, joined; of the buffers themselves only what FRG-8 counts.
  struct Chain {
    bool used = false;
    std::vector<int> fds;
    std::string payload;
    std::string kinds;
    std::vector<Holding> holdings;
    uint32_t last_capacity = 0;  // of the newest buffer
    uint32_t last_bytes = 0;
    uint64_t memory_bytes = 0;  // buffers, and stretches of one kind in one buffer
  };
  struct Memory {
    int32_t sender = 0;
    uint32_t id = 0;
    int serial = 0;
    bool spoiled = false;
    std::set<uint32_t> free = {};
  };
  struct Place {
    uint32_t number = 0;  // of the port in the machine
    std::map<uint32_t, Chain> open = {};
    std::map<uint32_t, Wire> kept = {};
    uint64_t chain_bytes = 0;
  };
  // The datagram at hand.
  struct Hand {
    Wire wire;
    int32_t sender = 0;
    std::string payload = {};  // of lent chunks
    std::vector<Holding> holdings = {};
  };

  bool AllBusy(uint32_t slot, uint32_t first_chunk, uint32_t chunk_count) const override;
  bool Poisoned(uint32_t slot) const override { return memories_.at(slot).spoiled; }

  void Run(const ReceiveEvent& event, Place& place, Hand& hand, Outcome& outcome);
  bool Perform(const ReceiveAction& action, Place& place, Hand& hand, Outcome& outcome);
  void PerformOnSegment(const ReceiveAction& action, Hand& hand, Outcome& outcome);
  void Deliver(const ReceiveAction& action, Chain& chain, Place& place, Hand& hand,
               Outcome& outcome);
  static Chain TakeWhole(Hand& hand);
  void Store(const ReceiveAction& action, Place& place, Hand& hand);
  void Drop(Place& place, uint32_t slot, bool frees_slot, Outcome& outcome);
  void CloseFds(std::vector<int>& fds, Outcome& outcome);
  void ReleaseAll(std::vector<Holding>& holdings, Outcome& outcome);
  Memory* Newest(int32_t sender, uint32_t id);

  ReceivePortConfig config_;
  uint32_t buffer_bytes_;
  ReceiveMachine machine_;
  std::vector<Place> places_;
  std::map<uint32_t, Memory> memories_;  // by slot
  std::map<std::pair<int32_t, uint32_t>, int> serials_;
  std::vector<Holding> taken_;
  ReferenceList named_;
};

}  // namespace portproof

#endif  // PORTPROOF_PROPS_MACHINE_PROCESS_H_
