// Scans a line of JSON Lines that is in canonical form, at the speed of its bytes.
//   shapes    canonical: what JsonLinesWriter writes of a send, a receive, or anything
//             else with plain keys: no spaces, no escapes, whole numbers without sign,
//             times with at most six decimals, hex in lower case
//   returns   true: event and fields are what a JSON parser makes of the line, "size"
//             and what hangs on it left to the caller. False: not canonical, or wrong in
//             some way; event and fields are anything
//   holds     nothing; fields keeps the decoded bytes and views into the line
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_JSON_SCAN_H_
#define PORTPROOF_ORACLE_JSON_SCAN_H_

#include <cstdint>
#include <string_view>

#include "oracle/byte_buffer.h"
#include "oracle/trace.h"

namespace portproof {

inline constexpr uint64_t kJsonDatagramBytesMax = uint64_t{1} << 31;

// What of a line does not go into the event as it stands.
struct JsonFields {
  uint32_t seen = 0;  // keys
  bool again = false;
  uint64_t size = 0;
  std::string_view port;
  ByteBuffer data;

  void Clear() {
    seen = 0;
    again = false;
    port = {};
    data.Clear();
  }
};

bool ScanCanonical(std::string_view line, Event& event, JsonFields& fields);

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_JSON_SCAN_H_
