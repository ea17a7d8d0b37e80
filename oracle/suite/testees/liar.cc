// A testee of both roles that keeps to the protocol, unless it is told to lie:
//   liar [SWITCH]       one defect; lies.txt has them all, with the rules each breaks
#include <unistd.h>

#include <utility>

#include "oracle/suite/testees/command_loop.h"
#include "oracle/suite/testees/lies.h"
#include "oracle/suite/testees/plain_receiver.h"
#include "oracle/suite/testees/plain_sender.h"

namespace portproof::testee {
namespace {

class Liar : public Port {
 public:
  Liar()
      : sender_(events_),
        receiver_(
            events_, [this](uint32_t id) { sender_.Ask(id); },
            [this](uint32_t id) { sender_.Announce(id); }) {}

  Json Hello() override {
    const auto& received = receiver_.limits();
    const auto& sent = sender_.limits();
    Json hello = HelloOf("liar", {{"assemblies_per_sender", received.assemblies_per_sender},
                                  {"assemblies_per_port", received.assemblies_per_port},
                                  {"assembly_bytes", received.assembly_bytes},
                                  {"total_bytes", received.total_bytes},
                                  {"queue_messages", sent.messages},
                                  {"queue_bytes", sent.bytes},
                                  {"queue_fds", sent.fds}});
    if (Lie("lists-are-bytes")) hello["features"] = {"fragments", "fds", "credentials"};
    if (Lie("only-segments-for-any")) hello["process"] = "router";
    if (Lie("segments-for-any")) hello["process"] = "application";
    return hello;
  }

  StartAnswer Start(const StartRequest& request) override {
    StartAnswer answer;
    const auto resolved = ResolveProfile(request.profile);
    answer.unsupported = !resolved;
    if (!resolved) return answer;
    const Profile& profile = *resolved->profile;
    answer.refused = sender_.Start(profile, request);
    if (!answer.refused.empty()) return answer;
    receiver_.Start(profile, request);
    answer.max_size = request.max_size;
    for (const Type type : profile.types) {
      if (PlainReceiver::Handles(type)) answer.types.emplace_back(Name(type));
    }
    return answer;
  }

  SendAnswer Send(const SendRequest& request) override { return sender_.Send(request); }
  bool Turn() override {
    const bool received = receiver_.Turn();
    return sender_.Turn() || received;
  }
  Wish Wishes() override { return {.read = receiver_.open(), .write = sender_.waits()}; }
  Json TakeEvents() override {
    if (receiver_.garbled()) return "well, what do you think?";
    Json events = events_;
    events_ = Json::array();
    if (!Lie("completed-late")) return events;
    Json told = std::exchange(late_, Json::array());
    for (Json& event : events) (event["ev"] == "completed" ? late_ : told).push_back(event);
    return told;
  }
  Json Stats() override {
    return {{"open_assemblies", receiver_.open_assemblies()},
            {"held_bytes", Lie("stats-made-up") ? 7 : receiver_.held_bytes()},
            {"queued_messages", sender_.size()},
            {"chunks_busy", receiver_.busy_chunks()}};
  }
  void Keep(bool fds) override { receiver_.Keep(fds); }
  void Reset() override {
    if (!Lie("reset-keeps-the-queue")) sender_.Reset();
    receiver_.Reset();
    late_.clear();
  }

 private:
  Json events_ = Json::array();
  Json late_ = Json::array();
  PlainSender sender_;
  PlainReceiver receiver_;
};

}  // namespace
}  // namespace portproof::testee

int main(int argc, char** argv) {
  if (argc > 1) portproof::testee::ChosenLie() = argv[1];
  portproof::testee::Liar liar;
  return portproof::testee::Serve(liar);
}
