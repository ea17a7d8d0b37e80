// The naive process: what the rules say of receiving, written for obviousness, sharing no
// code with the core. What is open and held stands in lists that are searched from the front;
// payloads are strings that grow.
//   shapes    see wire.h
//   returns   what the event led to, in `outcome`
//   holds     every byte of every open message
//   rules     HDR-1, HDR-3, HDR-4, HDR-7, HDR-8, FDS-1, FDS-2, FDS-5, FDS-7, RCV-1, RCV-5, FRG-1,
//             FRG-2, FRG-3, FRG-4, FRG-6, FRG-7, FRG-8, FRG-9, FRG-10, SHM-1, SHM-2, SHM-6,
//             SHM-8, SHM-10, SHM-13, SHM-14
//   source    none
#ifndef PORTPROOF_PROPS_NAIVE_PROCESS_H_
#define PORTPROOF_PROPS_NAIVE_PROCESS_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "props/wire.h"

namespace portproof {

class NaiveProcess {
 public:
  explicit NaiveProcess(const Port& port, uint32_t ports = 1) : port_(port), places_(ports) {}

  void Receive(uint32_t port, const Wire& wire, Outcome& outcome);
  void GoOn(Outcome& outcome);
  void Release(size_t which, Outcome& outcome);
  void SenderDied(uint32_t port, int32_t sender, Outcome& outcome);
  void Reopen(uint32_t port, Outcome& outcome);
  void Take(int32_t sender, uint32_t id, uint32_t chunk);
  void Turn(int32_t sender, uint32_t id, uint32_t chunk);
  void Spoil(int32_t sender, uint32_t id);

  size_t open(uint32_t port) const { return places_[port].open.size(); }
  size_t held(uint32_t port) const { return places_[port].held.size(); }
  uint64_t bytes(uint32_t port) const;  // of all that is open or held
  size_t mapped() const { return segments_.size(); }
  size_t held_chunks() const;

 private:
  struct Chunks {
    ChunkName first;
    uint32_t count;
  };
  struct Open {
    int32_t sender;
    Message message;
    size_t wire_bytes;
    std::vector<Chunks> chunks;
    bool cancelled;
  };
  struct Held {
    Wire wire;
    std::set<uint32_t> waits;
  };
  struct Place {
    std::vector<Open> open;
    std::vector<Held> held;
    std::vector<std::pair<int32_t, int32_t>> reported;
  };
  struct Segment {
    int32_t sender;
    uint32_t id;
    int serial;
    std::set<uint32_t> free;
    std::set<uint32_t> held;
    bool spoiled;
    bool gone;
  };
  struct Reference {
    uint32_t id, first, bytes;
  };

  void Look(const Wire& wire);
  const char* CheckFirst(const Wire& wire) const;
  void Admit(Place& place, const Wire& wire, bool resumed, Outcome& outcome);
  bool Hold(Place& place, const Wire& wire, Outcome& outcome);
  void Assemble(Place& place, const Wire& wire, Outcome& outcome);
  const char* Begin(Place& place, bool cancelled, Outcome& outcome);
  const char* Continue(Place& place, size_t index, const Wire& wire, Outcome& outcome);
  void Finish(Place& place, Message message, std::vector<Chunks> chunks, const Wire& wire,
              Outcome& outcome);
  void Announce(const Message& message, const SegmentFile& file, Outcome& outcome);
  void Refuse(Place& place, const Wire& wire, const char* rule, bool resumed, Outcome& outcome);
  void Tear(Place& place, const char* rule, bool resumed, Outcome& outcome);
  void DropHeld(Place& place, size_t index, Outcome& outcome);
  void Discard(Place& place, size_t index, const char* rule, Outcome& outcome);
  void Die(Place& place, int32_t sender, Outcome& outcome);
  int FindOpen(const Place& place, int32_t sender, uint32_t stream) const;
  bool IsHeld(const Place& place, int32_t sender, uint32_t stream) const;
  bool HasQuota(const Place& place, int32_t owner, size_t more, size_t bytes) const;

  Segment* Known(int32_t sender, uint32_t id);
  Segment* Newest(int32_t sender, uint32_t id);
  const char* Judge(std::vector<Chunks>& good);
  void Free(const std::vector<Chunks>& chunks, Outcome& outcome);
  void FreeNamed(Outcome& outcome);

  Port port_;
  std::vector<Place> places_;
  std::vector<Segment> segments_;
  std::vector<std::tuple<int32_t, uint32_t>> announced_;  // ever
  std::vector<Chunks> taken_;

  // The datagram looked at.
  Message now_;
  int32_t sender_ = 0;
  bool has_header_ = false, nf_ = false, mf_ = false, names_ = false, list_ = false;
  bool tracked_ = false;
  uint32_t track_id_ = 0, track_slot_ = 0;
  size_t wire_bytes_ = 0;
  std::vector<Reference> references_;
  std::vector<Chunks> chunks_;
};

}  // namespace portproof

#endif  // PORTPROOF_PROPS_NAIVE_PROCESS_H_
