// Conditions that an implementation seldom meets, each alone: what the other cases leave out.
#include "absl/strings/str_cat.h"
#include "oracle/suite/case.h"
#include "oracle/suite/segment_play.h"

namespace portproof::suite {
namespace {

constexpr int kTightBuffer = 20000;  // the kernel doubles it: two full datagrams
constexpr int kUsualBuffer = 106496;

Message Plain(Stage& stage, int64_t id, uint32_t stream, uint32_t bytes, uint32_t fds = 0) {
  Message message = stage.MessageOf(id, {{.bytes = bytes, .seed = static_cast<uint64_t>(id)}});
  message.stream = stream;
  message.fds = fds;
  return message;
}

// With or without shared memory: a reference that cannot be good.
void BadReferenceDiscards(Stage& stage) {
  const bool knows = stage.Has("shm-receive");
  OwnSegment segment = NewSegment(stage, 0);
  if (knows) Announce(stage, segment);
  stage.PostExpecting(Datagram(5).Bytes(10).Mf(), {});
  Expected refused = stage.Refusal(Rule::kShm2, Rule::kShm2);
  refused.any_rule = !knows;
  stage.PostExpecting(Referring(5, {{0, 700, 10}}).Nf().Mf(), {refused});
  stage.PostExpecting(Datagram(5).Bytes(4, 3).Nf(), {stage.Refusal(Rule::kFrg2, Rule::kShm2)});
  stage.Settle();
}

void StreamsOf32Bits(Stage& stage) {
  const std::vector<uint32_t> streams = {0x00010005, 0x00020005, 0x80010005};
  for (const uint32_t stream : streams) stage.Post(Datagram(stream).Bytes(4, stream >> 16).Mf());
  for (const uint32_t stream : streams) stage.Post(Datagram(stream).Bytes(3, stream >> 15).Nf());
  stage.Settle();
}

void SentStreamsOf32Bits(Stage& stage) {
  stage.Write(Plain(stage, 1, 0x00010005, 6 * stage.limit()));
  stage.Write(Plain(stage, 2, 0x00020005, 6 * stage.limit()));
  stage.Write(Plain(stage, 3, 0x80010005, 10));
  stage.Settle();
}

// Those that may begin wait behind one that may not. The first uses up its share, and all
// fit the socket: how soon it is read must not matter.
void WaitersHoldBack(Stage& stage) {
  stage.Write(Plain(stage, 1, 5, 9 * stage.limit()));
  stage.Write(Plain(stage, 2, 5, 10));
  stage.Write(Plain(stage, 3, 6, 10));
  stage.Write(Plain(stage, 4, 7, 10));
  stage.Settle();
}

void PidsWithTheSignBit(Stage& stage) {
  for (const int32_t pid : {-2, INT32_MIN, INT32_MAX})
    stage.Post(Datagram(5).Pid(pid).Bytes(3).About(Rule::kHdr2));
  stage.Settle();
}

void RefusedTypeLeavesTheOpenMessage(Stage& stage) {
  stage.Post(Datagram(5).Bytes(10).Mf());
  stage.Post(Datagram(5).Type(255).Bytes(2).Nf());
  stage.Post(Datagram(5).Bytes(4, 3).Nf());
  stage.Settle();
}

void RefusedFdsLeaveTheOpenMessage(Stage& stage) {
  stage.Post(Datagram(5).Bytes(10).Mf());
  stage.Post(Datagram(5).Bytes(2).Mf().Fds(stage.profile().fds_max + 1u));
  stage.Post(Datagram(5).Bytes(4, 3).Nf());
  stage.Settle();
}

void OpenMessageKeepsItsOwn(Stage& stage) {
  stage.Post(Datagram(5).Bytes(3).Mf().Fds(1));
  stage.Post(Datagram(6).Bytes(3).Fds(1));
  stage.Settle();
  const FileId file = stage.posted_fds().front();
  stage.Expect(stage.OpenCount(file) == 1, Rule::kFds5, "the open message's descriptor open once",
               absl::StrCat(stage.OpenCount(file), " times"));
  stage.Post(Datagram(5).Bytes(3, 2).Nf().About(Rule::kFds5));
  stage.Settle();
}

void HundredsInOneRun(Stage& stage) {
  for (uint32_t stream = 0; stream < 250; ++stream) stage.Post(Datagram(stream));
  stage.Settle();
}

void StatsAtRest(Stage& stage) {
  stage.Post(Datagram(5).Bytes(10).Mf());
  stage.Post(Datagram(6).Bytes(7).Mf());
  stage.Post(Datagram(6).Bytes(5).Nf().Mf());
  stage.Settle();
  const Json stats = stage.Stats();
  stage.Expect(stats.value("open_assemblies", uint64_t{0}) == stage.received().open() &&
                   stats.value("held_bytes", uint64_t{0}) == stage.received().held_bytes(),
               Rule::kFrg8, "open_assemblies 2, held_bytes 22", stats.dump());
}

void QueueAtRest(Stage& stage) {
  stage.link().SetTesteeSendBuffer(kTightBuffer);
  stage.ReadLater(true);
  for (int64_t id = 1; id <= 5; ++id)
    stage.Write(Plain(stage, id, static_cast<uint32_t>(id), stage.limit()));
  stage.RunWithoutReading();
  const Json stats = stage.Stats();
  stage.Expect(stats.value("queued_messages", uint64_t{0}) == stage.sent().size(), Rule::kSnd12,
               absl::StrCat("queued_messages ", stage.sent().size()), stats.dump());
  stage.link().SetTesteeSendBuffer(kUsualBuffer);
  stage.Settle();
}

// A message under way, one that owns its descriptor, one that has borrowed its own.
std::vector<FileId> WriteBehindAFullSocket(Stage& stage) {
  stage.link().SetTesteeSendBuffer(kTightBuffer);
  stage.ReadLater(true);
  stage.Write(Plain(stage, 1, 1, 8 * stage.limit()));
  stage.RunWithoutReading();
  Message owning = Plain(stage, 2, 2, 10, 1);
  owning.close_fd = true;
  std::vector<FileId> files = stage.Write(owning);
  files.push_back(stage.Write(Plain(stage, 3, 3, 10, 1)).front());
  return files;
}

void FailedMessagesCloseTheirs(Stage& stage) {
  const std::vector<FileId> files = WriteBehindAFullSocket(stage);
  stage.link().CloseB();
  stage.sent().Fail();
  stage.JudgeEvents(stage.RunOnce());
  stage.Expect(stage.OpenCount(files[0]) == 0, Rule::kSnd9, "what a failed message owned is closed",
               "still open");
  stage.Expect(stage.OpenCount(files[1]) == 1, Rule::kSnd9,
               "the copy of a failed message closed, the caller's descriptor open",
               absl::StrCat(stage.OpenCount(files[1]), " open"));
}

void ResetClosesQueuedOnes(Stage& stage) {
  const std::vector<FileId> files = WriteBehindAFullSocket(stage);
  stage.Reset();
  stage.link().SetTesteeSendBuffer(kUsualBuffer);
  for (const FileId& file : files)
    stage.Expect(stage.OpenCount(file) == 0, Rule::kSnd9, "no descriptor of the queue left",
                 absl::StrCat(stage.OpenCount(file), " open"));
}

void RefusedStartsCloseTheirs(Stage& stage) {
  const uint64_t most = stage.limits().assemblies_per_sender;
  if (most > 4096) stage.Unsupported("a limit within reach");
  for (uint32_t stream = 1; stream <= most; ++stream)
    stage.Post(Datagram(stream).Bytes(1, stream).Mf().About(Rule::kFrg8));
  stage.Post(Datagram(static_cast<uint32_t>(most + 1)).Bytes(1).Mf().Fds(1));
  stage.Settle();
  stage.Expect(stage.OpenCount(stage.posted_fds().back()) == 0, Rule::kFds5,
               "the descriptor of a start beyond the limit closed", "still open");
}

}  // namespace

void AddSeldomCases(CaseList& cases) {
  const std::vector<std::string> fragments = {"fragments"};
  const std::vector<std::string> both = {"fragments", "fds"};
  Add(cases, "SHM-2/a-bad-reference-discards-the-message", BadReferenceDiscards)
      .Needs(fragments)
      .FreeFiles();
  Add(cases, "FRG-4/streams-of-32-bits", StreamsOf32Bits).Needs(fragments);
  Add(cases, "SND-6/streams-of-32-bits", SentStreamsOf32Bits).Role("sender").Needs(fragments);
  Add(cases, "SND-6/a-waiter-holds-back-the-others", WaitersHoldBack)
      .Role("sender")
      .Needs(fragments);
  Add(cases, "HDR-2/pids-with-the-sign-bit", PidsWithTheSignBit).Home("unit-1.18.0");
  Add(cases, "HDR-4/a-refusal-leaves-the-open-message", RefusedTypeLeavesTheOpenMessage)
      .Needs(fragments);
  Add(cases, "FDS-2/a-refusal-leaves-the-open-message", RefusedFdsLeaveTheOpenMessage).Needs(both);
  Add(cases, "FDS-5/an-open-message-keeps-its-own", OpenMessageKeepsItsOwn).Needs(both);
  Add(cases, "FDS-5/a-start-beyond-the-limit", RefusedStartsCloseTheirs).Needs(both);
  Add(cases, "RCV-3/hundreds-in-one-run", HundredsInOneRun);
  Add(cases, "FRG-8/stats-at-rest", StatsAtRest).Needs(fragments);
  Add(cases, "SND-12/stats-at-rest", QueueAtRest).Role("sender").Fresh();
  Add(cases, "SND-9/failed-messages-close-theirs", FailedMessagesCloseTheirs)
      .Role("sender")
      .Needs(both)
      .EndsPort();
  Add(cases, "SND-9/reset-closes-queued-ones", ResetClosesQueuedOnes)
      .Role("sender")
      .Needs(both)
      .Fresh();
}

}  // namespace portproof::suite
