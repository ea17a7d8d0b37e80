#include "oracle/suite/session.h"

#include <unistd.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "protocol/profile.h"

namespace portproof::suite {
namespace {

constexpr int kEndedSoonMs = 500;
constexpr int kNestedMax = 64;                     // of JSON: who writes or frees it recurses
constexpr uint64_t kLimitMax = uint64_t{1} << 60;  // enough for everybody, and to add to

const std::set<std::string> kRoles = {"receiver", "sender"};
const std::set<std::string> kFeatures = {"fragments",   "fds",         "shm",  "shm-send",
                                         "shm-receive", "credentials", "asks", "no-completions"};
const std::set<std::string> kSides = {"application", "router"};

// `shm` is short for all there is of it; completions are there unless disclaimed.
void Complete(std::set<std::string>& features) {
  if (features.contains("shm")) features.insert({"shm-send", "shm-receive", "asks"});
  if (!features.contains("no-completions")) features.insert("completions");
}

std::string Shown(const std::string& line) {
  constexpr size_t kShown = 300;
  return line.size() <= kShown ? line : absl::StrCat(line.substr(0, kShown), "...");
}

[[noreturn]] void Broken(const std::string& expected, const std::string& seen) {
  throw CaseEnd{Verdict::kFail, std::nullopt, expected, seen};
}

// How deep the brackets of a line of JSON are nested, at most.
int Nesting(const std::string& line) {
  int depth = 0;
  int deepest = 0;
  bool text = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"') text = !text;
    if (text && c == '\\') ++i;
    if (text) continue;
    if (c == '[' || c == '{') deepest = std::max(deepest, ++depth);
    if (c == ']' || c == '}') --depth;
  }
  return deepest;
}

Json ParseObject(const std::string& line, const std::string& what) {
  if (Nesting(line) > kNestedMax)
    Broken(absl::StrCat(what, ": JSON nested at most ", kNestedMax, " deep"), Shown(line));
  Json parsed = Json::parse(line, nullptr, false);
  if (!parsed.is_object()) Broken(absl::StrCat(what, ": a line with a JSON object"), Shown(line));
  return parsed;
}

template <typename Value>
bool Fits(const Json& number) {
  if (number.is_number_unsigned()) return std::in_range<Value>(number.get<uint64_t>());
  return std::in_range<Value>(number.get<int64_t>());
}

// The value of a key, which must be there and of that type.
template <typename Value>
Value Get(const Json& object, const char* key) {
  const auto it = object.find(key);
  bool right = it != object.end();
  if constexpr (std::is_same_v<Value, bool>) {
    right = right && it->is_boolean();
  } else if constexpr (std::is_integral_v<Value>) {
    right = right && it->is_number_integer() && Fits<Value>(*it);
  } else {
    right = right && it->is_string();
  }
  if (!right) Broken(absl::StrCat("key \"", key, "\" with its value"), Shown(object.dump()));
  return it->get<Value>();
}

// `known`: what may be in it; a misspelt one would only make cases UNSUPPORTED.
std::set<std::string> Texts(const Json& object, const char* key,
                            const std::function<bool(const std::string&)>& known) {
  std::set<std::string> texts;
  const auto it = object.find(key);
  if (it == object.end()) return texts;
  if (!it->is_array()) Broken(absl::StrCat("an array in \"", key, "\""), Shown(object.dump()));
  for (const Json& text : *it) {
    if (!text.is_string()) Broken(absl::StrCat("texts in \"", key, "\""), Shown(object.dump()));
    if (!known(text.get<std::string>()))
      Broken(absl::StrCat("only known ones in \"", key, "\""), Shown(text.dump()));
    texts.insert(text.get<std::string>());
  }
  return texts;
}

Limits ParseLimits(const Json& said) {
  Limits limits;
  const Json given = said.value("limits", Json::object());
  if (!given.is_object()) Broken("an object in \"limits\"", Shown(said.dump()));
  const std::vector<std::pair<const char*, uint64_t*>> fields = {
      {"assemblies_per_sender", &limits.assemblies_per_sender},
      {"assemblies_per_port", &limits.assemblies_per_port},
      {"assembly_bytes", &limits.assembly_bytes},
      {"total_bytes", &limits.total_bytes},
      {"memory_bytes", &limits.memory_bytes},
      {"queue_messages", &limits.queue_messages},
      {"queue_bytes", &limits.queue_bytes},
      {"queue_fds", &limits.queue_fds}};
  for (const auto& [key, value] : given.items()) {
    const auto field = std::find_if(fields.begin(), fields.end(),
                                    [&key = key](const auto& f) { return key == f.first; });
    if (field == fields.end() || !value.is_number_unsigned() || value.get<uint64_t>() == 0)
      Broken("known limits, numbers above 0 each", Shown(absl::StrCat(key, ": ", value.dump())));
    *field->second = std::min(value.get<uint64_t>(), kLimitMax);
  }
  return limits;
}

SeenEvent ParseEvent(const Json& object) {
  if (!object.is_object()) Broken("events that are objects", Shown(object.dump()));
  SeenEvent event;
  const std::string ev = Get<std::string>(object, "ev");
  if (ev == "delivered") {
    event.type = Get<int64_t>(object, "type");
    event.stream = Get<int64_t>(object, "stream");
    event.pid = Get<int64_t>(object, "pid");
    event.reply_port = Get<int64_t>(object, "reply_port");
    event.last = Get<bool>(object, "last");
    event.bytes = Get<uint64_t>(object, "bytes");
    event.crc = Get<std::string>(object, "crc32");
    if (const auto fds = object.find("fds"); fds != object.end() && fds->is_array()) {
      for (const Json& fd : *fds) event.fds.push_back(fd.is_string() ? fd.get<std::string>() : "?");
    }
  } else if (ev == "completed") {
    event.kind = SeenEvent::Kind::kCompleted;
    event.message = Get<int64_t>(object, "message");
    const auto buffer = object.find("buffer");
    if (buffer == object.end()) Broken("key \"buffer\"", Shown(object.dump()));
    if (!buffer->is_null()) event.buffer = Get<int64_t>(object, "buffer");
    event.ok = Get<bool>(object, "ok");
  } else if (ev == "refused") {
    event.kind = SeenEvent::Kind::kRefused;
    if (object.contains("rule")) event.rule = Get<std::string>(object, "rule");
  } else if (ev == "closed") {
    event.kind = SeenEvent::Kind::kClosed;
  } else {
    Broken("an event delivered, completed, refused, closed or warning", Shown(object.dump()));
  }
  return event;
}

}  // namespace

std::string ToString(const SeenEvent& event) {
  switch (event.kind) {
    case SeenEvent::Kind::kDelivered:
      return absl::StrCat("delivered type ", event.type, " stream ", event.stream, " pid ",
                          event.pid, " reply_port ", event.reply_port, event.last ? " last " : " ",
                          event.bytes, " bytes crc32 ", event.crc, " fds [",
                          absl::StrJoin(event.fds, " "), "]");
    case SeenEvent::Kind::kCompleted:
      return absl::StrCat("message ", event.message, " buffer ",
                          event.buffer ? absl::StrCat(*event.buffer) : "none",
                          event.ok ? " completed" : " failed");
    case SeenEvent::Kind::kRefused:
      return absl::StrCat("refused", event.rule.empty() ? "" : " by ", event.rule);
    case SeenEvent::Kind::kClosed:
      return "closed";
  }
  return "";
}

Session::Session(Process process, std::unique_ptr<Link> link, int timeout_ms)
    : process_(std::move(process)),
      link_(std::move(link)),
      channel_(process_.pid(), process_.in(), process_.out(), process_.err()),
      timeout_ms_(timeout_ms) {}

Session::~Session() = default;

std::unique_ptr<Session> Session::Launch(const Program& program, int timeout_ms,
                                         std::string* unrunnable) {
  auto link = Link::Make();
  if (!link.ok())
    throw CaseEnd{Verdict::kSuiteError, std::nullopt, "two ports",
                  std::string(link.status().message())};
  const int fd3 = (*link)->testee_receives();
  const int fd4 = (*link)->testee_sends();
  auto process =
      program.body ? Process::Fork(program.body, fd3, fd4) : Process::Start(program.argv, fd3, fd4);
  if (!process.ok()) {
    if (unrunnable != nullptr) *unrunnable = std::string(process.status().message());
    throw CaseEnd{Verdict::kSuiteError, std::nullopt, "a running testee",
                  std::string(process.status().message())};
  }
  std::unique_ptr<Session> session(new Session(*std::move(process), *std::move(link), timeout_ms));
  try {
    session->ReadHello();
  } catch (CaseEnd& end) {
    end.names_no_rule = true;  // nothing of the case was played
    throw;
  }
  return session;
}

// We shall stop it, limit it, and take its census: it must not be anybody else.
bool Session::HasOurPort(int32_t pid) const {
  if (pid <= 1 || pid == getpid()) return false;
  return OpenFiles(pid).contains(FileIdOf(link_->testee_receives()));
}

void Session::ReadHello() {
  std::string line;
  const Heard heard = channel_.Ask("", timeout_ms_, nullptr, line);
  if (heard != Heard::kLine) Silent(heard, "");
  Json said = ParseObject(line, "hello");
  if (said.value("hello", Json()) != 1) Broken("a hello of version 1", Shown(line));
  hello_.name = Get<std::string>(said, "name");
  hello_.pid = Get<int32_t>(said, "pid");
  if (!HasOurPort(hello_.pid))
    Broken("in \"pid\" a process of the testee's that has fd 3 open", Shown(line));
  hello_.roles = Texts(said, "roles", [](const auto& role) { return kRoles.contains(role); });
  hello_.features =
      Texts(said, "features", [](const auto& feature) { return kFeatures.contains(feature); });
  Complete(hello_.features);
  if (said.contains("process")) hello_.process = Get<std::string>(said, "process");
  if (!hello_.process.empty() && !kSides.contains(hello_.process))
    Broken("application or router in \"process\"", Shown(line));
  hello_.profiles = Texts(said, "profiles",
                          [](const auto& profile) { return ResolveProfile(profile).has_value(); });
  if (hello_.roles.empty()) Broken("roles in the hello", Shown(line));
  hello_.limits = ParseLimits(said);
  hello_.said = std::move(said);
  link_->set_testee_pid(hello_.pid);
}

void Session::Silent(Heard heard, const std::string& command) {
  const std::string expected = command.empty()
                                   ? "its hello: a line of JSON on standard output, flushed"
                                   : absl::StrCat("an answer to ", Shown(command));
  std::string seen;
  Verdict verdict = Verdict::kCrash;
  switch (heard) {
    case Heard::kTimeout:
      verdict = Verdict::kTimeout;
      seen = "none in time";
      break;
    case Heard::kTooLong:
      verdict = Verdict::kFail;
      seen = absl::StrCat("a line of more than ", kLineBytesMax >> 20, " MiB");
      break;
    case Heard::kUnasked:
      verdict = Verdict::kFail;
      seen = "output that nobody asked for";
      break;
    case Heard::kClosed:
    case Heard::kLine:
      seen = process_.Ended(kEndedSoonMs) ? absl::StrCat("the testee ended: ", process_.ExitText())
                                          : "it closed its standard output and lives on";
      break;
  }
  channel_.ReadErrors();
  throw CaseEnd{verdict, std::nullopt, expected, seen};
}

Json Session::AskLine(const std::string& line, int extra_ms) {
  std::string answer;
  const Heard heard = channel_.Ask(line, timeout_ms_ + extra_ms, link_.get(), answer);
  if (heard != Heard::kLine) Silent(heard, line);
  return ParseObject(answer, "an answer");
}

Json Session::Ask(const Json& command, int extra_ms) { return AskLine(command.dump(), extra_ms); }

std::vector<SeenEvent> Session::Run(int idle_ms, int deadline_ms) {
  const Json answer =
      Ask({{"cmd", "run"}, {"idle_ms", idle_ms}, {"deadline_ms", deadline_ms}}, deadline_ms);
  const auto events = answer.find("events");
  if (events == answer.end() || !events->is_array())
    Broken("{\"events\":[...]} in answer to run", Shown(answer.dump()));
  std::vector<SeenEvent> seen;
  for (const Json& event : *events) {
    if (event.is_object() && event.value("ev", Json()) == "warning") continue;
    seen.push_back(ParseEvent(event));
  }
  return seen;
}

bool Session::Quit(bool by_end_of_file, int wait_ms) {
  if (!by_end_of_file) {
    std::string answer;
    channel_.Ask("{\"cmd\":\"quit\"}", wait_ms, nullptr, answer);
  }
  process_.CloseIn();
  return process_.Ended(wait_ms) && process_.exited_with(0);
}

}  // namespace portproof::suite
