// A message's buffers, in order, as the protocol sees them.
//
//   shapes    Buffer: where its bytes are and how many; addresses are numbers that
//             are compared, never followed. A sync buffer carries no bytes, but may
//             carry the mark that ends the conversation; only a sync buffer has it
//   returns   SurveyOf: the sum of the bytes; and the mode: shared only if there are
//             bytes, and every buffer with bytes is shared, begins on a chunk and may be
//             named to that destination; else plain. ValidChain: whether the chain keeps
//             what this header asks for
//   holds     nothing; allocates nothing
//   rules     SHM-3, IOV-2
//   source    nxt_buf_t, nxt_port_mmap_get_method, which chose anew for each fragment
#ifndef PORTPROOF_PROTOCOL_CHAIN_H_
#define PORTPROOF_PROTOCOL_CHAIN_H_

#include <cstdint>
#include <span>
#include <string>

#include "protocol/chunk.h"

namespace portproof {

enum class BufferKind : uint8_t { kPlain, kShared, kSync };

struct Buffer {
  uint64_t address = 0;         // of the first byte; address + bytes stays below 2^64
  uint64_t id = 0;              // the writer's own; its completion brings it back
  uint32_t bytes = 0;           // 0 for sync; at most 2^31 - 1
  uint32_t segment_id = 0;      // shared: the segment, and where in its chunks
  uint32_t segment_offset = 0;  // shared: bytes from the beginning of chunk 0
  BufferKind kind = BufferKind::kPlain;
  bool last = false;    // sync: the conversation ends with this message
  bool usable = false;  // shared: the destination may be sent references to the segment

  friend bool operator==(const Buffer&, const Buffer&) = default;
};

// How a message travels, decided once, before its first datagram (SHM-3).
enum class Mode : uint8_t { kPlain, kShared };

struct ChainSurvey {
  uint64_t bytes = 0;
  Mode mode = Mode::kPlain;
};

inline ChainSurvey SurveyOf(std::span<const Buffer> chain,
                            uint32_t chunk_bytes = kUnitGeometry.chunk_bytes) {
  ChainSurvey survey;
  bool nameable = true;
  for (const Buffer& buffer : chain) {
    if (buffer.bytes == 0) continue;
    survey.bytes += buffer.bytes;
    // SHM-3: every byte can be named by a reference, or none is.
    nameable = nameable && buffer.kind == BufferKind::kShared && buffer.usable &&
               buffer.segment_offset % chunk_bytes == 0;
  }
  if (nameable && survey.bytes != 0) survey.mode = Mode::kShared;
  return survey;
}

bool ValidChain(std::span<const Buffer> chain);

std::string ToString(const Buffer& buffer);  // "plain 10 at 4096", "sync last"

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_CHAIN_H_
