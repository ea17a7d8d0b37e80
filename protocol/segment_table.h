// The segments that others announced to a receiver, and which of their chunks it holds.
//
//   shapes    a segment has a slot, a small number; the shell keeps its mapping under it.
//             A Holding is a range of chunks that was handed over and not released yet.
//             `view` tells what the segments' memory says now; counts are chunks unless
//             they say otherwise
//   returns   Announce: the slot of a new segment, which can be named once it is Mapped; or
//             the rule that the announcement breaks, and then the table has not changed.
//             Accept: nothing, or the rule of the first bad reference; in both cases the
//             chunks of the good references are held, each once. Release, SenderDied, Close:
//             the slots that nobody can use any more; the shell unmaps them
//   holds     for each segment its key and one private bitmap of the chunks that are held.
//             What a peer writes to shared memory is never trusted: a header is copied and
//             then judged, and a chunk's bit is read once
//   rules     SHM-2, SHM-6, SHM-8, SHM-9, SHM-10, SHM-13, SHM-14, FRG-9
//   source    nxt_port_incoming_port_mmap, nxt_port_get_port_incoming_mmap; the original
//             trusts header and references, and maps a duplicate over the first
#ifndef PORTPROOF_PROTOCOL_SEGMENT_TABLE_H_
#define PORTPROOF_PROTOCOL_SEGMENT_TABLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "protocol/chunk.h"
#include "protocol/chunk_map.h"
#include "protocol/profile.h"
#include "protocol/rule.h"
#include "protocol/segment_header.h"
#include "protocol/tracking.h"

namespace portproof {

struct SegmentConfig {
  SegmentLayout layout = SegmentLayout::kOosm;
  Geometry geometry = kUnitGeometry;
  int32_t own_pid = 0;           // of the receiver; only the seed's layout asks for it
  uint32_t ids_max = 1024;       // SHM-8: ids are below
  uint32_t segments_max = 4096;  // mapped at once, of all senders

  friend bool operator==(const SegmentConfig&, const SegmentConfig&) = default;
};

// What the shell found out about the descriptors of an mmap message.
struct Announcement {
  int32_t sender = 0;                             // HDR-7
  uint32_t fds = 0;                               // in the message; the rest is about the first
  uint64_t file_bytes = 0;                        // 0 where it is no file
  bool sealed = false;                            // nobody can shrink it any more
  bool guarded = false;                           // the application opted into the guard
  std::array<uint8_t, kSegmentHeadBytes> head{};  // read once (SHM-9)
};

struct Holding {
  uint32_t slot = 0;
  uint32_t first_chunk = 0;
  uint32_t chunk_count = 0;
  uint32_t bytes = 0;

  friend bool operator==(const Holding&, const Holding&) = default;
};

using Holdings = absl::InlinedVector<Holding, 4>;

// Reads the segments' memory at the moment of the call (SHM-9). The shell implements it.
class SegmentView {
 public:
  // No bit of these chunks is set in the bitmap of that slot.
  virtual bool AllBusy(uint32_t slot, uint32_t first_chunk, uint32_t chunk_count) const = 0;
  // A page of the segment is gone for good. What was read there may be zeros, so every further
  // reference to the segment is bad (SHM-8).
  virtual bool Poisoned(uint32_t slot) const = 0;

 protected:
  ~SegmentView() = default;
};

class SegmentTable {
 public:
  explicit SegmentTable(const SegmentConfig& config) : config_(config) {}

  const SegmentConfig& config() const { return config_; }
  uint32_t IdOf(const Announcement& announcement) const;
  std::optional<Rule> Announce(const Announcement& announcement, uint32_t& slot);
  // The shell has mapped the announced segment. If it could not, the slot is free again.
  void Mapped(uint32_t slot, bool mapped);
  // Of a mapped segment of that sender.
  std::optional<uint32_t> Find(int32_t sender, uint32_t id) const;
  int32_t SenderOf(uint32_t slot) const { return segments_[slot].sender; }
  uint32_t IdOf(uint32_t slot) const { return segments_[slot].id; }

  // The ids that references name and the sender has not announced, each once, in order. False
  // and no ids if one of them can never be announced: Accept will refuse it.
  bool FindUnknown(int32_t sender, std::span<const Reference> references,
                   std::vector<uint32_t>& ids) const;

  // SHM-14: the rule that the tracking breaks; or nothing, and `slot` is the segment of its word.
  std::optional<Rule> JudgeTracking(int32_t sender, const Tracking& tracking,
                                    const SegmentView& view, uint32_t& slot) const;

  // Takes the chunks of a message over: one holding for each good reference, in order.
  std::optional<Rule> Accept(int32_t sender, std::span<const Reference> references,
                             const SegmentView& view, Holdings& holdings);
  // The chunks are the sender's again, once the bitmap says so. True: unmap the slot.
  bool Release(const Holding& holding);

  // Segments with chunks held stay mapped until these are released (SHM-13).
  void SenderDied(int32_t sender, std::vector<uint32_t>& unmap);
  void Close(std::vector<uint32_t>& unmap);

  size_t mapped() const { return segments_.size() - free_.size(); }
  uint32_t held_chunks() const;
  friend bool operator==(const SegmentTable&, const SegmentTable&) = default;
  friend std::string ToString(const SegmentTable& table);  // one line a segment, by slot

 private:
  struct Segment {
    int32_t sender = 0;
    uint32_t id = 0;
    uint32_t held_count = 0;
    bool used = false;
    bool mapped = false;
    bool gone = false;  // its sender is dead: only what is held keeps it
    std::array<uint64_t, kMapWordsMax> held = {};

    friend bool operator==(const Segment&, const Segment&) = default;
  };

  static uint64_t KeyOf(int32_t sender, uint32_t id) {
    return uint64_t{static_cast<uint32_t>(sender)} << 32 | id;
  }
  std::optional<Rule> JudgeAnnouncement(const Announcement& announcement) const;
  std::optional<Rule> Judge(int32_t sender, const Reference& reference, const SegmentView& view,
                            Holding& holding) const;
  void Hold(const Holding& holding);
  void Drop(const Holding& holding);
  void Leave(uint32_t slot, std::vector<uint32_t>& unmap);
  void FreeSlot(uint32_t slot);

  SegmentConfig config_;
  absl::flat_hash_map<uint64_t, uint32_t> slots_;  // of living senders
  std::vector<Segment> segments_;                  // by slot
  std::vector<uint32_t> free_;
};

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_SEGMENT_TABLE_H_
