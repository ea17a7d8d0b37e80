// The segments that others announced to a receiver, and which of their chunks it holds.
//
//   shapes    a segment has a slot, a small number; the shell keeps its mapping under it.
//             A Holding is a range of chunks that was handed over and not released yet.
//             `words_of(slot)` gives the shell's accessor to that segment's bitmap (see
//             chunk_map.h); counts are chunks unless they say otherwise
//   returns   JudgeAnnouncement: the rule a new segment breaks, or none; a refusal leaves
//             the table as it was, the old mapping of a duplicate too. Accept: none, and
//             all chunks named are held; or the rule of the first bad reference, and
//             then the chunks of the good ones were freed, once, and nothing else
//             changed. Release, SenderDied, Close: the slots that nobody can use any
//             more; the shell unmaps them
//   holds     for each segment its key and one private bitmap of what is held. What a
//             peer writes to shared memory is never trusted: a header is judged as a
//             copy, a chunk's bit is read once, and who holds it is not asked there
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

class SegmentTable {
 public:
  explicit SegmentTable(const SegmentConfig& config) : config_(config) {}

  const SegmentConfig& config() const { return config_; }
  uint32_t IdOf(const Announcement& announcement) const;
  std::optional<Rule> JudgeAnnouncement(const Announcement& announcement) const;
  // Of an announcement that was judged good, once the shell has mapped the file.
  uint32_t Add(int32_t sender, uint32_t id);
  std::optional<uint32_t> Find(int32_t sender, uint32_t id) const;

  // The ids that references name and the sender has not announced, each once, in order.
  // False, and none, where one of them can never be announced: Accept refuses it.
  bool FindUnknown(int32_t sender, std::span<const Reference> references,
                   std::vector<uint32_t>& ids) const;

  // SHM-14: none, and in `slot` whose header has the word of the tracking; else the rule.
  std::optional<Rule> JudgeTracking(int32_t sender, const Tracking& tracking, uint32_t& slot) const;

  // Takes the chunks of a message over: one holding for each reference, in order.
  template <typename WordsOf>
  std::optional<Rule> Accept(int32_t sender, std::span<const Reference> references,
                             WordsOf words_of, std::vector<Holding>& holdings);

  // Frees the chunks of a holding in the bitmap. True: unmap its slot.
  template <typename WordsOf>
  bool Release(const Holding& holding, WordsOf words_of);

  // Its pages are gone: no reference to it is good any more (SHM-8).
  void Poison(uint32_t slot) { segments_[slot].poisoned = true; }
  bool poisoned(uint32_t slot) const { return segments_[slot].poisoned; }

  // Segments with chunks held stay mapped until these are released (SHM-13).
  void SenderDied(int32_t sender, std::vector<uint32_t>& unmap);
  void Close(std::vector<uint32_t>& unmap);

  size_t announced() const { return slots_.size(); }
  size_t mapped() const { return segments_.size() - free_.size(); }
  uint32_t held_chunks() const;
  friend std::string ToString(const SegmentTable& table);  // one line a segment, by slot

 private:
  struct Segment {
    int32_t sender = 0;
    uint32_t id = 0;
    uint32_t held_count = 0;
    bool used = false;
    bool gone = false;  // its sender is dead: only what is held keeps it
    bool poisoned = false;
    std::array<uint64_t, kMapWordsMax> held = {};
  };

  static uint64_t KeyOf(int32_t sender, uint32_t id) {
    return uint64_t{static_cast<uint32_t>(sender)} << 32 | id;
  }
  // Everything about a reference but whether its chunks are busy.
  std::optional<Rule> Judge(int32_t sender, const Reference& reference, Holding& holding) const;
  void Hold(const Holding& holding);
  void Drop(const Holding& holding);
  void Leave(uint32_t slot, std::vector<uint32_t>& unmap);
  void FreeSlot(uint32_t slot);

  SegmentConfig config_;
  absl::flat_hash_map<uint64_t, uint32_t> slots_;  // of living senders
  std::vector<Segment> segments_;                  // by slot
  std::vector<uint32_t> free_;
};

template <typename WordsOf>
std::optional<Rule> SegmentTable::Accept(int32_t sender, std::span<const Reference> references,
                                         WordsOf words_of, std::vector<Holding>& holdings) {
  holdings.clear();
  std::optional<Rule> refused;
  for (const Reference& reference : references) {
    Holding holding;
    std::optional<Rule> rule = Judge(sender, reference, holding);
    if (!rule) {
      auto words = words_of(holding.slot);
      if (!AllBusy(words, holding.first_chunk, holding.chunk_count)) rule = Rule::kShm2;
    }
    if (rule) {
      if (!refused) refused = rule;
      continue;  // the good ones behind are to be released too
    }
    Hold(holding);
    holdings.push_back(holding);
  }
  if (!refused) return std::nullopt;
  for (const Holding& holding : holdings) {
    auto words = words_of(holding.slot);
    FreeChunks(words, holding.first_chunk, holding.chunk_count);
    Drop(holding);
  }
  holdings.clear();
  return refused;
}

template <typename WordsOf>
bool SegmentTable::Release(const Holding& holding, WordsOf words_of) {
  Drop(holding);  // before the sender may send them again
  auto words = words_of(holding.slot);
  FreeChunks(words, holding.first_chunk, holding.chunk_count);
  const Segment& segment = segments_[holding.slot];
  if (!segment.gone || segment.held_count != 0) return false;
  FreeSlot(holding.slot);
  return true;
}

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_SEGMENT_TABLE_H_
