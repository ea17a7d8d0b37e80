// One line of JSON Lines to an Event.
//   shapes    a line without its newline; kPadding readable bytes follow it
//   returns   Parse: the event; or false, and then wrong() says what was expected and
//             port() the port the line names, if that much could be read. A line in the
//             form JsonLinesWriter gives it is scanned, any other goes to a JSON parser:
//             the event is the same either way
//   holds     the decoded bytes of one line; the event's views are into them and the line
//   rules     none; README.md here has the format
//   source    none
#ifndef PORTPROOF_ORACLE_JSON_EVENT_H_
#define PORTPROOF_ORACLE_JSON_EVENT_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "oracle/json_scan.h"
#include "oracle/trace.h"

namespace portproof {

class JsonEventParser {
 public:
  // scan false: every line goes to the JSON parser.
  explicit JsonEventParser(bool scan = true);
  ~JsonEventParser();

  // The first line of a file: what it says of the whole.
  absl::Status ParseInfo(std::string_view line, TraceInfo& info);
  bool Parse(std::string_view line, Event& event);
  const std::string& wrong() const { return wrong_; }
  std::string_view port() const { return fields_.port; }

 private:
  struct Json;

  bool Wrong(std::string what);
  bool ParseAny(std::string_view line, Event& event);
  bool Complete(Event& event);

  bool scan_;
  std::unique_ptr<Json> json_;
  JsonFields fields_;
  std::string wrong_;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_JSON_EVENT_H_
