// Compose takes the next datagram off the front of a chain's unsent part.
//
//   shapes    chain: all buffers of the message; `from`: the first unsent byte;
//             ComposeLimits: payload bytes (L) and runs; ByteRun: adjacent bytes, one
//             iovec. In shared mode a run's place is PlaceInSegment, not an address
//   returns   the runs written to `runs`, how many, their bytes, the mark of the sync
//             buffers passed, whether bytes remain, and where those begin. Buffers
//             before `next.buffer_index` are wholly taken, sync and empty ones included
//   holds     nothing; allocates nothing. `runs` has room for limits.runs
//   rules     IOV-1, IOV-2, IOV-3, IOV-4, IOV-5, IOV-6, IOV-7; SHM-4, SHM-11
//   source    nxt_sendbuf_mem_coalesce; differs at an exact limit (IOV-5: it said that
//             nothing follows; IOV-6: it lost a mark right behind)
#ifndef PORTPROOF_PROTOCOL_COMPOSE_H_
#define PORTPROOF_PROTOCOL_COMPOSE_H_

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "protocol/chain.h"
#include "protocol/chunk.h"

namespace portproof {

inline constexpr uint32_t kPlainRunsMax = 7;    // the header takes the eighth iovec
inline constexpr uint32_t kSharedRunsMax = 79;  // SHM-11
inline constexpr uint32_t kSharedBytesMax = 0x7fffffff;

struct ByteRun {
  uint64_t place = 0;  // an address, or a PlaceInSegment
  uint64_t bytes = 0;

  friend bool operator==(const ByteRun&, const ByteRun&) = default;
};

// Adjacent in one segment is adjacent here; different segments never are.
constexpr uint64_t PlaceInSegment(uint32_t segment_id, uint32_t segment_offset) {
  return uint64_t{segment_id} << 32 | segment_offset;
}

struct ComposeLimits {
  uint32_t payload_bytes = 0;  // at least 1
  uint32_t runs = kPlainRunsMax;
};

// The limits of a message in shared mode: no byte limit to speak of, and as many
// references as fit into the payload limit (section 3).
constexpr ComposeLimits SharedLimits(uint32_t payload_bytes, bool tracking) {
  const uint32_t room = payload_bytes - (tracking ? uint32_t{kTrackingBytes} : 0);
  const uint32_t fitting = room / uint32_t{kReferenceBytes};
  return {kSharedBytesMax, fitting < kSharedRunsMax ? fitting : kSharedRunsMax};
}

struct ChainCursor {
  uint32_t buffer_index = 0;
  uint32_t offset_bytes = 0;  // below that buffer's bytes, or 0

  friend bool operator==(const ChainCursor&, const ChainCursor&) = default;
};

struct Composed {
  uint32_t run_count = 0;
  uint32_t payload_bytes = 0;
  bool last = false;  // a marked sync buffer was passed
  bool more = false;  // bytes remain: mf
  ChainCursor next = {};
};

namespace compose_internal {

// No buffer with bytes begins here: its end would lie beyond the address space.
inline constexpr uint64_t kNoPlace = std::numeric_limits<uint64_t>::max();

inline uint64_t Address(const Buffer& buffer) { return buffer.address; }

inline uint64_t InSegment(const Buffer& buffer) {
  return PlaceInSegment(buffer.segment_id, buffer.segment_offset);
}

// The open run lives in `begin` and `end` until a buffer elsewhere closes it, so that
// adjacent buffers touch no memory but their own.
template <auto kPlace>
inline Composed Walk(std::span<const Buffer> chain, ChainCursor from, ComposeLimits limits,
                     ByteRun* runs) {
  const Buffer* const buffers = chain.data();
  const size_t count = chain.size();
  size_t index = from.buffer_index;
  uint32_t skip = from.offset_bytes;
  uint32_t room = limits.payload_bytes;
  uint32_t run_count = 0;
  uint64_t begin = kNoPlace;
  uint64_t end = kNoPlace;
  bool last = false;
  for (; index < count; ++index) {
    const Buffer& buffer = buffers[index];
    const uint32_t bytes = buffer.bytes - skip;
    if (bytes == 0) {  // sync or empty: costs nothing, also right behind the limit (IOV-6)
      last |= buffer.last;
      continue;
    }
    const uint64_t place = kPlace(buffer) + skip;
    // A new run, or the same one (IOV-2); in shared mode a run is one reference (SHM-11).
    if (place != end) {
      if (run_count == limits.runs || room == 0) break;  // IOV-3
      if (run_count != 0) runs[run_count - 1] = {begin, end - begin};
      ++run_count;
      begin = end = place;
    }
    if (bytes > room) {  // IOV-4: cut where the datagram is full
      end += room;
      skip += room;
      room = 0;
      break;
    }
    end += bytes;
    room -= bytes;
    skip = 0;
  }
  // No run, no byte: still a datagram (IOV-7).
  if (run_count != 0) runs[run_count - 1] = {begin, end - begin};
  // The walk stops only before or within a buffer with bytes, so bytes remain where it
  // stopped early (IOV-5). The next datagram begins with the first byte not taken (IOV-1).
  return {run_count,
          limits.payload_bytes - room,
          last,
          index < count,
          {static_cast<uint32_t>(index), skip}};
}

}  // namespace compose_internal

inline Composed Compose(std::span<const Buffer> chain, ChainCursor from, ComposeLimits limits,
                        std::span<ByteRun> runs) {
  assert(limits.payload_bytes > 0 && limits.runs > 0 && runs.size() >= limits.runs);
  return compose_internal::Walk<compose_internal::Address>(chain, from, limits, runs.data());
}

// The same walk over places in segments: one run is one reference.
inline Composed ComposeShared(std::span<const Buffer> chain, ChainCursor from, ComposeLimits limits,
                              std::span<ByteRun> runs) {
  assert(limits.payload_bytes > 0 && limits.runs > 0 && runs.size() >= limits.runs);
  return compose_internal::Walk<compose_internal::InSegment>(chain, from, limits, runs.data());
}

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_COMPOSE_H_
