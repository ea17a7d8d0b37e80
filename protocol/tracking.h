// Tracking (0.3 to 1.18): a sender can take a message back until its receiver has begun it.
//
//   in a segment's header, words of 64 bits in the byte order of the machine, up to the
//   header's end:
//   layout      offset  slots (of a header of 4096 bytes)
//   0.2-1.13    192     488
//   1.14-1.18   200     487
//
//   A word holds the stream of the message that it tracks, or 0. Before the references of
//   that message's first datagram stand the segment's id and the slot's number (Tracking).
//
//   shapes    slots are counted from 0; offsets in bytes from the segment's beginning.
//             `words` is an accessor to the array: Store(slot, value), and
//             Replace(slot, seen, value), which writes and says true only where the word
//             still holds `seen`, in one step
//   returns   Begin: nothing. Take, Cancel: true for the one of the two that was first; a
//             stream of 0 cannot be tracked: both would be
//   holds     nothing
//   rules     SHM-14, SHM-15
//   source    nxt_port_mmap_get_tracking, nxt_port_mmap_tracking_read,
//             nxt_port_mmap_tracking_cancel; the original lets words overlap chunk 0
#ifndef PORTPROOF_PROTOCOL_TRACKING_H_
#define PORTPROOF_PROTOCOL_TRACKING_H_

#include <cstddef>
#include <cstdint>

#include "protocol/chunk.h"
#include "protocol/profile.h"

namespace portproof {

constexpr uint32_t TrackingOffset(SegmentLayout layout) {
  return layout == SegmentLayout::kOosm ? 200 : 192;
}

// A slot from here on has its word beyond the header, and must not be used.
constexpr uint32_t TrackingSlots(SegmentLayout layout, const Geometry& geometry) {
  return (geometry.header_bytes - TrackingOffset(layout)) / uint32_t{sizeof(uint64_t)};
}

// The sender's, before the message's first datagram is sent (SHM-15).
template <typename Words>
void BeginTracking(Words& words, uint32_t slot, uint32_t stream) {
  words.Store(slot, stream);
}

// The receiver's: false: the message was cancelled (SHM-14).
template <typename Words>
bool TakeTracked(Words& words, uint32_t slot, uint32_t stream) {
  return words.Replace(slot, stream, 0);
}

// The sender's: false: the receiver has taken the message (SHM-15).
template <typename Words>
bool CancelTracked(Words& words, uint32_t slot, uint32_t stream) {
  return words.Replace(slot, stream, 0);
}

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_TRACKING_H_
