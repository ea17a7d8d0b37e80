// One line per datagram, for reading.
//   shapes    events in; a line each for sends, receives, failures and ends
//   returns   -
//   holds     where each open message stands
//   rules     none judged
//   source    none
#ifndef PORTPROOF_ORACLE_DUMP_H_
#define PORTPROOF_ORACLE_DUMP_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "oracle/trace.h"
#include "protocol/chunk.h"
#include "protocol/profile.h"

namespace portproof {

class Dumper : public EventSink {
 public:
  Dumper(const Profile& profile, ByteOrder order, std::function<void(std::string_view)> print)
      : profile_(profile), order_(order), print_(std::move(print)) {}
  void OnEvent(const Event& event) override;

  // The header and what follows it: "stream 4  pid 536  start_process last nf mf  16368 bytes".
  std::string Describe(const Event& event);

 private:
  struct Place {
    uint64_t fragments = 0;
    uint64_t bytes = 0;
  };
  std::string FragmentPlace(const Event& event);
  std::string References(const Event& event, bool tracking);

  const Profile& profile_;
  ByteOrder order_;
  std::function<void(std::string_view)> print_;
  absl::flat_hash_map<std::string, Place> open_;  // by port, direction, sender and stream
  std::vector<Reference> references_;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_DUMP_H_
