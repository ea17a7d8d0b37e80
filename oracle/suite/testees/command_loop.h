// The testee's side of the live suite's commands, shared by the testees in C++.
//   shapes    Port: what an implementation must be able to do; JSON stays in here
//   returns   Serve: an exit status, after `quit` or end-of-file
//   holds     the memory of chains until their messages are done is the port's matter
//   rules     none; oracle/suite/README.md has the commands
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_TESTEES_COMMAND_LOOP_H_
#define PORTPROOF_ORACLE_SUITE_TESTEES_COMMAND_LOOP_H_

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "oracle/suite/piece.h"

namespace portproof::testee {

using Json = nlohmann::json;

inline constexpr int kReceiveFd = 3;
inline constexpr int kSendFd = 4;

struct StartRequest {
  std::string profile;
  int32_t pid = 0;
  int32_t peer_pid = 0;
  uint16_t port_id = 0;
  uint32_t max_size = 0;
  uint32_t max_share = 0;
};

struct StartAnswer {
  bool unsupported = false;
  std::string refused;  // why; empty if it is not
  uint32_t max_size = 0;
  std::vector<std::string> types;
};

using PieceRequest = suite::Piece;

struct SendRequest {
  int64_t message = 0;
  uint32_t type = 0;
  uint32_t stream = 0;
  uint16_t reply_port = 0;
  bool last = false;
  bool close_fd = false;
  bool batch = false;
  uint32_t fds = 0;
  std::vector<PieceRequest> chain;
};

struct SendAnswer {
  std::string refused;  // why; empty if it was accepted
  std::vector<std::string> fds;
};

struct Wish {
  bool read = false;   // fd 3
  bool write = false;  // fd 4
  int retry_ms = -1;   // to be called again then
};

class Port {
 public:
  virtual ~Port() = default;
  virtual Json Hello() = 0;
  virtual StartAnswer Start(const StartRequest& request) = 0;
  virtual SendAnswer Send(const SendRequest& request) = 0;
  // Reads and writes what it can; whether anything went or came.
  virtual bool Turn() = 0;
  virtual Wish Wishes() = 0;
  virtual Json TakeEvents() = 0;
  virtual Json Stats() = 0;
  virtual void Keep(bool fds) = 0;
  virtual void Reset() = 0;
};

int Serve(Port& port);

// The hello of one that claims everything there is.
Json HelloOf(const std::string& name, Json limits);

// A file of one's own, to pass: close-on-exec; its "dev:ino".
int MakeFile();
std::string FileName(int fd);

}  // namespace portproof::testee

#endif  // PORTPROOF_ORACLE_SUITE_TESTEES_COMMAND_LOOP_H_
