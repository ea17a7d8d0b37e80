// Writes JSON Lines, the canonical form of a trace, see README.md here.
//   shapes    events in their order; the first line is written at once
//   returns   `write` is handed each line, newline included: what ReadJsonLines reads
//             back as the same events
//   holds     one line
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_JSONL_WRITER_H_
#define PORTPROOF_ORACLE_JSONL_WRITER_H_

#include <functional>
#include <string>
#include <string_view>

#include "oracle/trace.h"

namespace portproof {

class JsonLinesWriter : public EventSink {
 public:
  JsonLinesWriter(std::function<void(std::string_view)> write, const TraceInfo& info);
  // kDamage is not written: the line it stood for is lost.
  void OnEvent(const Event& event) override;

 private:
  std::function<void(std::string_view)> write_;
  std::string line_;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_JSONL_WRITER_H_
