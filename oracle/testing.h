// Helpers of the oracle's tests: files with given content, judged in process.
#ifndef PORTPROOF_ORACLE_TESTING_H_
#define PORTPROOF_ORACLE_TESTING_H_

#include <string>
#include <string_view>
#include <vector>

#include "oracle/judge.h"

namespace portproof {

// A file of the test's own, removed with it.
std::string WriteFile(const std::string& name, std::string_view content);
std::string ReadFile(const std::string& path);
std::string TestData(const std::string& path);  // of testdata/

// Judges a file; fails the test if it cannot be read.
TraceReport JudgeFile(const std::string& path, const JudgeOptions& options = {});
TraceReport JudgeText(std::string_view text, const std::string& profile = "auto");
// The rules found broken, in the order of the report; notes left out.
std::vector<std::string> Broken(const TraceReport& report);

// A line of JSON Lines for a datagram: header fields, then `more` keys.
struct DatagramText {
  uint32_t stream = 5;
  int32_t pid = 101;
  uint16_t reply_port = 0;
  uint8_t type = 12;
  bool last = false;
  bool mmap = false;
  bool nf = false;
  bool mf = false;
  std::string payload = "aa";  // hex
  std::string Hex() const;
};
std::string Send(const DatagramText& datagram, const std::string& more = "");
std::string Recv(const DatagramText& datagram, const std::string& more = "");
std::string Both(const DatagramText& datagram);
// An event of one process, on port "p".
std::string EventBy(const std::string& kind, int pid, const std::string& more = "");
std::string SendBy(int pid, const DatagramText& datagram, const std::string& more = "");
std::string RecvBy(int pid, const DatagramText& datagram, const std::string& more = "");
inline const std::string kFirstLine = "{\"portproof\":1,\"profile\":\"unit-0.2\"}\n";
// The rules that these events on port "p", of 0.2 and seen from its opening, are found to break.
std::vector<std::string> BrokenIn(const std::string& events);
inline const std::string kOpen = "{\"ev\":\"open\",\"port\":\"p\"}\n";

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_TESTING_H_
