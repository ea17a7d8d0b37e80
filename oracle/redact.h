// Makes a trace safe to hand on: payloads become zeros, verdicts stay the same.
//   shapes    events in, the same events out
//   returns   -
//   holds     one datagram's bytes
//   rules     headers, references and the payloads a checker decodes (new_port,
//             remove_pid, get_port, get_mmap, the size a conf_store of 1.22+ names) are
//             kept; what is configuration text is not
//   source    none
#ifndef PORTPROOF_ORACLE_REDACT_H_
#define PORTPROOF_ORACLE_REDACT_H_

#include <vector>

#include "absl/container/flat_hash_set.h"
#include "oracle/trace.h"
#include "protocol/profile.h"

namespace portproof {

class Redactor : public EventSink {
 public:
  // `altered`: lines of the receives whose bytes are not as sent (SOC-3); they
  // get a mark in place of their payload, for zeros would make them look right.
  Redactor(const Profile& profile, ByteOrder order, absl::flat_hash_set<uint64_t> altered,
           EventSink& out)
      : profile_(profile), order_(order), altered_(std::move(altered)), out_(out) {}
  void OnEvent(const Event& event) override;

 private:
  size_t BytesKept(const Event& event) const;

  const Profile& profile_;
  ByteOrder order_;
  absl::flat_hash_set<uint64_t> altered_;
  EventSink& out_;
  std::vector<uint8_t> bytes_;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_REDACT_H_
