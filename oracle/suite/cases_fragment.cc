// Reassembly: FRG-1, FRG-2, FRG-3, FRG-4, FRG-5, FRG-6, FRG-7, FRG-8, FRG-9.
#include "absl/strings/str_cat.h"
#include "oracle/suite/case.h"

namespace portproof::suite {
namespace {

void DuplicateStart(Stage& stage) {
  stage.Post(Datagram(5).Bytes(10).Mf());
  stage.Post(Datagram(5).Bytes(7, 2).Mf());
  stage.Post(Datagram(5).Bytes(4, 3).Nf());
  stage.Settle();
  stage.Post(Datagram(5).Bytes(4, 4).Nf().About(Rule::kFrg1));
  stage.Settle();
}

void DuplicateStartWithFds(Stage& stage) {
  stage.Post(Datagram(5).Bytes(10).Mf().Fds(1));
  stage.Post(Datagram(5).Bytes(7, 2).Mf().Fds(1));
  stage.Post(Datagram(5).Bytes(4, 3).Nf());
  stage.Settle();
}

void Orphans(Stage& stage) {
  stage.Post(Datagram(6).Bytes(10).Nf().Mf());
  stage.Post(Datagram(6).Bytes(10).Nf());
  stage.Post(Datagram(0).Bytes(10).Nf());
  stage.Settle();
}

void AfterTheEnd(Stage& stage) {
  stage.Post(Datagram(6).Bytes(3).Mf());
  stage.Post(Datagram(6).Bytes(3, 2).Nf());
  stage.Post(Datagram(6).Bytes(3, 3).Nf().About(Rule::kFrg2));
  stage.Settle();
}

void AnotherType(Stage& stage) {
  const auto other = stage.other_type();
  const uint8_t type = other ? *other : uint8_t{0};
  if (!other) stage.Unsupported("two types with handlers");
  stage.Post(Datagram(5).Bytes(10).Mf());
  stage.Post(Datagram(5).Type(type).Bytes(4, 2).Nf().Mf());
  stage.Post(Datagram(5).Bytes(4, 3).Nf().About(Rule::kFrg3));
  stage.Settle();
}

void OtherFieldsAreAccepted(Stage& stage) {
  stage.Post(Datagram(5).Bytes(10).Reply(0x0303).Mf());
  stage.Post(Datagram(5).Bytes(4, 2).Reply(0x0909).Nf().About(Rule::kFrg3));
  stage.Settle();
}

void WholeOnce(Stage& stage) {
  const uint32_t limit = stage.limit();
  for (const uint32_t fragments : {2u, 3u, 9u}) {
    for (uint32_t i = 0; i < fragments; ++i) {
      Datagram datagram(7);
      datagram.Bytes(i + 1 < fragments ? limit : 5, i + 1);
      if (i > 0) datagram.Nf();
      if (i + 1 < fragments) datagram.Mf();
      stage.Post(datagram);
    }
    stage.Settle();
  }
}

void EverySplit(Stage& stage) {
  constexpr uint32_t kBytes = 5;
  const std::vector<uint8_t> bytes = Pattern(3, kBytes);
  for (uint32_t cuts = 0; cuts < 1u << (kBytes - 1); ++cuts) {
    std::vector<uint8_t> part;
    bool first = true;
    for (uint32_t i = 0; i < kBytes; ++i) {
      part.push_back(bytes[i]);
      const bool end = i + 1 == kBytes;
      if (!end && (cuts >> i & 1) == 0) continue;
      Datagram datagram(8);
      datagram.Payload(part);
      if (!first) datagram.Nf();
      if (!end) datagram.Mf();
      stage.Post(datagram);
      part.clear();
      first = false;
    }
  }
  stage.Settle();
}

// The mark on each fragment in turn.
void LastOfAnyFragment(Stage& stage) {
  for (uint32_t marked = 0; marked < 3; ++marked) {
    for (uint32_t i = 0; i < 3; ++i) {
      Datagram datagram(9);
      datagram.Bytes(3, i);
      if (i > 0) datagram.Nf();
      if (i < 2) datagram.Mf();
      if (i == marked) datagram.Last();
      stage.Post(datagram);
    }
    stage.Settle();
  }
}

void Interleaved(Stage& stage) {
  for (const uint32_t stream : {0u, 1u, 2u})
    stage.Post(Datagram(stream).Bytes(4 + stream, stream).Mf());
  for (const uint32_t stream : {2u, 0u, 1u})
    stage.Post(Datagram(stream).Bytes(3, 10 + stream).Nf().Mf());
  for (const uint32_t stream : {1u, 2u, 0u}) stage.Post(Datagram(stream).Bytes(2, 20).Nf());
  stage.Settle();
}

void TwoSendersOneStream(Stage& stage) {
  stage.Post(Datagram(5).Bytes(10).Mf());
  stage.PostFromOther({Datagram(5).Bytes(7, 2).Mf().About(Rule::kFrg1),
                       Datagram(5).Bytes(7, 3).Nf().About(Rule::kFrg1)});
  stage.Post(Datagram(5).Bytes(4, 4).Nf());
  stage.Settle();
}

void OldKeyIsTheStream(Stage& stage) {
  stage.Post(Datagram(5).Bytes(10).Pid(101).Mf());
  stage.Post(Datagram(5).Bytes(10, 2).Pid(102).Mf());
  stage.Post(Datagram(5).Bytes(4, 3).Pid(102).Nf().About(Rule::kFrg1));
  stage.Settle();
}

void WholeMessageBetween(Stage& stage) {
  stage.Post(Datagram(5).Bytes(10).Mf());
  stage.Post(Datagram(5).Bytes(3, 2).About(Rule::kFrg6));
  stage.Post(Datagram(5).Bytes(4, 3).Nf());
  stage.Settle();
}

void EmptyFragments(Stage& stage) {
  stage.Post(Datagram(5).Mf().About(Rule::kFrg7));
  stage.Post(Datagram(5).Nf().Mf().About(Rule::kFrg7));
  stage.Post(Datagram(5).Bytes(4).Nf().Mf().About(Rule::kFrg7));
  stage.Post(Datagram(5).Nf().About(Rule::kFrg7));
  stage.Settle();
}

void HangUpDiscards(Stage& stage) {
  stage.Post(Datagram(5).Bytes(10).Mf().Fds(1));
  stage.Settle();
  const FileId file = stage.posted_fds().back();
  stage.link().CloseA();
  const std::vector<SeenEvent> events = stage.RunOnce();
  stage.Expect(events.size() == 1 && events[0].kind == SeenEvent::Kind::kClosed, Rule::kFrg9,
               "closed, and nothing delivered",
               events.empty() ? "nothing" : ToString(events.back()));
  stage.Expect(stage.OpenCount(file) == 0, Rule::kFrg9, "the descriptors of what was open closed",
               "still open");
  const Json stats = stage.Stats();
  stage.Expect(stats.value("open_assemblies", 0) == 0, Rule::kFrg9, "no open assembly",
               stats.dump());
}

void RemovePidDiscards(Stage& stage) {
  const auto type = stage.NumberFor(Type::kRemovePid);
  if (!type) return;
  const int32_t other = stage.PostFromOther({Datagram(5).Bytes(10).Mf().Fds(1)});
  std::vector<uint8_t> payload(4);
  Store<uint32_t>(static_cast<uint32_t>(other), payload.data(), MachineByteOrder());
  stage.Post(Datagram(0).Type(*type).Payload(payload).About(Rule::kFrg9));
  stage.received().DiscardSender(other);
  stage.Settle();
  stage.Expect(stage.OpenCount(stage.posted_fds().front()) == 0, Rule::kFrg9,
               "the descriptors of the dead sender's message closed", "still open");
}

bool KeyHasSender(const Profile& profile) { return profile.key_has_sender; }
bool KeyIsStream(const Profile& profile) { return !profile.key_has_sender; }

}  // namespace

void AddFragmentCases(CaseList& cases) {
  const std::vector<std::string> fragments = {"fragments"};
  const std::vector<std::string> both = {"fragments", "fds"};
  Add(cases, "FRG-1/duplicate-start-keeps-the-first", DuplicateStart).Needs(fragments);
  Add(cases, "FRG-1/duplicate-start-with-fds", DuplicateStartWithFds).Needs(both);
  Add(cases, "FRG-1/two-senders-with-one-stream", TwoSendersOneStream)
      .Needs(fragments)
      .Applies(KeyHasSender);
  Add(cases, "FRG-1/old-key-is-the-stream", OldKeyIsTheStream)
      .Needs(fragments)
      .Home("unit-0.2")
      .Applies(KeyIsStream);
  Add(cases, "FRG-2/orphans-are-refused", Orphans).Needs(fragments);
  Add(cases, "FRG-2/nothing-after-the-end", AfterTheEnd).Needs(fragments);
  Add(cases, "FRG-3/another-type-discards", AnotherType).Needs(fragments);
  Add(cases, "FRG-3/another-reply-port-is-accepted", OtherFieldsAreAccepted).Needs(fragments);
  Add(cases, "FRG-4/delivered-once-and-whole", WholeOnce).Needs(fragments);
  Add(cases, "FRG-4/old-fragments-are-larger", WholeOnce)
      .Needs(fragments)
      .Home("unit-0.2")
      .Applies([](const Profile& profile) { return !profile.header_within_max; });
  Add(cases, "FRG-4/every-split-of-five-bytes", EverySplit).Needs(fragments);
  Add(cases, "FRG-4/last-of-any-fragment", LastOfAnyFragment).Needs(fragments);
  Add(cases, "FRG-4/interleaved-streams", Interleaved).Needs(fragments);
  Add(cases, "FRG-6/a-whole-message-between", WholeMessageBetween).Needs(fragments);
  Add(cases, "FRG-7/empty-fragments-are-accepted", EmptyFragments).Needs(fragments);
  Add(cases, "FRG-9/hang-up-discards", HangUpDiscards).Needs(both).EndsPort();
  Add(cases, "FRG-9/remove-pid-discards", RemovePidDiscards).Needs(both);
}

}  // namespace portproof::suite
