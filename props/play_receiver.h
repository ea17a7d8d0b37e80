// The other end of a Play: a receiver that runs the core, and the question whether what
// was written arrived.
//   shapes    see play.h and machine_process.h
//   returns   a finding for each refusal, each message that is not what was written,
//             came twice, overtook one of its stream, or never came; and for each
//             descriptor that did not end in one place
//   holds     the receiver, and what it delivered
//   rules     FRG-1, FRG-2, FRG-3, FRG-4, FRG-5, FRG-6, FRG-7, FRG-8, FRG-9, IOV-1,
//             IOV-6, SND-6, SND-8, FDS-5, SHM-1, SHM-2, SHM-5
//   source    the rules
#ifndef PORTPROOF_PROPS_PLAY_RECEIVER_H_
#define PORTPROOF_PROPS_PLAY_RECEIVER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "oracle/conversation/action.h"
#include "props/machine_process.h"
#include "props/play.h"
#include "props/wire.h"

namespace portproof {

class PlayReceiver : public Recipient {
 public:
  explicit PlayReceiver(const conversation::Setup& setup);
  void Watch(const Play& play) { play_ = &play; }  // before the first action

  void Sent(const WireDatagram& datagram) override;
  void Refused(int32_t, const char*) override {}
  void Arrived(const WireDatagram& datagram) override;
  void Died(int32_t) override {}
  void AllOfDeadRead(int32_t pid) override;  // as remove_pid tells a receiver
  void Closed(int32_t) override {}
  void HungUp() override;
  void Ended(BrokenLaws& findings) override;

  uint64_t delivered_count() const { return delivered_.size(); }

 private:
  void Take(uint8_t sender, const Outcome& outcome);
  void Delivered(uint8_t sender, const Message& message);
  std::string Written(uint8_t sender, const SentMessage& message) const;
  std::string Payload(uint8_t sender, const Message& message) const;
  void Check(bool holds, Rule rule, uint64_t id, const char* sentence);

  MachineProcess receiver_;
  bool credentials_;
  const Play* play_ = nullptr;
  BrokenLaws findings_;
  std::map<uint64_t, uint8_t> delivered_;                    // message ids, their senders
  std::map<std::pair<uint8_t, uint32_t>, uint64_t> latest_;  // of a stream: when written
  std::map<uint64_t, bool> final_sent_;                      // the whole of it left
  std::vector<int> fds_sent_;
  std::vector<int> fds_ended_;
  bool hung_up_ = false;
};

// Plays all of it from end to end; what was found. `reached` is given what it reached,
// `narrator` everything that happens.
BrokenLaws PlayEndToEnd(const conversation::Conversation& conversation,
                        std::set<std::string>* reached = nullptr,
                        const std::function<void(const std::string&)>& narrator = nullptr);

}  // namespace portproof

#endif  // PORTPROOF_PROPS_PLAY_RECEIVER_H_
