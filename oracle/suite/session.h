// One testee, from its hello to its end: commands as JSON, answers checked.
//   shapes    a Program: an argv, or a function for the runner's own liar. Hello: what
//             it said of itself, limits filled up with the protocol's defaults
//   returns   answers that are JSON objects; SeenEvents in the order they happened
//   holds     the process and both ports. The pid it names must have our port open: it
//             will be stopped and limited
//   rules     none of its own: an answer the contract does not allow ends the case with no
//             rule, and the stage says which rule the moment was about
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_SESSION_H_
#define PORTPROOF_ORACLE_SUITE_SESSION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "oracle/suite/channel.h"
#include "oracle/suite/link.h"
#include "oracle/suite/process.h"
#include "oracle/suite/verdict.h"

namespace portproof::suite {

using Json = nlohmann::json;

struct Program {
  std::vector<std::string> argv;
  std::function<int()> body;  // instead of argv
};

struct Limits {
  uint64_t assemblies_per_sender = 64;
  uint64_t assemblies_per_port = 1024;
  uint64_t assembly_bytes = uint64_t{32} << 20;
  uint64_t total_bytes = uint64_t{64} << 20;
  uint64_t memory_bytes = uint64_t{128} << 20;
  uint64_t queue_messages = 4096;
  uint64_t queue_bytes = uint64_t{64} << 20;
  uint64_t queue_fds = 256;
};

struct Hello {
  Json said;
  std::string name;
  int32_t pid = 0;
  std::string process;  // application or router, as of 1.19; empty: it does not say
  std::set<std::string> roles;
  std::set<std::string> features;
  std::set<std::string> profiles;
  Limits limits;
};

struct StartParameters {
  std::string profile = "unit-1.35.0";
  uint32_t max_size = 16384;
  uint32_t max_share = 65536;
  friend bool operator==(const StartParameters&, const StartParameters&) = default;
};

struct SeenEvent {
  enum class Kind : uint8_t { kDelivered, kCompleted, kRefused, kClosed };
  Kind kind = Kind::kDelivered;
  int64_t type = 0;
  int64_t stream = 0;
  int64_t pid = 0;
  int64_t reply_port = 0;
  bool last = false;
  uint64_t bytes = 0;
  std::string crc;
  std::vector<std::string> fds;
  int64_t message = 0;
  std::optional<int64_t> buffer;
  bool ok = false;
  std::string rule;
};
std::string ToString(const SeenEvent& event);

class Session {
 public:
  // Throws CaseEnd where the testee does not get as far as its hello. A program that
  // cannot be run at all is told through `unrunnable`.
  static std::unique_ptr<Session> Launch(const Program& program, int timeout_ms,
                                         std::string* unrunnable = nullptr);
  ~Session();

  const Hello& hello() const { return hello_; }
  Link& link() { return *link_; }
  Process& process() { return process_; }

  // `extra_ms`: the time the command itself is given, beside that for an answer.
  Json Ask(const Json& command, int extra_ms = 0);
  // A line as it stands, for what is no command.
  Json AskLine(const std::string& line, int extra_ms = 0);
  std::vector<SeenEvent> Run(int idle_ms, int deadline_ms);
  // True: it ended by itself, with status 0, after `quit` or end-of-file.
  bool Quit(bool by_end_of_file, int wait_ms);

  bool alive() { return !process_.Ended(0); }
  void set_timeout_ms(int timeout_ms) { timeout_ms_ = timeout_ms; }
  std::string Errors() {
    channel_.ReadErrors();
    return channel_.errors();
  }

 private:
  Session(Process process, std::unique_ptr<Link> link, int timeout_ms);
  [[noreturn]] void Silent(Heard heard, const std::string& command);
  void ReadHello();
  bool HasOurPort(int32_t pid) const;

  Process process_;
  std::unique_ptr<Link> link_;
  Channel channel_;
  Hello hello_;
  int timeout_ms_;
};

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_SESSION_H_
