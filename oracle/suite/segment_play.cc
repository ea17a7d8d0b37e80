#include "oracle/suite/segment_play.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace portproof::suite {

SegmentHeader HeaderFor(Stage& stage, uint32_t id) {
  // From 1.19 on a router's segments are for any; an application's are for the router.
  const bool any = stage.profile().queues && stage.hello().process != "router";
  return {.id = id,
          .source_pid = getpid(),
          .destination_pid = any ? 0 : stage.hello().pid,
          .sent_over = any ? kSentOverAny : uint16_t{1}};
}

OwnSegment NewSegment(Stage& stage, uint32_t id, bool sealed) {
  return OwnSegment(HeaderFor(stage, id), stage.profile().segment_layout, sealed);
}

OwnSegment FilledSegment(Stage& stage, uint32_t id, uint32_t bytes,
                         const std::vector<uint64_t>& seeds) {
  OwnSegment segment = NewSegment(stage, id);
  segment.Take(0, static_cast<uint32_t>(seeds.size()));
  for (uint32_t chunk = 0; chunk < seeds.size(); ++chunk)
    segment.Fill(chunk, Pattern(seeds[chunk], bytes));
  return segment;
}

Datagram Announcement(Stage& stage, const OwnSegment& segment) {
  return Datagram(0).Type(stage.WireNumber(Type::kMmap)).Last().FdsOf({segment.fd()});
}

void Announce(Stage& stage, const OwnSegment& segment) {
  stage.PostExpecting(Announcement(stage, segment), {});
  stage.SettleSilently(Rule::kShm8);
  stage.Settle();
}

Datagram Referring(uint32_t stream, const std::vector<Reference>& references) {
  std::vector<uint8_t> payload;
  EncodeReferences(references, std::nullopt, MachineByteOrder(), payload);
  return Datagram(stream).Mmap().Payload(payload);
}

Expected DeliveryOf(Stage& stage, uint32_t stream, const std::vector<uint8_t>& bytes, Rule blame) {
  return stage.Delivery(Datagram(stream).Payload(bytes), blame);
}

void Refuses(Stage& stage, const Datagram& datagram, Rule rule, Rule blame) {
  stage.PostExpecting(datagram, {stage.Refusal(rule, blame)});
  stage.Settle();
}

Piece Shared(uint32_t bytes, uint64_t seed, bool adjacent) {
  return {.bytes = bytes, .seed = seed, .adjacent = adjacent, .shm = true};
}

void Send(Stage& stage, int64_t id, std::vector<Piece> chain) {
  stage.Write(stage.MessageOf(id, std::move(chain)));
  stage.Settle();
}

void NothingBusy(Stage& stage) {
  stage.peer_memory().ReleaseAll();
  stage.Expect(stage.peer_memory().busy_chunks() == 0, Rule::kShm6,
               "all chunks free when nothing is in flight",
               absl::StrCat(stage.peer_memory().busy_chunks(), " busy"));
}

}  // namespace portproof::suite
