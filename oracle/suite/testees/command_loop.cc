#include "oracle/suite/testees/command_loop.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <set>

#include "protocol/profile.h"

namespace portproof::testee {
namespace {

using Clock = std::chrono::steady_clock;

const std::set<std::string> kSendKeys = {"cmd",        "message", "type", "last",     "stream",
                                         "reply_port", "chain",   "fds",  "close_fd", "batch"};
const std::set<std::string> kPieceKeys = {"bytes", "seed", "sync", "last", "adjacent", "shm"};

bool OnlyKnown(const Json& object, const std::set<std::string>& keys) {
  if (!object.is_object()) return false;
  for (const auto& [key, value] : object.items()) {
    if (!keys.contains(key)) return false;
  }
  return true;
}

bool ParseSend(const Json& command, SendRequest& request) {
  if (!OnlyKnown(command, kSendKeys)) return false;
  request.message = command.value("message", int64_t{0});
  request.type = command.value("type", uint32_t{0});
  request.stream = command.value("stream", uint32_t{0});
  request.reply_port = command.value("reply_port", uint16_t{0});
  request.last = command.value("last", false);
  request.close_fd = command.value("close_fd", false);
  request.batch = command.value("batch", false);
  request.fds = command.value("fds", uint32_t{0});
  for (const Json& piece : command.value("chain", Json::array())) {
    if (!OnlyKnown(piece, kPieceKeys)) return false;
    request.chain.push_back({.bytes = piece.value("bytes", uint32_t{0}),
                             .seed = piece.value("seed", uint64_t{0}),
                             .sync = piece.value("sync", false),
                             .last = piece.value("last", false),
                             .adjacent = piece.value("adjacent", false),
                             .shm = piece.value("shm", false)});
  }
  return true;
}

Json Send(Port& port, const Json& command) {
  SendRequest request;
  if (!ParseSend(command, request)) return {{"unsupported", true}};
  const SendAnswer answer = port.Send(request);
  if (!answer.refused.empty()) return {{"accepted", false}, {"reason", answer.refused}};
  Json accepted = {{"accepted", true}};
  if (!answer.fds.empty()) accepted["fds"] = answer.fds;
  return accepted;
}

Json Start(Port& port, const Json& command) {
  const StartAnswer answer = port.Start({.profile = command.value("profile", ""),
                                         .pid = command.value("pid", 0),
                                         .peer_pid = command.value("peer_pid", 0),
                                         .port_id = command.value("port_id", uint16_t{0}),
                                         .max_size = command.value("max_size", 0u),
                                         .max_share = command.value("max_share", 0u)});
  if (answer.unsupported) return {{"unsupported", true}};
  if (!answer.refused.empty()) return {{"ok", false}, {"reason", answer.refused}};
  return {{"ok", true}, {"max_size", answer.max_size}, {"types", answer.types}};
}

int MillisecondsTo(Clock::time_point when) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 3600000));
}

Json Run(Port& port, const Json& command) {
  const auto idle = std::chrono::milliseconds(command.value("idle_ms", 20));
  const auto deadline =
      Clock::now() + std::chrono::milliseconds(command.value("deadline_ms", 2000));
  auto last = Clock::now();
  while (Clock::now() < deadline) {
    if (port.Turn()) {
      last = Clock::now();
      continue;
    }
    const Wish wish = port.Wishes();
    const bool retries = wish.retry_ms >= 0;
    if (!retries && Clock::now() >= last + idle) break;
    int wait =
        std::min(MillisecondsTo(deadline), retries ? wish.retry_ms : MillisecondsTo(last + idle));
    pollfd polls[2] = {{wish.read ? kReceiveFd : -1, POLLIN, 0},
                       {wish.write ? kSendFd : -1, POLLOUT, 0}};
    poll(polls, 2, wait);
    if (retries) last = Clock::now();
  }
  return {{"events", port.TakeEvents()}};
}

Json Answer(Port& port, const Json& command) {
  const std::string cmd = command.is_object() ? command.value("cmd", "") : "";
  if (cmd == "start") return Start(port, command);
  if (cmd == "send") return Send(port, command);
  if (cmd == "run") return Run(port, command);
  if (cmd == "stats") return port.Stats();
  if (cmd == "keep") {
    port.Keep(command.value("fds", false));
    return {{"ok", true}};
  }
  if (cmd == "reset") {
    port.Reset();
    return {{"ok", true}};
  }
  return {{"unsupported", true}};
}

}  // namespace

int Serve(Port& port) {
  std::cout << port.Hello().dump() << std::endl;
  std::string line;
  while (std::getline(std::cin, line)) {
    const Json command = Json::parse(line, nullptr, false);
    if (command.is_object() && command.value("cmd", "") == "quit") break;
    std::cout << Answer(port, command).dump() << std::endl;
  }
  return 0;
}

Json HelloOf(const std::string& name, Json limits) {
  Json profiles = Json::array();
  for (const Profile& profile : Profiles()) profiles.push_back(std::string(profile.newest));
  profiles.push_back("unit-0.2");
  return {{"hello", 1},
          {"name", name},
          {"version", "1"},
          {"pid", getpid()},
          {"roles", {"receiver", "sender"}},
          {"features", {"fragments", "fds", "shm-send", "shm-receive", "asks", "credentials"}},
          {"profiles", std::move(profiles)},
          {"limits", std::move(limits)}};
}

int MakeFile() { return memfd_create("testee", MFD_CLOEXEC); }

std::string FileName(int fd) {
  struct stat file = {};
  if (fstat(fd, &file) != 0) return "gone";
  return std::to_string(file.st_dev) + ":" + std::to_string(file.st_ino);
}

}  // namespace portproof::testee
