// Sockets and ports: SOC-4, SOC-5, PRT-2.
#include <sys/socket.h>

#include "absl/strings/str_cat.h"
#include "oracle/suite/case.h"

namespace portproof::suite {
namespace {

void AsksForCredentials(Stage& stage) {
  int on = 0;
  socklen_t size = sizeof(on);
  getsockopt(stage.link().testee_receives(), SOL_SOCKET, SO_PASSCRED, &on, &size);
  stage.Expect(on != 0, Rule::kSoc4, "SO_PASSCRED set before start was answered", "not set");
}

// O_NONBLOCK belongs to the description, and real peers clear it.
void BlockingSockets(Stage& stage) {
  stage.link().SetBlocking(true);
  stage.Settle();
  if (stage.hello().roles.contains("receiver")) stage.Post(Datagram(5).Bytes(3));
  stage.Settle();
  stage.link().SetBlocking(false);
}

void BlockingFullSocket(Stage& stage) {
  stage.link().SetBlocking(true);
  stage.link().SetTesteeSendBuffer(20000);
  Message message;
  message.id = 1;
  message.type = stage.plain_type();
  message.stream = 1;
  message.chain = {{.bytes = 8 * stage.limit(), .seed = 1}};
  stage.Write(message);
  stage.RunWithoutReading();
  stage.Settle();
  stage.link().SetTesteeSendBuffer(106496);
  stage.link().SetBlocking(false);
}

// Ended in the middle of everything.
void EndsWithMuchOpen(Stage& stage) {
  if (stage.hello().roles.contains("receiver")) {
    stage.Post(Datagram(5).Bytes(3).Mf().Fds(1));
    stage.Settle();
  }
  if (stage.hello().roles.contains("sender")) {
    stage.link().SetTesteeSendBuffer(20000);
    Message message;
    message.id = 1;
    message.type = stage.plain_type();
    message.stream = 1;
    message.fds = 1;
    message.chain = {{.bytes = 8 * stage.limit(), .seed = 1}};
    stage.Write(message);
    stage.RunWithoutReading();
  }
  if (!stage.session().Quit(true, 2000))
    stage.Expect(false, Rule::kPrt2, "exit status 0 with messages queued and open", "not that");
}

void ResetWithMuchOpen(Stage& stage) {
  stage.Post(Datagram(5).Bytes(3).Mf().Fds(1));
  stage.Settle();
  stage.Post(Datagram(6).Bytes(3));
  if (stage.hello().roles.contains("sender")) {
    Message message;
    message.id = 1;
    message.type = stage.plain_type();
    message.chain = {{.bytes = 10, .seed = 1}};
    stage.Write(message);
  }
  stage.Reset();
  const Json stats = stage.Stats();
  for (const char* const key : {"open_assemblies", "held_bytes", "queued_messages"}) {
    stage.Expect(stats.value(key, 0) == 0, Rule::kPrt2, absl::StrCat(key, " 0 after reset"),
                 stats.dump());
  }
  stage.Settle();
  stage.Post(Datagram(5).Bytes(3, 2).Nf());
  stage.Settle();
}

}  // namespace

void AddSocketCases(CaseList& cases) {
  const std::vector<std::string> both = {"fragments", "fds"};
  Add(cases, "SOC-4/credentials-are-asked-for", AsksForCredentials)
      .Needs({"credentials"})
      .Applies([](const Profile& profile) { return profile.credentials; });
  Add(cases, "SOC-5/a-blocking-socket-to-read", BlockingSockets).Fresh();
  Add(cases, "SOC-5/a-blocking-socket-to-write", BlockingFullSocket)
      .Role("sender")
      .Needs({"fragments"})
      .Fresh();
  Add(cases, "PRT-2/ended-with-much-open", EndsWithMuchOpen).Role("").Needs(both).EndsPort();
  Add(cases, "PRT-2/reset-with-much-open", ResetWithMuchOpen).Needs(both);
}

}  // namespace portproof::suite
