// Shared memory, both roles: SHM-1, SHM-2, SHM-3, SHM-4, SHM-5, SHM-6, SHM-7, SHM-8,
// SHM-9, SHM-10, SHM-11.
#include <sys/mman.h>

#include "absl/strings/str_cat.h"
#include "oracle/suite/case.h"
#include "oracle/suite/segment_play.h"

namespace portproof::suite {
namespace {

constexpr const char* kAnnouncing = "unit-1.18.0";

void NotAList(Stage& stage) {
  OwnSegment segment = NewSegment(stage, 0);
  Announce(stage, segment);
  for (const size_t bytes : {0, 1, 11, 13, 23})
    Refuses(stage, Datagram(5).Mmap().Bytes(bytes), Rule::kShm1, Rule::kShm1);
}

Datagram Tracked(uint32_t stream, uint32_t slot, uint32_t chunk) {
  const std::vector<Reference> references = {{0, chunk, 100}};
  std::vector<uint8_t> payload;
  EncodeReferences(references, Tracking{0, slot}, MachineByteOrder(), payload);
  return Datagram(stream).Mmap().Byte15(1).Payload(payload);
}

// A segment whose first chunks are filled, and the last of its tracking slots.
OwnSegment SegmentToTrack(Stage& stage, uint32_t& last_slot) {
  OwnSegment segment = NewSegment(stage, 0);
  Announce(stage, segment);
  segment.Take(0, 4);
  for (uint32_t chunk = 0; chunk < 4; ++chunk) segment.Fill(chunk, Pattern(chunk, 100));
  last_slot = TrackingSlots(stage.profile().segment_layout, kUnitGeometry) - 1;
  return segment;
}

void TrackingBefore(Stage& stage) {
  uint32_t last_slot = 0;
  OwnSegment segment = SegmentToTrack(stage, last_slot);
  uint32_t chunk = 0;
  for (const uint32_t slot : {0U, 3U, last_slot}) {
    segment.Track(slot, 5);
    stage.PostExpecting(Tracked(5, slot, chunk),
                        {DeliveryOf(stage, 5, Pattern(chunk, 100), Rule::kShm1)});
    stage.Settle();
    stage.Expect(segment.TrackedStream(slot) == 0, Rule::kShm14, "the message's word taken: 0",
                 absl::StrCat(segment.TrackedStream(slot)));
    ++chunk;
  }
}

// Taken back before the datagram came, whole and in fragments.
void TakenBack(Stage& stage) {
  uint32_t last_slot = 0;
  OwnSegment segment = SegmentToTrack(stage, last_slot);
  segment.Track(2, 6);  // another message's
  stage.PostExpecting(Tracked(5, 1, 0), {});
  stage.PostExpecting(Tracked(5, 2, 1), {});
  stage.PostExpecting(Tracked(7, last_slot, 2).Mf(), {});
  stage.PostExpecting(Datagram(7).Bytes(10).Nf().Mf(), {});
  stage.PostExpecting(Datagram(7).Bytes(10).Nf(), {});
  stage.Settle();
  stage.Expect(segment.AllFree(0, 3), Rule::kShm6, "the chunks of a cancelled message freed",
               "still busy");
  stage.Expect(segment.TrackedStream(2) == 6, Rule::kShm14, "another message's word left alone",
               absl::StrCat(segment.TrackedStream(2)));
  stage.PostExpecting(Datagram(7).Bytes(10).Mf(), {});
  std::vector<uint8_t> whole = Pattern(1, 10);
  const std::vector<uint8_t> rest = Pattern(1, 10);
  whole.insert(whole.end(), rest.begin(), rest.end());
  stage.PostExpecting(Datagram(7).Bytes(10).Nf(), {DeliveryOf(stage, 7, whole, Rule::kShm14)});
  stage.Settle();
}

void OutOfRange(Stage& stage) {
  OwnSegment segment = NewSegment(stage, 0);
  Announce(stage, segment);
  segment.Take(0, 640);
  for (const Reference& reference :
       {Reference{0, 0, 0}, Reference{0, 640, 1}, Reference{0, 639, kChunk + 1},
        Reference{0, 0xffffffff, 1}, Reference{0, 1, 0xffffffff}, Reference{0, 0, 641 * kChunk}})
    Refuses(stage, Referring(5, {reference}), Rule::kShm2, Rule::kShm2);
}

void FreeChunksReferred(Stage& stage) {
  OwnSegment segment = NewSegment(stage, 0);
  Announce(stage, segment);
  segment.Take(0, 1);
  Refuses(stage, Referring(5, {{0, 0, kChunk + 1}}), Rule::kShm2, Rule::kShm2);
}

void Overlapping(Stage& stage) {
  OwnSegment segment = NewSegment(stage, 0);
  Announce(stage, segment);
  segment.Take(0, 4);
  Refuses(stage, Referring(5, {{0, 0, 2 * kChunk}, {0, 1, 10}}), Rule::kShm2, Rule::kShm2);
}

void OverlappingWhatIsHeld(Stage& stage) {
  OwnSegment segment = NewSegment(stage, 0);
  Announce(stage, segment);
  segment.Take(0, 1);
  segment.Fill(0, Pattern(1, 100));
  stage.PostExpecting(Referring(6, {{0, 0, 100}}).Mf(), {});
  Refuses(stage, Referring(5, {{0, 0, 50}}), Rule::kShm2, Rule::kShm2);
  stage.Expect(segment.AllBusy(0, 1), Rule::kShm6, "an open message keeps its chunk", "freed");
  std::vector<uint8_t> whole = Pattern(1, 100);
  const std::vector<uint8_t> rest = Pattern(7, 2);
  whole.insert(whole.end(), rest.begin(), rest.end());
  stage.PostExpecting(Datagram(6).Bytes(2, 7).Nf(), {DeliveryOf(stage, 6, whole, Rule::kShm2)});
  stage.Settle();
}

void GoodOnesAreReleased(Stage& stage) {
  OwnSegment segment = NewSegment(stage, 0);
  Announce(stage, segment);
  segment.Take(0, 4);
  Refuses(stage, Referring(5, {{0, 0, 10}, {0, 700, 10}, {0, 2, 10}}), Rule::kShm2, Rule::kShm2);
  stage.Expect(segment.AllFree(0, 1) && segment.AllFree(2, 1), Rule::kShm2,
               "the chunks of the valid references released", "still busy");
  stage.Expect(segment.AllBusy(1, 1) && segment.AllBusy(3, 1), Rule::kShm6,
               "no other chunk touched", "freed");
}

void FreedWhenDone(Stage& stage) {
  OwnSegment segment = NewSegment(stage, 0);
  Announce(stage, segment);
  segment.Take(0, 3);
  const std::vector<uint8_t> bytes = Pattern(1, 2 * kChunk + 100);
  segment.Fill(0, bytes);
  stage.PostExpecting(Referring(5, {{0, 0, 2 * kChunk + 100}}),
                      {DeliveryOf(stage, 5, bytes, Rule::kShm6)});
  stage.Settle();
  stage.Expect(segment.AllFree(0, 3), Rule::kShm6, "chunks freed when the handler is done",
               "still busy");
  // Ours again: whoever frees them a second time frees what is not his.
  segment.Take(0, 3);
  stage.Post(Datagram(5).Bytes(3));
  stage.Settle();
  stage.Expect(segment.AllBusy(0, 3), Rule::kShm6, "each chunk freed once", "freed again");
  stage.Expect(stage.Stats().value("chunks_busy", 0) == 0, Rule::kShm6, "no chunk held",
               stage.Stats().dump());
}

void RefusedFragmentsAreReleased(Stage& stage) {
  OwnSegment segment = NewSegment(stage, 0);
  Announce(stage, segment);
  segment.Take(0, 2);
  Refuses(stage, Referring(5, {{0, 0, 10}}).Nf(), Rule::kFrg2, Rule::kFrg2);
  stage.Expect(segment.AllFree(0, 1), Rule::kShm6, "the chunks of a refused fragment released",
               "still busy");
  stage.PostExpecting(Datagram(6).Bytes(3).Mf(), {});
  Refuses(stage, Referring(6, {{0, 1, 10}}).Mf(), Rule::kFrg1, Rule::kFrg1);
  stage.Expect(segment.AllFree(1, 1), Rule::kShm6, "the chunks of a duplicate start released",
               "still busy");
}

void SharedAndPlainFragments(Stage& stage) {
  OwnSegment segment = NewSegment(stage, 0);
  Announce(stage, segment);
  segment.Take(0, 1);
  segment.Fill(0, Pattern(2, 500));
  std::vector<uint8_t> whole = Pattern(1, 10);
  const std::vector<uint8_t> second = Pattern(2, 500);
  const std::vector<uint8_t> third = Pattern(3, 7);
  whole.insert(whole.end(), second.begin(), second.end());
  whole.insert(whole.end(), third.begin(), third.end());
  stage.PostExpecting(Datagram(5).Bytes(10, 1).Mf(), {});
  stage.PostExpecting(Referring(5, {{0, 0, 500}}).Nf().Mf(), {});
  stage.PostExpecting(Datagram(5).Bytes(7, 3).Nf(), {DeliveryOf(stage, 5, whole, Rule::kFrg4)});
  stage.Settle();
}

void BadAnnouncements(Stage& stage) {
  const SegmentLayout layout = stage.profile().segment_layout;
  const OwnSegment shorter(HeaderFor(stage, 0), layout, true, 8192);
  Refuses(stage, Announcement(stage, shorter), Rule::kShm8, Rule::kShm8);
  SegmentHeader header = HeaderFor(stage, 0);
  header.source_pid = getpid() + 1;
  const OwnSegment foreign(header, layout);
  if (layout != SegmentLayout::kSeed)
    Refuses(stage, Announcement(stage, foreign), Rule::kShm8, Rule::kShm8);
  header = HeaderFor(stage, 0xffffffff);
  const OwnSegment far(header, layout);
  Refuses(stage, Announcement(stage, far), Rule::kShm8, Rule::kShm8);
  for (const OwnSegment* segment : {&shorter, &foreign, &far})
    stage.Expect(stage.OpenCount(FileIdOf(segment->fd())) == 0, Rule::kShm8,
                 "the announced descriptor closed", "still open");
}

void DuplicateAnnouncement(Stage& stage) {
  OwnSegment first = NewSegment(stage, 0);
  OwnSegment second = NewSegment(stage, 0);
  Announce(stage, first);
  Refuses(stage, Announcement(stage, second), Rule::kShm8, Rule::kShm8);
  first.Take(0, 1);
  first.Fill(0, Pattern(1, 100));
  second.Take(0, 1);
  second.Fill(0, Pattern(2, 100));
  stage.PostExpecting(Referring(5, {{0, 0, 100}}),
                      {DeliveryOf(stage, 5, Pattern(1, 100), Rule::kShm8)});
  stage.Settle();
}

// With a guard or without one: a peer that shrinks its file kills nobody.
void ShrunkSegment(Stage& stage) {
  OwnSegment segment = NewSegment(stage, 0, false);
  segment.Take(0, 640);
  stage.PostExpecting(Announcement(stage, segment), {});
  stage.RunOnce();
  segment.Shrink();
  stage.PostExpecting(Referring(5, {{0, 0, 100}, {0, 600, 100}}), {});
  stage.RunOnce();
  stage.RunOnce();
}

void UnknownSegmentIsRefused(Stage& stage) {
  Expected refused = stage.Refusal(Rule::kShm10, Rule::kShm10);
  refused.any_rule = true;  // SHM-2 speaks of it too
  stage.PostExpecting(Referring(5, {{3, 0, 100}}), {refused});
  stage.Settle();
}

void SharedGoesByReference(Stage& stage) {
  Send(stage, 1, {Shared(20000)});
  Send(stage, 2, {Shared(13, 2), {.sync = true, .last = true}});
  Send(stage, 3, {Shared(kChunk, 3), Shared(100, 4), Shared(3 * kChunk, 5)});
  NothingBusy(stage);
}

void MixedGoesPlain(Stage& stage) {
  Send(stage, 1, {Shared(20000), {.bytes = 5, .seed = 2}});
  Send(stage, 2, {{.bytes = 5, .seed = 2}, Shared(20000)});
  NothingBusy(stage);
}

// Of a segment that we know; each message alone, so that nothing else can go wrong before.
void UnsentChunks(Stage& stage) {
  Send(stage, 1, {Shared(20000)});
  NothingBusy(stage);
  for (int64_t id = 2; id < 5; ++id) {
    Send(stage, id, {Shared(20000), {.bytes = 5, .seed = 2}});
    NothingBusy(stage);
  }
}

void SmallGoesPlain(Stage& stage) {
  Send(stage, 1, {Shared(100)});
  Send(stage, 2, {Shared(12)});
  Send(stage, 3, {Shared(1), Shared(11, 2)});
  NothingBusy(stage);
}

void FlagPerDatagram(Stage& stage) {
  Send(stage, 1, {Shared(100)});
  Send(stage, 2, {{.bytes = 5, .seed = 2}});
  std::vector<Piece> chain;
  for (uint64_t i = 0; i < 79; ++i) chain.push_back(Shared(10, i));
  chain.push_back(Shared(5, 100));
  Send(stage, 3, chain);
  NothingBusy(stage);
}

void LowestFirst(Stage& stage) {
  Send(stage, 1, {Shared(100), Shared(kChunk + 1, 2), Shared(100, 3)});
  const std::vector<Reference>& held = stage.peer_memory().held();
  const bool right = held.size() == 3 && held[0].first_chunk == 0 &&
                     held[1].first_chunk > held[0].first_chunk &&
                     held[2].first_chunk > held[1].first_chunk + 1;
  stage.Expect(right, Rule::kShm7, "chunk 0 first, then those behind it",
               held.empty() ? "no references" : ToString(held.front()));
  stage.peer_memory().ReleaseAll();
  Send(stage, 2, {Shared(100, 4)});
  stage.Expect(!held.empty() && held.front().first_chunk == 0, Rule::kShm7,
               "the lowest free chunk again", held.empty() ? "none" : ToString(held.front()));
  NothingBusy(stage);
}

void AdjacentFilledOnes(Stage& stage) {
  Send(stage, 1, {Shared(kChunk), Shared(kChunk, 2, true), Shared(70, 3, true)});
  const size_t references = stage.peer_memory().held().size();
  stage.Expect(references == 1, Rule::kShm11, "one reference for adjacent filled buffers",
               absl::StrCat(references));
  NothingBusy(stage);
}

bool Tracks(const Profile& profile) { return profile.byte15 == Byte15::kTracking; }

}  // namespace

void AddMemoryCases(CaseList& cases) {
  const auto receive = [&](const char* name, void (*play)(Stage&),
                           const std::vector<Rule>& more = {}) -> Case& {
    return Add(cases, name, play, more).Needs({"shm-receive", "fragments"}).FreeFiles();
  };
  receive("SHM-1/not-a-list-of-references", NotAList);
  receive("SHM-1/tracking-before-the-references", TrackingBefore, {Rule::kShm14})
      .Applies(Tracks)
      .Home("unit-1.13.0");
  receive("SHM-14/taken-back-before-it-came", TakenBack, {Rule::kShm6})
      .Applies(Tracks)
      .Home(kAnnouncing);
  receive("SHM-2/out-of-range", OutOfRange);
  receive("SHM-2/free-chunks", FreeChunksReferred);
  receive("SHM-2/overlap-in-a-message", Overlapping);
  receive("SHM-2/overlap-with-what-is-held", OverlappingWhatIsHeld, {Rule::kShm6});
  receive("SHM-2/valid-references-are-released", GoodOnesAreReleased, {Rule::kShm6});
  receive("SHM-6/freed-once-when-done", FreedWhenDone);
  receive("SHM-6/old-freed-once-when-done", FreedWhenDone).Home("unit-0.2").Applies(Announcing);
  receive("SHM-6/refused-fragments-are-released", RefusedFragmentsAreReleased);
  receive("FRG-4/shared-and-plain-fragments", SharedAndPlainFragments);
  receive("SHM-8/bad-announcements", BadAnnouncements);
  receive("SHM-8/duplicate-announcement", DuplicateAnnouncement);
  receive("SHM-8/a-shrunk-segment-kills-nobody", ShrunkSegment);
  receive("SHM-10/an-unknown-segment-is-refused", UnknownSegmentIsRefused)
      .Home(kAnnouncing)
      .Applies(Announcing);
  const auto send = [&](const char* name, void (*play)(Stage&),
                        const std::vector<Rule>& more = {}) -> Case& {
    return Add(cases, name, play, more).Role("sender").Needs({"shm-send", "fragments"}).FreeFiles();
  };
  send("SHM-3/shared-goes-by-reference", SharedGoesByReference, {Rule::kShm10, Rule::kShm6});
  send("SHM-3/old-shared-goes-by-reference", SharedGoesByReference, {Rule::kShm10, Rule::kShm6})
      .Home("unit-0.2")
      .Applies(Announcing);
  send("SHM-3/mixed-goes-plain", MixedGoesPlain, {Rule::kShm6});
  send("SHM-4/twelve-bytes-go-plain", SmallGoesPlain, {Rule::kShm6});
  send("SHM-5/the-flag-is-of-a-datagram", FlagPerDatagram);
  send("SHM-6/unsent-chunks-are-the-senders-to-free", UnsentChunks);
  send("SHM-7/lowest-chunks-first", LowestFirst);
  send("SHM-8/what-a-sender-announces", SharedGoesByReference);
  send("SHM-10/announced-before-it-is-used", SharedGoesByReference)
      .Home(kAnnouncing)
      .Applies(Announcing);
  send("SHM-11/adjacent-filled-buffers", AdjacentFilledOnes);
  send("FDS-6/an-announcement-carries-its-segment", SharedGoesByReference);
}

}  // namespace portproof::suite
