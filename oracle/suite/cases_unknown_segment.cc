// Segments that nobody announced, both roles: SHM-10 from 1.19 on, FRG-8, FRG-9.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "oracle/suite/case.h"
#include "oracle/suite/segment_play.h"

namespace portproof::suite {
namespace {

constexpr uint64_t kHeldReachable = 2000;

std::vector<uint32_t> Sorted(std::vector<uint32_t> ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

// Exactly these questions so far, in whatever order.
void Asked(Stage& stage, const std::vector<uint32_t>& ids) {
  stage.Expect(Sorted(stage.questions()) == Sorted(ids), Rule::kShm10,
               absl::StrCat("get_mmap for segments [", absl::StrJoin(ids, " "), "], one each"),
               absl::StrCat("[", absl::StrJoin(stage.questions(), " "), "]"));
}

// Held: nothing may come of it before the announcement.
void Holds(Stage& stage, const Datagram& datagram) {
  stage.PostExpecting(datagram, {});
  stage.SettleSilently(Rule::kShm10);
}

Expected Delivers(Stage& stage, uint32_t stream, uint64_t seed, uint32_t bytes = 100) {
  Expected expected = DeliveryOf(stage, stream, Pattern(seed, bytes), Rule::kShm10);
  return expected;
}

void AnnounceExpecting(Stage& stage, const OwnSegment& segment, std::vector<Expected> expected) {
  stage.PostExpecting(Announcement(stage, segment), std::move(expected));
  stage.SettleInAnyOrder();
}

void IsAskedFor(Stage& stage) {
  OwnSegment segment = FilledSegment(stage, 2, 100, {1, 2});
  Holds(stage, Referring(5, {{2, 0, 100}}));
  Asked(stage, {2});
  AnnounceExpecting(stage, segment, {Delivers(stage, 5, 1)});
  stage.Expect(segment.AllFree(0, 1), Rule::kShm6, "chunks freed when the handler is done",
               "still busy");
  stage.PostExpecting(Referring(5, {{2, 1, 100}}), {Delivers(stage, 5, 2)});
  stage.Settle();
  Asked(stage, {2});
}

void IsAskedForOnce(Stage& stage) {
  OwnSegment segment = FilledSegment(stage, 2, 100, {1, 2});
  std::vector<uint8_t> both = Pattern(1, 100);
  const std::vector<uint8_t> second = Pattern(2, 100);
  both.insert(both.end(), second.begin(), second.end());
  Holds(stage, Referring(5, {{2, 0, 100}, {2, 1, 100}}));
  Asked(stage, {2});
  AnnounceExpecting(stage, segment, {DeliveryOf(stage, 5, both, Rule::kShm10)});
}

// Whether the second message asks again is the testee's own matter.
void TwoWaitForOne(Stage& stage) {
  OwnSegment segment = FilledSegment(stage, 2, 100, {1, 2});
  Holds(stage, Referring(5, {{2, 0, 100}}));
  Holds(stage, Referring(6, {{2, 1, 100}}));
  if (stage.questions().size() != 2) Asked(stage, {2});
  AnnounceExpecting(stage, segment, {Delivers(stage, 5, 1), Delivers(stage, 6, 2)});
}

void OthersGoOn(Stage& stage) {
  OwnSegment segment = FilledSegment(stage, 2, 100);
  OwnSegment known = FilledSegment(stage, 3, 50);
  Announce(stage, known);
  Holds(stage, Referring(5, {{2, 0, 100}}));
  stage.PostExpecting(Datagram(6).Bytes(7, 3), {Delivers(stage, 6, 3, 7)});
  stage.PostExpecting(Referring(7, {{3, 0, 50}}), {Delivers(stage, 7, 1, 50)});
  stage.Settle();
  Asked(stage, {2});
  AnnounceExpecting(stage, segment, {Delivers(stage, 5, 1)});
}

void InAnyOrder(Stage& stage) {
  OwnSegment first = FilledSegment(stage, 1, 100, {1});
  OwnSegment second = FilledSegment(stage, 2, 100, {2});
  Holds(stage, Referring(5, {{1, 0, 100}}));
  Holds(stage, Referring(6, {{2, 0, 100}}));
  Asked(stage, {1, 2});
  AnnounceExpecting(stage, second, {Delivers(stage, 6, 2)});
  AnnounceExpecting(stage, first, {Delivers(stage, 5, 1)});
  Asked(stage, {1, 2});
}

// It may ask for both at once, or for the other when it knows the first.
void OneMessageOfTwo(Stage& stage) {
  OwnSegment first = FilledSegment(stage, 1, 100, {1});
  OwnSegment second = FilledSegment(stage, 2, 100, {2});
  std::vector<uint8_t> both = Pattern(1, 100);
  const std::vector<uint8_t> behind = Pattern(2, 100);
  both.insert(both.end(), behind.begin(), behind.end());
  Holds(stage, Referring(5, {{1, 0, 100}, {2, 0, 100}}));
  AnnounceExpecting(stage, second, {});
  AnnounceExpecting(stage, first, {DeliveryOf(stage, 5, both, Rule::kShm10)});
  if (stage.questions().size() != 1) Asked(stage, {1, 2});
}

void LaterFragmentsWait(Stage& stage) {
  OwnSegment segment = FilledSegment(stage, 2, 500, {2});
  std::vector<uint8_t> whole = Pattern(2, 500);
  const std::vector<uint8_t> third = Pattern(3, 7);
  whole.insert(whole.end(), third.begin(), third.end());
  Holds(stage, Referring(5, {{2, 0, 500}}).Mf());
  Holds(stage, Datagram(5).Bytes(7, 3).Nf());
  Asked(stage, {2});
  AnnounceExpecting(stage, segment, {DeliveryOf(stage, 5, whole, Rule::kShm10)});
}

void LaterFragmentIsHeld(Stage& stage) {
  OwnSegment segment = FilledSegment(stage, 2, 500, {2});
  std::vector<uint8_t> whole = Pattern(3, 7);
  const std::vector<uint8_t> second = Pattern(2, 500);
  whole.insert(whole.end(), second.begin(), second.end());
  Holds(stage, Datagram(5).Bytes(7, 3).Mf());
  Holds(stage, Referring(5, {{2, 0, 500}}).Nf());
  Asked(stage, {2});
  AnnounceExpecting(stage, segment, {DeliveryOf(stage, 5, whole, Rule::kShm10)});
}

void ThenJudged(Stage& stage) {
  OwnSegment segment = FilledSegment(stage, 2, 100);
  Holds(stage, Referring(5, {{2, 0, 100}, {2, 7, 100}}));
  AnnounceExpecting(stage, segment, {stage.Refusal(Rule::kShm2, Rule::kShm2)});
  stage.Expect(segment.AllFree(0, 1), Rule::kShm2, "the chunks of the valid references released",
               "still busy");
}

void HeldOnesCount(Stage& stage) {
  const Limits& limits = stage.limits();
  const uint64_t most = std::min(limits.assemblies_per_sender, limits.assemblies_per_port);
  if (most > kHeldReachable) stage.Unsupported("a limit within reach");
  OwnSegment segment = NewSegment(stage, 2);
  segment.Take(0, 640);
  std::vector<Expected> delivered;
  for (uint32_t i = 0; i < most; ++i) {
    stage.PostExpecting(Referring(i + 1, {{2, i % 640, 1}}), {});
    segment.Fill(i % 640, Pattern(1, 1));
    if (i < 640) delivered.push_back(DeliveryOf(stage, i + 1, Pattern(1, 1), Rule::kShm10));
    if (i % 64 == 63) stage.SettleSilently(Rule::kShm10);
  }
  stage.SettleSilently(Rule::kShm10);
  const auto beyond = static_cast<uint32_t>(most + 1);
  Refuses(stage, Referring(beyond, {{2, 0, 1}}), Rule::kFrg8, Rule::kFrg8);
  Refuses(stage, Datagram(beyond).Bytes(1).Mf(), Rule::kFrg8, Rule::kFrg8);
  if (most <= 640) AnnounceExpecting(stage, segment, std::move(delivered));
}

void HangUpDiscardsHeld(Stage& stage) {
  Holds(stage, Referring(5, {{2, 0, 100}}).Fds(1));
  stage.link().CloseA();
  const std::vector<SeenEvent> events = stage.RunOnce();
  stage.Expect(events.size() == 1 && events[0].kind == SeenEvent::Kind::kClosed, Rule::kFrg9,
               "closed, and nothing delivered",
               events.empty() ? "nothing" : ToString(events.back()));
  stage.Expect(stage.OpenCount(stage.posted_fds().back()) == 0, Rule::kFrg9,
               "the descriptors of a held message closed", "still open");
}

void DeadSendersHeldOnes(Stage& stage) {
  const auto type = stage.NumberFor(Type::kRemovePid);
  if (!type) return;
  OwnSegment segment = FilledSegment(stage, 2, 100);
  Holds(stage, Referring(5, {{2, 0, 100}}).Fds(1));
  const FileId file = stage.posted_fds().back();
  std::vector<uint8_t> payload(4);
  Store<uint32_t>(static_cast<uint32_t>(getpid()), payload.data(), MachineByteOrder());
  stage.Post(Datagram(0).Type(*type).Payload(payload).About(Rule::kFrg9));
  stage.Settle();
  stage.Expect(stage.OpenCount(file) == 0, Rule::kFrg9,
               "the descriptors of the dead sender's held message closed", "still open");
}

// Who does not ask refuses or holds it; a part of a message is never delivered.
void NeverShortened(Stage& stage) {
  OwnSegment known = FilledSegment(stage, 3, 50, {1, 2});
  Announce(stage, known);
  stage.PostExpecting(Referring(5, {{3, 0, 50}, {2, 0, 100}}), {});
  stage.PostExpecting(Datagram(6).Bytes(7, 3).Mf(), {});
  stage.PostExpecting(Referring(6, {{2, 1, 100}}).Nf(), {});
  for (const SeenEvent& event : stage.RunOnce()) {
    const bool message =
        event.kind == SeenEvent::Kind::kDelivered && (event.stream == 5 || event.stream == 6);
    stage.Expect(!message, Rule::kShm10, "refused, or held until the announcement",
                 ToString(event));
  }
  stage.Reset();
}

// Who knows no segment takes references for nothing: not for bytes.
void ListsAreNoBytes(Stage& stage) {
  stage.PostExpecting(Referring(5, {{2, 0, 100}}), {});
  const bool knows = stage.Has("shm-receive");
  const std::vector<SeenEvent> events = stage.RunOnce();
  for (const SeenEvent& event : events)
    stage.Expect(event.kind != SeenEvent::Kind::kDelivered, Rule::kShm1,
                 "refused: no list of references is a message of bytes", ToString(event));
  stage.Expect(knows || !events.empty(), Rule::kShm1, "refused", "nothing");
  stage.Reset();
}

uint8_t GetMmap(Stage& stage) {
  const auto number = stage.NumberFor(Type::kGetMmap);
  if (!number) stage.Unsupported("a handler for get_mmap");
  return *number;
}

// Senders. What a question names is announced; nothing else is, and nobody falls over.
void NoSuchSegment(Stage& stage) {
  const uint8_t get_mmap = GetMmap(stage);
  stage.ErrorsAreAnswers();
  for (const uint8_t byte : {0, 77, 255})
    stage.PostExpecting(Datagram(0).Type(get_mmap).Payload(std::vector<uint8_t>(4, byte)), {});
  for (const size_t bytes : {0, 3, 5, 8})
    stage.PostExpecting(Datagram(0).Type(get_mmap).Bytes(bytes), {});
  for (const SeenEvent& event : stage.RunOnce()) {
    const bool own = event.kind == SeenEvent::Kind::kDelivered && event.type == get_mmap;
    stage.Expect(own || event.kind == SeenEvent::Kind::kRefused, stage.own_rule(),
                 "nothing, or a refusal", ToString(event));
  }
  stage.JudgeArrived();
  stage.Expect(stage.announcements() == 0, Rule::kShm10, "no announcement of what is not there",
               "an announcement");
  Send(stage, 1, {Shared(20000)});
  NothingBusy(stage);
}

// The segment again, or nothing: both are good.
void AskedAgain(Stage& stage) {
  GetMmap(stage);
  Send(stage, 1, {Shared(20000)});
  stage.AskForSegment(stage.peer_memory().held().front().segment_id);
  stage.Settle();
  Send(stage, 2, {Shared(20000)});
  NothingBusy(stage);
}

// What is not in the way of the question goes on, and so does what comes behind it.
void AnsweredUnderPressure(Stage& stage) {
  stage.link().SetTesteeSendBuffer(20000);
  for (int64_t id = 1; id <= 6; ++id) {
    stage.Write(stage.MessageOf(
        id, {id % 2 == 0 ? Shared(20000) : Piece{.bytes = stage.limit(), .seed = 1}}));
  }
  stage.RunWithoutReading();
  stage.Settle();
  NothingBusy(stage);
  stage.link().SetTesteeSendBuffer(106496);
}

}  // namespace

void AddUnknownSegmentCases(CaseList& cases) {
  const auto receive = [&](const char* name, void (*play)(Stage&),
                           const std::vector<Rule>& more = {}) -> Case& {
    return Add(cases, name, play, more)
        .Needs({"shm-receive", "asks", "fragments"})
        .Applies(Asking)
        .FreeFiles();
  };
  receive("SHM-10/an-unknown-segment-is-asked-for", IsAskedFor);
  receive("SHM-10/one-message-asks-once", IsAskedForOnce);
  receive("SHM-10/two-messages-wait-for-one-segment", TwoWaitForOne);
  receive("SHM-10/others-go-on-meanwhile", OthersGoOn);
  receive("SHM-10/announcements-in-any-order", InAnyOrder);
  receive("SHM-10/one-message-of-two-segments", OneMessageOfTwo);
  receive("SHM-10/later-fragments-wait-too", LaterFragmentsWait);
  receive("SHM-10/a-later-fragment-is-held", LaterFragmentIsHeld);
  receive("SHM-10/an-unknown-segment-shortens-nothing", NeverShortened)
      .Needs({"shm-receive", "fragments"});
  Add(cases, "SHM-1/a-list-is-never-bytes", ListsAreNoBytes);
  receive("SHM-2/what-was-held-is-judged", ThenJudged);
  receive("FRG-8/held-messages-count", HeldOnesCount, {Rule::kShm10});
  receive("FRG-9/hang-up-discards-what-is-held", HangUpDiscardsHeld, {Rule::kShm10})
      .Needs({"shm-receive", "asks", "fragments", "fds"})
      .EndsPort();
  receive("FRG-9/remove-pid-discards-what-is-held", DeadSendersHeldOnes, {Rule::kShm10})
      .Needs({"shm-receive", "asks", "fragments", "fds"});
  const auto send = [&](const char* name, void (*play)(Stage&)) -> Case& {
    return Add(cases, name, play)
        .Role("sender")
        .Needs({"shm-send", "fragments"})
        .Applies(Asking)
        .FreeFiles();
  };
  send("SHM-10/a-question-for-no-segment", NoSuchSegment);
  send("SHM-10/asked-for-again", AskedAgain);
  send("SHM-10/answered-behind-a-full-socket", AnsweredUnderPressure);
}

}  // namespace portproof::suite
