// What our own checker says of the wire of a Play: it must find nothing.
//   shapes    see play.h; the play as a recording of one port: a microsecond an event, and in
//             the end a second in which nothing happens
//   returns   a finding for each violation, errors and warnings alike
//   holds     the checker
//   rules     those that a recording can show
//   source    none
#ifndef PORTPROOF_PROPS_VERDICT_H_
#define PORTPROOF_PROPS_VERDICT_H_

#include <cstdint>
#include <memory>

#include "oracle/conversation/action.h"
#include "props/play.h"

namespace portproof {

class Verdict : public Recipient {
 public:
  explicit Verdict(const conversation::Setup& setup);
  ~Verdict() override;

  void Sent(const WireDatagram& datagram) override;
  void Refused(int32_t pid, const char* error) override;
  void Arrived(const WireDatagram& datagram) override;
  void Died(int32_t pid) override;
  void AllOfDeadRead(int32_t) override {}
  void Closed(int32_t pid) override;
  void HungUp() override;
  void Ended(BrokenLaws& findings) override;

 private:
  class Recording;  // the checker's Event is not the reassembly's
  std::unique_ptr<Recording> recording_;
};

}  // namespace portproof

#endif  // PORTPROOF_PROPS_VERDICT_H_
