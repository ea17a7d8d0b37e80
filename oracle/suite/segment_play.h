// What cases with shared memory say often, both roles.
//   shapes    segments of the runner's, by id; datagrams that refer to them; chains of
//             shared buffers for the testee to send
//   returns   what the name says; Refuses and Announce settle, and throw CaseEnd where the
//             testee does otherwise
//   holds     nothing
//   rules     those the caller blames; SHM-6 in NothingBusy
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_SEGMENT_PLAY_H_
#define PORTPROOF_ORACLE_SUITE_SEGMENT_PLAY_H_

#include <cstdint>
#include <vector>

#include "oracle/suite/stage.h"

namespace portproof::suite {

inline constexpr uint32_t kChunk = 16384;

SegmentHeader HeaderFor(Stage& stage, uint32_t id);
OwnSegment NewSegment(Stage& stage, uint32_t id, bool sealed = true);
// With a chunk taken and filled for each of the seeds, `bytes` of it.
OwnSegment FilledSegment(Stage& stage, uint32_t id, uint32_t bytes,
                         const std::vector<uint64_t>& seeds = {1});
Datagram Announcement(Stage& stage, const OwnSegment& segment);
void Announce(Stage& stage, const OwnSegment& segment);
Datagram Referring(uint32_t stream, const std::vector<Reference>& references);
// The delivery of a message whose bytes are `bytes`.
Expected DeliveryOf(Stage& stage, uint32_t stream, const std::vector<uint8_t>& bytes, Rule blame);
void Refuses(Stage& stage, const Datagram& datagram, Rule rule, Rule blame);

Piece Shared(uint32_t bytes, uint64_t seed = 1, bool adjacent = false);
// Writes a message, whose stream is its id, and settles.
void Send(Stage& stage, int64_t id, std::vector<Piece> chain);
// What was sent is freed by us, all else by the testee: then nothing is busy.
void NothingBusy(Stage& stage);

inline bool Announcing(const Profile& profile) { return !profile.queues; }
inline bool Asking(const Profile& profile) { return profile.queues; }

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_SEGMENT_PLAY_H_
