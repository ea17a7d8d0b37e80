// Completions: CMP-1, CMP-2, CMP-3, CMP-5. What the model is told of them, each in a case
// where nothing else can go wrong before.
#include "absl/strings/str_cat.h"
#include "oracle/suite/case.h"

namespace portproof::suite {
namespace {

void EachOnce(Stage& stage) {
  stage.Write(stage.MessageOf(1, {}));
  stage.Write(stage.MessageOf(2, {{.bytes = 5, .seed = 1}, {.bytes = 6, .seed = 2}}));
  stage.Write(stage.MessageOf(3, {{.sync = true}, {.bytes = 5, .seed = 1}, {.sync = true}}));
  stage.Write(stage.MessageOf(4, {{.bytes = 0}, {.sync = true, .last = true}}));
  stage.Settle();
  stage.Settle();  // and none comes later
}

void InOrder(Stage& stage) {
  for (int64_t id = 9; id > 0; --id)
    stage.Write(stage.MessageOf(id, {{.bytes = 5, .seed = 1}, {.bytes = 6, .seed = 2}}));
  stage.Settle();
}

// C, A, B: in the order in which the last datagrams left.
void InTheOrderOfDatagrams(Stage& stage) {
  stage.Write(stage.MessageOf(1, {{.bytes = 150000, .seed = 1}}));
  stage.Write(stage.MessageOf(2, {{.bytes = 150000, .seed = 2}}));
  stage.Write(stage.MessageOf(3, {{.bytes = 10, .seed = 3}}));
  stage.Settle();
}

// No buffer ends at the limit, and nothing outlasts its share: IOV-5, IOV-6 and SND-7 have
// cases of their own.
void NotBeforeTheDatagramLeft(Stage& stage) {
  stage.link().SetTesteeSendBuffer(20000);
  stage.ReadLater(true);
  const uint32_t limit = stage.limit();
  stage.Write(stage.MessageOf(1, {{.bytes = limit - 1, .seed = 1}, {.sync = true}}));
  stage.Write(stage.MessageOf(2, {{.bytes = limit + 1, .seed = 1}, {.bytes = limit, .seed = 2}}));
  stage.Write(stage.MessageOf(3, {{.bytes = 4 * limit - 3, .seed = 1}, {.sync = true}}));
  stage.Write(stage.MessageOf(4, {}));
  stage.RunWithoutReading();
  stage.RunWithoutReading();
  stage.Settle();
  stage.link().SetTesteeSendBuffer(106496);
}

void FailureCompletesTheRest(Stage& stage) {
  stage.link().SetTesteeSendBuffer(20000);
  stage.ReadLater(true);
  const uint32_t limit = stage.limit();
  stage.Write(stage.MessageOf(1, {{.bytes = 6 * limit, .seed = 1}, {.sync = true}}));
  stage.Write(stage.MessageOf(2, {{.sync = true}, {.bytes = 10, .seed = 1}, {.bytes = 0}}));
  stage.Write(stage.MessageOf(3, {}));
  stage.RunWithoutReading();
  stage.link().CloseB();
  stage.sent().Fail();
  stage.JudgeEvents(stage.RunOnce());
}

}  // namespace

void AddCompletionCases(CaseList& cases) {
  const std::vector<std::string> completes = {"completions"};
  const std::vector<std::string> fragments = {"completions", "fragments"};
  Add(cases, "CMP-1/each-buffer-completes-once", EachOnce).Role("sender").Needs(completes);
  Add(cases, "CMP-2/in-chain-order", InOrder).Role("sender").Needs(completes);
  Add(cases, "CMP-2/in-the-order-of-datagrams", InTheOrderOfDatagrams)
      .Role("sender")
      .Needs(fragments);
  Add(cases, "CMP-3/not-before-the-datagram-left", NotBeforeTheDatagramLeft)
      .Role("sender")
      .Needs(fragments)
      .Fresh();
  Add(cases, "CMP-5/failure-completes-the-rest", FailureCompletesTheRest)
      .Role("sender")
      .Needs(fragments)
      .EndsPort();
}

}  // namespace portproof::suite
