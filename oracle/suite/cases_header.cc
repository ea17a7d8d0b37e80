// Headers as a receiver meets them: HDR-1, HDR-2, HDR-3, HDR-4, HDR-5, HDR-6, HDR-7,
// HDR-8, RCV-2, RCV-3, RCV-5.
#include <array>

#include "absl/strings/str_cat.h"
#include "oracle/conversation/generate.h"
#include "oracle/suite/case.h"

namespace portproof::suite {
namespace {

void ShortDatagrams(Stage& stage) {
  for (const size_t bytes : {1, 8, 15}) {
    stage.Post(Datagram(5).Cut(bytes));
    stage.Post(Datagram(5).Fds(1).Cut(bytes));
  }
  stage.Post(Datagram(5));
  stage.Settle();
}

void ByteOrder(Stage& stage) {
  stage.Post(Datagram(0x01020304).Reply(0x0506).Bytes(3).About(Rule::kHdr2));
  stage.Post(Datagram(0xfffffffe).Reply(65535).Last().About(Rule::kHdr2));
  stage.Settle();
}

void FlagsOfAnyValue(Stage& stage) {
  for (const uint8_t value : {1, 2, 128, 255}) {
    stage.Post(Datagram(6).Bytes(4).Patch(11, value).Last().Patch(11, value).About(Rule::kHdr3));
    stage.Settle();
  }
  stage.Post(Datagram(7).Bytes(4).Mf().Patch(14, 2).About(Rule::kHdr3));
  stage.Post(Datagram(7).Bytes(4, 2).Nf().Patch(13, 2).About(Rule::kHdr3));
  stage.Settle();
}

void UnknownTypes(Stage& stage) {
  const auto count = static_cast<uint8_t>(stage.profile().types.size());
  for (const uint8_t type : std::array<uint8_t, 3>{count, 200, 255}) {
    stage.Post(Datagram(5).Type(type).Bytes(4).Fds(1));
    stage.Post(Datagram(5).Type(type).Bytes(4).Mf());
  }
  stage.Settle();
}

void TypesWithoutHandler(Stage& stage) {
  std::optional<uint8_t> unhandled;
  for (size_t type = 0; type < stage.profile().types.size(); ++type) {
    if (!stage.handled().contains(static_cast<uint8_t>(type)))
      unhandled = static_cast<uint8_t>(type);
  }
  if (!unhandled) return;  // it has one for each: HDR-4 is then about the count alone
  stage.Post(Datagram(5).Type(*unhandled).Bytes(4));
  stage.Post(Datagram(5).Type(*unhandled).Fds(1));
  stage.Settle();
}

void PaddingIsNotJudged(Stage& stage) {
  for (const uint8_t value : {1, 2, 255})
    stage.Post(Datagram(5).Byte15(value).Bytes(4).About(Rule::kHdr5));
  stage.Settle();
}

void IdentityIsTheKernels(Stage& stage) {
  stage.Post(Datagram(21).Mf().Bytes(3));
  stage.PostFromOther({Datagram(21).Bytes(3, 7).Nf()});
  stage.Post(Datagram(21).Nf().Pid(getpid() + 1).Bytes(3, 2).About(Rule::kHdr7));
  stage.Settle();
}

// Between others, and alone in what the testee reads.
void EmptyDatagrams(Stage& stage) {
  stage.Post(Datagram(5).Cut(0));
  stage.Post(Datagram(5).Bytes(4));
  stage.Settle();
  stage.Post(Datagram(5).Cut(0));
  stage.Settle();
  stage.Post(Datagram(5).Bytes(4));
  stage.Settle();
}

void EmptyDatagramsWithFds(Stage& stage) {
  stage.Post(Datagram(5).Fds(1).Cut(0).About(Rule::kHdr8));
  stage.Post(Datagram(5).Bytes(4));
  stage.Settle();
  stage.Expect(stage.OpenCount(stage.posted_fds().front()) == 0, Rule::kHdr8,
               "the descriptors of an empty datagram closed", "still open");
}

void HangUpIsToldOnce(Stage& stage) {
  stage.Post(Datagram(5).Bytes(4));
  stage.link().CloseA();
  const std::vector<SeenEvent> events = stage.RunOnce();
  const bool right = events.size() == 2 && events[0].kind == SeenEvent::Kind::kDelivered &&
                     events[1].kind == SeenEvent::Kind::kClosed;
  stage.Expect(right, Rule::kHdr8, "a delivery, then closed once",
               absl::StrCat(events.size(), " events",
                            events.empty() ? "" : ", the last: " + ToString(events.back())));
  const std::vector<SeenEvent> more = stage.RunOnce();
  stage.Expect(more.empty(), Rule::kHdr8, "nothing after closed",
               more.empty() ? "" : ToString(more.front()));
}

void ResetIsSkipped(Stage& stage) {
  stage.Post(Datagram(5).Bytes(4));
  stage.Post(Datagram(6).Bytes(5));
  stage.link().CloseAUnread();
  const std::vector<SeenEvent> events = stage.RunOnce();
  const bool right = events.size() == 3 && events[0].stream == 5 && events[1].stream == 6 &&
                     events[2].kind == SeenEvent::Kind::kClosed;
  stage.Expect(right, Rule::kRcv6, "two deliveries behind the reset, then closed",
               absl::StrCat(events.size(), " events",
                            events.empty() ? "" : ", the last: " + ToString(events.back())));
}

// Random bytes with plausible lengths.
Datagram RandomDatagram(Stage& stage, conversation::Dice& dice) {
  Datagram datagram(dice.Below(4));
  datagram.Bytes(dice.Below(200), dice.Next()).Reply(static_cast<uint16_t>(dice.Next()));
  if (dice.OneIn(2)) datagram.Type(static_cast<uint8_t>(dice.Below(256)));
  if (dice.OneIn(2)) datagram.Nf();
  if (dice.OneIn(2)) datagram.Mf();
  if (dice.OneIn(3)) datagram.Last();
  if (dice.OneIn(5)) datagram.Fds(dice.Below(4));
  if (datagram.typed() && !stage.profile().types.empty()) {
    const auto type = TypeOf(stage.profile(), datagram.header().type);
    const bool acts = stage.handled().contains(datagram.header().type) && type != Type::kData;
    if (acts) datagram.Type(stage.plain_type());
  }
  if (dice.OneIn(12)) datagram.Cut(dice.Below(4));
  return datagram;
}

// It lives, answers, and is as before after a reset. What it makes of them other cases ask.
void SurvivesRandomBytes(Stage& stage) {
  conversation::Dice dice(4712);
  for (int round = 0; round < 200; ++round) {
    stage.PostExpecting(RandomDatagram(stage, dice), {});
    if (round % 40 == 39) stage.RunOnce();
  }
  stage.Reset();
}

// What each must cause the model says.
void RandomBytesAreJudged(Stage& stage) {
  conversation::Dice dice(4711);
  for (int round = 0; round < 200; ++round) {
    stage.Post(RandomDatagram(stage, dice));
    if (round % 40 == 39) stage.Settle();
  }
}

void OneDelivery(Stage& stage) {
  stage.Post(Datagram(9).Bytes(10));
  stage.Post(Datagram(9));
  stage.Post(Datagram(0).Bytes(stage.limit()).Last());
  stage.Settle();
  stage.Settle();
}

void RefusalsChangeNothing(Stage& stage) {
  stage.Post(Datagram(3).Bytes(3).Mf());
  stage.Post(Datagram(3).Cut(4));
  stage.Post(Datagram(4).Bytes(8).About(Rule::kRcv5));
  stage.Post(Datagram(3).Type(255));
  stage.Post(Datagram(3).Bytes(3, 2).Nf());
  stage.Settle();
}

void InventedCommand(Stage& stage) {
  for (const char* const line :
       {R"({"cmd":"portproof-invented-this"})", R"({"cmd":"send2","message":1,"type":1})"}) {
    const Json answer = stage.session().AskLine(line);
    if (answer.value("unsupported", Json()) != true)
      throw CaseEnd{Verdict::kFail, std::nullopt, R"({"unsupported":true} to an invented command)",
                    answer.dump()};
  }
}

void EndOfFileEndsIt(Stage& stage) {
  if (!stage.session().Quit(true, 2000))
    throw CaseEnd{Verdict::kFail, std::nullopt, "exit status 0 after end-of-file", "it lives on"};
}

void QuitEndsIt(Stage& stage) {
  if (!stage.session().Quit(false, 2000))
    throw CaseEnd{Verdict::kFail, std::nullopt, "exit status 0 after quit", "not that"};
}

bool PaddingProfile(const Profile& profile) { return profile.byte15 == Byte15::kPadding; }

}  // namespace

void AddHeaderCases(CaseList& cases) {
  Add(cases, "TESTEE/invented-command-is-unsupported", InventedCommand).Role("");
  Add(cases, "TESTEE/end-of-file-ends-it", EndOfFileEndsIt).Role("").EndsPort();
  Add(cases, "TESTEE/quit-ends-it", QuitEndsIt).Role("").EndsPort();
  Add(cases, "HDR-1/short-datagrams-are-refused", ShortDatagrams).Needs({"fds"});
  Add(cases, "HDR-2/integers-in-machine-order", ByteOrder);
  Add(cases, "HDR-3/any-value-but-0-is-1", FlagsOfAnyValue).Needs({"fragments"});
  Add(cases, "HDR-4/types-beyond-the-count", UnknownTypes).Needs({"fds"});
  Add(cases, "HDR-4/types-without-a-handler", TypesWithoutHandler).Needs({"fds"});
  Add(cases, "HDR-5/byte-15-is-not-judged", PaddingIsNotJudged).Applies(PaddingProfile);
  Add(cases, "HDR-5/old-byte-15-is-not-judged", PaddingIsNotJudged)
      .Home("unit-0.2")
      .Applies(PaddingProfile);
  Add(cases, "HDR-7/the-kernel-says-who-sent", IdentityIsTheKernels)
      .Needs({"fragments", "credentials"})
      .Applies([](const Profile& profile) { return profile.credentials; });
  Add(cases, "HDR-8/empty-datagram-is-not-the-end", EmptyDatagrams);
  Add(cases, "HDR-8/empty-datagram-without-credentials", EmptyDatagrams).Home("unit-0.2");
  Add(cases, "HDR-8/empty-datagram-with-fds", EmptyDatagramsWithFds).Needs({"fds"});
  Add(cases, "HDR-8/hang-up-is-told-once", HangUpIsToldOnce).EndsPort();
  Add(cases, "RCV-2/random-bytes", SurvivesRandomBytes).Needs({"fragments", "fds"});
  Add(cases, "RCV-2/random-bytes-are-judged", RandomBytesAreJudged).Needs({"fragments", "fds"});
  Add(cases, "RCV-3/one-message-is-one-delivery", OneDelivery);
  Add(cases, "RCV-6/a-reset-is-skipped", ResetIsSkipped).EndsPort();
  Add(cases, "RCV-5/a-refusal-changes-nothing-else", RefusalsChangeNothing).Needs({"fragments"});
}

}  // namespace portproof::suite
