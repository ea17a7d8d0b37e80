// Sending under pressure, fair share, order, descriptors: SND-1, SND-2, SND-3, SND-4,
// SND-5, SND-6, SND-7, SND-8, SND-9, SND-10, SND-11, SND-12, FRG-5.
#include <sys/socket.h>

#include <algorithm>
#include <csignal>

#include "absl/strings/str_cat.h"
#include "oracle/suite/case.h"

namespace portproof::suite {
namespace {

constexpr int kTightBuffer = 20000;   // the kernel doubles it: two full datagrams
constexpr int kUsualBuffer = 106496;  // and what is usual

// The testee's socket takes little while this lives.
class TightSocket {
 public:
  explicit TightSocket(Stage& stage) : stage_(stage), link_(stage.link()) {
    stage_.ReadLater(true);
    link_.SetTesteeSendBuffer(kTightBuffer);
  }
  TightSocket(const TightSocket&) = delete;
  TightSocket& operator=(const TightSocket&) = delete;
  ~TightSocket() {
    link_.SetTesteeSendBuffer(kUsualBuffer);
    stage_.ReadLater(false);
  }

 private:
  Stage& stage_;
  Link& link_;
};

Message Plain(Stage& stage, int64_t id, uint32_t stream, uint32_t bytes) {
  Message message = stage.MessageOf(id, {});
  message.stream = stream;
  if (bytes > 0) message.chain = {{.bytes = bytes, .seed = static_cast<uint64_t>(id)}};
  return message;
}

void LeavesAtOnce(Stage& stage) {
  Message message = Plain(stage, 1, 1, 10);
  message.batch = false;
  stage.Write(message);
  stage.Settle();
  stage.Write(Plain(stage, 2, 2, 10));
  stage.Write(Plain(stage, 3, 3, 10));
  stage.Settle();
}

// Written while others wait: none is lost.
void AppendedWhileOthersWait(Stage& stage) {
  stage.BlameOrder(Rule::kSnd1);
  const TightSocket tight(stage);
  stage.Write(Plain(stage, 1, 1, 3 * stage.limit()));
  stage.RunWithoutReading();
  for (int64_t id = 2; id < 6; ++id) {
    Message message = Plain(stage, id, static_cast<uint32_t>(id), 10);
    message.batch = false;
    stage.Write(message);
  }
  stage.Settle();
}

void FullSocketLosesNothing(Stage& stage) {
  stage.BlameOrder(Rule::kSnd2);
  const TightSocket tight(stage);
  for (int64_t id = 1; id <= 6; ++id)
    stage.Write(Plain(stage, id, static_cast<uint32_t>(id), stage.limit()));
  stage.RunWithoutReading();
  stage.Expect(!stage.sent().empty(), Rule::kSnd2, "a full socket", "everything fits");
  stage.RunWithoutReading();
  stage.Settle();
}

// A message that has begun stays at the head; its share is not used up.
void BegunOneKeepsItsPlace(Stage& stage) {
  stage.BlameOrder(Rule::kSnd2);
  const TightSocket tight(stage);
  stage.Write(Plain(stage, 1, 1, 4 * stage.limit()));
  stage.Write(Plain(stage, 2, 2, 10));
  stage.Write(Plain(stage, 3, 3, 3 * stage.limit()));
  stage.RunWithoutReading();
  stage.Settle();
}

void FullSocketWithFds(Stage& stage) {
  stage.BlameOrder(Rule::kSnd2);
  const TightSocket tight(stage);
  for (int64_t id = 1; id <= 6; ++id) {
    Message message = Plain(stage, id, static_cast<uint32_t>(id), stage.limit());
    message.fds = 1;
    message.close_fd = id % 2 == 0;
    stage.Write(message);
  }
  stage.RunWithoutReading();
  stage.Settle();
}

// The example of section 4: A x4, B x4, C, A x4, B x4, A x2, B x2.
void FairShare(Stage& stage) {
  stage.Write(Plain(stage, 1, 1, 150000));
  stage.Write(Plain(stage, 2, 2, 150000));
  stage.Write(Plain(stage, 3, 3, 10));
  stage.Settle();
}

void SmallShare(Stage& stage) {
  for (int64_t id = 1; id <= 3; ++id)
    stage.Write(Plain(stage, id, static_cast<uint32_t>(id), 3 * stage.limit()));
  stage.Settle();
}

void ShareSurvivesPressure(Stage& stage) {
  const TightSocket tight(stage);
  stage.Write(Plain(stage, 1, 1, 9 * stage.limit()));
  stage.Write(Plain(stage, 2, 2, 9 * stage.limit()));
  stage.RunWithoutReading();
  stage.RunWithoutReading();
  stage.Settle();
}

void OneAloneGoesOn(Stage& stage) {
  stage.Write(Plain(stage, 1, 1, 20 * stage.limit()));
  stage.Settle();
}

void StreamsDoNotMix(Stage& stage) {
  stage.Write(Plain(stage, 1, 5, 6 * stage.limit()));
  stage.Write(Plain(stage, 2, 5, 6 * stage.limit()));
  stage.Write(Plain(stage, 3, 6, 10));
  stage.Write(Plain(stage, 4, 0, 6 * stage.limit()));
  stage.Write(Plain(stage, 5, 0, 10));
  stage.Settle();
}

void BeginInOrder(Stage& stage) {
  for (int64_t id = 1; id <= 20; ++id)
    stage.Write(Plain(stage, id, static_cast<uint32_t>(id % 3), static_cast<uint32_t>(id)));
  stage.Settle();
}

void GoesOnAfterPressure(Stage& stage) {
  const TightSocket tight(stage);
  stage.Write(Plain(stage, 1, 1, 12 * stage.limit()));
  for (int round = 0; round < 3; ++round) stage.RunWithoutReading();
  stage.Settle();
}

void FdsWithTheFirst(Stage& stage) {
  Message message = Plain(stage, 1, 1, 3 * stage.limit());
  message.fds = stage.profile().fds_max;
  stage.Write(message);
  message = Plain(stage, 2, 2, 0);
  message.fds = 1;
  stage.Write(message);
  stage.Settle();
}

void MoreFdsThanAllowed(Stage& stage) {
  Message message = Plain(stage, 1, 1, 3);
  message.fds = stage.profile().fds_max + 1u;
  const Json answer = stage.TryWrite(message);
  stage.Expect(answer.value("accepted", Json()) == false, Rule::kFds2, "not accepted",
               answer.dump());
  stage.Settle();
}

// A message that waits owns a copy of what it borrowed, close-on-exec.
void WaitingOneOwnsACopy(Stage& stage) {
  const TightSocket tight(stage);
  stage.Write(Plain(stage, 1, 1, 8 * stage.limit()));
  stage.RunWithoutReading();
  Message message = Plain(stage, 2, 2, 10);
  message.fds = 1;
  message.batch = false;
  const std::vector<FileId> files = stage.Write(message);
  const auto open = OpenFiles(stage.hello().pid, true);
  const auto found = open.find(files.front());
  const int count = found == open.end() ? 0 : found->second.count;
  stage.Expect(count == 2, Rule::kSnd8, "the caller's descriptor and the waiting message's copy",
               absl::StrCat(count, " open"));
  stage.Expect(found->second.close_on_exec, Rule::kSnd8, "close-on-exec on the copy", "not set");
  stage.Settle();
}

void ClosedAfterTheFirst(Stage& stage) {
  const TightSocket tight(stage);
  Message message = Plain(stage, 1, 1, 3 * stage.limit());
  message.fds = 1;
  message.close_fd = true;
  const std::vector<FileId> closing = stage.Write(message);
  stage.RunWithoutReading();
  stage.Expect(stage.OpenCount(closing.front()) == 0, Rule::kSnd9,
               "closed right after the first datagram", "still open");
  // It has the number that became free: a second close would hit it.
  Message other = Plain(stage, 2, 2, 10);
  other.fds = 1;
  const std::vector<FileId> lent = stage.Write(other);
  stage.BlameOrder(Rule::kSnd9);
  stage.Settle();
  stage.Expect(stage.OpenCount(lent.front()) == 1, Rule::kSnd9, "the caller's descriptor open",
               absl::StrCat(stage.OpenCount(lent.front()), " times"));
}

void LentOnesStayOpen(Stage& stage) {
  Message message = Plain(stage, 1, 1, 10);
  message.fds = 1;
  const std::vector<FileId> lent = stage.Write(message);
  stage.Settle();
  stage.Expect(stage.OpenCount(lent.front()) == 1, Rule::kSnd9,
               "without close_fd the caller's descriptor stays open",
               absl::StrCat(stage.OpenCount(lent.front()), " times"));
}

void DeadPeerFailsThePort(Stage& stage) {
  stage.Write(Plain(stage, 1, 1, 10));
  stage.Settle();
  stage.link().CloseB();
  stage.Write(Plain(stage, 2, 2, 10));
  stage.Write(Plain(stage, 3, 3, 10));
  stage.sent().Fail();
  const std::vector<SeenEvent> events = stage.RunOnce();
  stage.Expect(!events.empty() || !stage.Has("completions"), Rule::kSnd4,
               "what was queued fails with the port", "nothing");
  stage.JudgeEvents(events);
  const Json answer = stage.TryWrite(Plain(stage, 4, 4, 10));
  stage.Expect(answer.value("accepted", Json()) == false, Rule::kSnd4,
               "a failed port refuses later writes", answer.dump());
}

void NoSigpipe(Stage& stage) {
  stage.link().CloseB();
  stage.Write(Plain(stage, 1, 1, 10));
  stage.RunOnce();
}

// Whether a start with these numbers is refused.
void RefusesStart(Stage& stage, uint32_t max_size, uint32_t max_share, int buffer) {
  if (buffer > 0) stage.link().SetTesteeSendBuffer(buffer);
  const Json answer = stage.session().Ask({{"cmd", "start"},
                                           {"profile", stage.start().profile},
                                           {"pid", stage.hello().pid},
                                           {"peer_pid", getpid()},
                                           {"port_id", 1},
                                           {"max_size", max_size},
                                           {"max_share", max_share}});
  stage.Expect(answer.value("ok", Json()) == false, Rule::kSnd11,
               absl::StrCat("max_size ", max_size, " and max_share ", max_share, " refused"),
               answer.dump());
}

void BoundInMessages(Stage& stage) {
  const uint64_t most = stage.limits().queue_messages;
  if (most > 20000) stage.Unsupported("a limit within reach");
  for (uint64_t id = 1; id <= most; ++id) stage.Write(Plain(stage, static_cast<int64_t>(id), 1, 0));
  const Json answer = stage.TryWrite(Plain(stage, 0, 1, 0));
  stage.Expect(answer.value("accepted", Json()) == false, Rule::kSnd12,
               absl::StrCat("message ", most + 1, " refused"), answer.dump());
  stage.Reset();  // they are all alike: nobody could tell which of them was lost
}

void BoundInBytes(Stage& stage) {
  const uint64_t most = stage.limits().queue_bytes;
  if (most > (uint64_t{128} << 20)) stage.Unsupported("a limit within reach");
  const auto half = static_cast<uint32_t>(most / 2);
  stage.Write(Plain(stage, 1, 1, half));
  stage.Write(Plain(stage, 2, 2, static_cast<uint32_t>(most - half)));
  const Json answer = stage.TryWrite(Plain(stage, 3, 3, 1));
  stage.Expect(answer.value("accepted", Json()) == false, Rule::kSnd12, "one byte more refused",
               answer.dump());
}

void BoundInFds(Stage& stage) {
  const uint64_t most = stage.limits().queue_fds;
  if (most > 400) stage.Unsupported("a limit within reach");
  for (uint64_t id = 1; id <= most; ++id) {
    Message message = Plain(stage, static_cast<int64_t>(id), 1, 1);
    message.fds = 1;
    message.close_fd = true;
    stage.Write(message);
  }
  Message message = Plain(stage, 0, 1, 1);
  message.fds = 1;
  message.close_fd = true;
  const Json answer = stage.TryWrite(message);
  stage.Expect(answer.value("accepted", Json()) == false, Rule::kSnd12,
               absl::StrCat("descriptor ", most + 1, " refused"), answer.dump());
  stage.Settle();
}

void StoppedAndContinued(Stage& stage) {
  stage.Write(Plain(stage, 1, 1, 6 * stage.limit()));
  kill(stage.hello().pid, SIGSTOP);
  kill(stage.hello().pid, SIGCONT);
  stage.Settle();
}

}  // namespace

void AddSendCases(CaseList& cases) {
  const std::vector<std::string> fragments = {"fragments"};
  const std::vector<std::string> fds = {"fds"};
  const std::vector<std::string> both = {"fragments", "fds"};
  const auto add = [&](const char* name, void (*play)(Stage&),
                       const std::vector<std::string>& needs) -> Case& {
    return Add(cases, name, play).Role("sender").Needs(needs);
  };
  add("SND-1/leaves-at-once-or-at-the-next-run", LeavesAtOnce, {});
  add("SND-1/appended-while-others-wait", AppendedWhileOthersWait, fragments);
  add("SND-2/a-full-socket-loses-nothing", FullSocketLosesNothing, {});
  add("SND-2/a-begun-message-keeps-its-place", BegunOneKeepsItsPlace, fragments);
  add("SND-2/a-full-socket-with-fds", FullSocketWithFds, fds);
  add("SND-4/a-dead-peer-fails-the-port", DeadPeerFailsThePort, {}).EndsPort();
  add("SND-5/fair-share", FairShare, fragments);
  add("SND-5/a-share-of-two-datagrams", SmallShare, fragments).Sizes(16384, 20000);
  add("SND-5/a-share-of-one-byte", SmallShare, fragments).Sizes(256, 1);
  add("SND-5/share-survives-a-full-socket", ShareSurvivesPressure, fragments);
  add("SND-6/streams-do-not-mix", StreamsDoNotMix, fragments);
  add("SND-6/messages-begin-in-order", BeginInOrder, {});
  add("SND-7/one-alone-goes-on-after-its-share", OneAloneGoesOn, fragments);
  add("SND-7/goes-on-after-a-full-socket", GoesOnAfterPressure, fragments);
  add("SND-7/goes-on-after-a-stop", StoppedAndContinued, fragments);
  add("SND-8/fds-go-with-the-first-datagram", FdsWithTheFirst, both);
  add("SND-8/a-waiting-message-owns-a-copy", WaitingOneOwnsACopy, both);
  add("SND-9/closed-after-the-first-datagram-once", ClosedAfterTheFirst, both);
  add("SND-9/lent-descriptors-stay-open", LentOnesStayOpen, fds);
  add("SND-10/no-sigpipe", NoSigpipe, {}).EndsPort();
  const auto start = [&](const char* name, uint32_t max_size, uint32_t max_share, int buffer) {
    Add(cases, name, [=](Stage& stage) { RefusesStart(stage, max_size, max_share, buffer); })
        .Role("sender")
        .StartsItself();
  };
  start("SND-11/a-small-max-is-refused", 63, 65536, 0);
  start("SND-11/a-huge-max-is-refused", (1u << 20) + 1, 65536, 0);
  start("SND-11/no-share-is-refused", 16384, 0, 0);
  start("SND-11/a-buffer-that-is-too-small", 16384, 65536, 4096);
  add("SND-12/bound-in-messages", BoundInMessages, {}).Fresh();
  add("SND-12/bound-in-bytes", BoundInBytes, fragments).Fresh();
  add("SND-12/bound-in-fds", BoundInFds, fds).Fresh();
  add("FDS-2/more-than-allowed-are-not-written", MoreFdsThanAllowed, fds);
  add("FRG-5/each-begun-message-is-finished", OneAloneGoesOn, fragments);
}

}  // namespace portproof::suite
