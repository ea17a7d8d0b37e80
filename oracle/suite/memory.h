// Shared memory, the runner's side of it: segments of its own, and those a testee announced.
//   shapes    OwnSegment: chunks taken, filled and watched by the runner. PeerMemory: what
//             was announced on port B, by id
//   returns   Content: the bytes behind a reference, empty where there are none
//   holds     descriptors and mappings; which segments were asked for
//   rules     SHM-2, SHM-6, SHM-8, SHM-10, FDS-6 are judged with them
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_MEMORY_H_
#define PORTPROOF_ORACLE_SUITE_MEMORY_H_

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "oracle/suite/link.h"
#include "port/mapping.h"
#include "port/owned_fd.h"
#include "protocol/chunk.h"
#include "protocol/profile.h"
#include "protocol/segment_header.h"

namespace portproof::suite {

class OwnSegment {
 public:
  OwnSegment(const SegmentHeader& header, SegmentLayout layout, bool sealed = true,
             uint64_t bytes = kUnitGeometry.SegmentBytes());
  int fd() const { return fd_.get(); }
  void Take(uint32_t first, uint32_t count);  // busy from now on
  bool AllBusy(uint32_t first, uint32_t count) const;
  bool AllFree(uint32_t first, uint32_t count) const;
  void Fill(uint32_t first, std::span<const uint8_t> bytes);
  // Tracking words (SHM-14).
  void Track(uint32_t slot, uint32_t stream);
  uint64_t TrackedStream(uint32_t slot) const;
  void Shrink();

 private:
  OwnedFd fd_;
  Mapping mapping_;
  SegmentLayout layout_;
};

class PeerMemory {
 public:
  struct Announced {
    SegmentHeader header;
    Mapping mapping;
    FileId file;
  };
  struct Parties {
    int32_t source = 0;   // the testee
    int32_t own = 0;      // we
    std::string process;  // what the testee says it is: application, router, or nothing
  };
  // Maps the segment of an mmap message; throws CaseEnd where it is none (SHM-8, FDS-6).
  // One that was asked for may be announced again.
  void Adopt(const Arrived& announcement, const Profile& profile, const Parties& parties);
  void Ask(uint32_t id) { asked_.insert(id); }
  bool Asked(uint32_t id) const { return asked_.contains(id); }
  bool Knows(uint32_t id) const { return segments_.contains(id); }
  std::vector<uint8_t> Content(const Reference& reference);
  // Frees what Content has handed out.
  void ReleaseAll();
  uint32_t busy_chunks() const;
  const std::vector<Reference>& held() const { return held_; }

 private:
  static void JudgeDestination(const SegmentHeader& header, const Profile& profile,
                               const Parties& parties);

  std::map<uint32_t, Announced> segments_;
  std::set<uint32_t> asked_;
  std::vector<Reference> held_;
  SegmentLayout layout_ = SegmentLayout::kOosm;
};

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_MEMORY_H_
