#include "oracle/suite/canary.h"

#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string>

namespace portproof::suite {
namespace {

using Json = nlohmann::json;

bool ReadLine(std::string& line) {
  line.clear();
  char byte = 0;
  while (read(STDIN_FILENO, &byte, 1) == 1) {
    if (byte == '\n') return true;
    line += byte;
  }
  return false;
}

void Say(const Json& object) {
  const std::string line = object.dump() + "\n";
  [[maybe_unused]] const ssize_t written = write(STDOUT_FILENO, line.data(), line.size());
}

}  // namespace

int RunCanary() {
  Say({{"hello", 1},
       {"name", "canary"},
       {"version", "1"},
       {"pid", getpid()},
       {"roles", {"receiver"}},
       {"features", Json::array()},
       {"profiles", {"unit-1.35.0"}}});
  std::string line;
  while (ReadLine(line)) {
    const Json command = Json::parse(line, nullptr, false);
    const std::string cmd = command.value("cmd", "");
    if (cmd == "start") {
      Say({{"ok", true}, {"max_size", command["max_size"]}, {"types", {"data"}}});
    } else if (cmd == "run") {
      Say({{"events",
            {{{"ev", "delivered"},
              {"type", 27},
              {"stream", 1},
              {"pid", command.value("pid", 0)},
              {"reply_port", 0},
              {"last", false},
              {"bytes", 10},
              {"crc32", "00000000"},
              {"fds", Json::array()}}}}});
    } else if (cmd == "quit") {
      return 0;
    } else {
      Say({{"ok", true}});
    }
  }
  return 0;
}

}  // namespace portproof::suite
