// A segment of our own: memory that a message's buffers live in.
//
//   shapes    sizes in bytes, ranges in chunks. Sealed against shrinking and growing, so
//             that a receiver needs no guard
//   returns   Create: the segment, or the call that failed. Allocate: a range, or nullopt
//             where there are not so many free chunks in a row, or a peer has freed what
//             it does not own (then nothing is allocated any more)
//   holds     the descriptor, to announce it with, and the mapping. Not for several threads
//             (SharedSender has the calls for that). In a child that was forked nothing
//             is allocated or freed: it makes its own (PRT-1)
//   rules     SHM-6, SHM-7, SHM-8, SHM-15, HDR-9, PRT-1
//   source    nxt_port_new_port_mmap, nxt_port_mmap_get_buf, nxt_port_mmap_buf_completion
//
// The life of a range: Allocate; BufferOf it into a chain; HandedOver for each reference
// before the kernel is called, TakenBack if it did not take it (Sender does both); Release when its
// buffer completes, well or not. What was handed over the receiver frees, all else Release does,
// each chunk once.
#ifndef PORTPROOF_PORT_SEGMENT_H_
#define PORTPROOF_PORT_SEGMENT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "port/kernel.h"
#include "port/mapping.h"
#include "port/owned_fd.h"
#include "protocol/chain.h"
#include "protocol/chunk_ledger.h"
#include "protocol/segment_header.h"

namespace portproof {

struct ChunkRange {
  uint32_t first = 0;
  uint32_t count = 0;
  uint64_t allocation = 0;  // which one: chunks come back while a completion is on its way
};

class Segment {
 public:
  static absl::StatusOr<Segment> Create(const SegmentHeader& header, SegmentLayout layout,
                                        const Geometry& geometry = kUnitGeometry,
                                        Kernel& kernel = Kernel::Real());

  int fd() const { return fd_.get(); }
  uint32_t id() const { return id_; }
  // Whether references to it may go over the port: to 1.18 only over the one that
  // announced it, until the receiver has mapped it (section 6).
  bool UsableOver(uint16_t port) const;

  std::optional<ChunkRange> Allocate(uint32_t bytes);
  std::span<uint8_t> Memory(const ChunkRange& range) const;
  // The first `bytes` of a range, at most all of it, as a buffer of a chain.
  Buffer BufferOf(const ChunkRange& range, uint32_t bytes, uint64_t buffer_id, uint16_t port) const;
  void HandedOver(const Reference& reference) { ledger_.HandedOver(reference, geometry_); }
  // The datagram that names them did not go after all.
  void TakenBack(const Reference& reference) { ledger_.TakenBack(reference, geometry_); }
  // How many chunks were still ours.
  uint32_t Release(const ChunkRange& range);

  // SHM-15: slots are below this; the caller gives each to one message at a time.
  uint32_t tracking_slots() const { return TrackingSlots(layout_, geometry_); }
  // A message of that stream, not 0, is about to be sent (Sender does it).
  void Track(uint32_t slot, uint32_t stream);
  // Takes the message back: true, it will not be delivered; false, its receiver has taken
  // it, or it was never tracked. Then, and when it failed, the slot is free again. Any
  // thread's.
  bool Cancel(uint32_t slot, uint32_t stream);

  // The only process that references went to is dead (nobody else frees its chunks).
  void ReceiverDied();

  uint32_t FreeCount() const;  // the census: chunk_count when nothing is in flight
  uint32_t OwnCount() const { return ledger_.count(); }

 private:
  Segment(OwnedFd fd, Mapping mapping, uint32_t id, SegmentLayout layout, const Geometry& geometry);

  OwnedFd fd_;
  Mapping mapping_;
  ChunkLedger ledger_;
  uint32_t id_;
  SegmentLayout layout_;
  Geometry geometry_;
  uint32_t generation_;
  bool betrayed_ = false;  // a peer freed chunks of ours
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_SEGMENT_H_
