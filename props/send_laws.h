// What section 4 promises, watched from outside while a sender works: its writes, the
// datagrams the kernel took, the actions performed. No model of the queue is kept, only
// what happened to each message; each law is a sentence about that.
//   shapes    one SenderLaws for each sender. Messages are told apart by reply_port,
//             which no sender interprets: message_id + 1
//   returns   BrokenLaw: a broken law, its rule, what was seen
//   holds     a record of every message ever written
//   rules     named at each law
//   source    the rules
#ifndef PORTPROOF_PROPS_SEND_LAWS_H_
#define PORTPROOF_PROPS_SEND_LAWS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/rule.h"
#include "protocol/send_machine.h"

namespace portproof {

enum class Law : uint8_t {
  kConservation,  // accepted is delivered once or failed once; its bytes, in order
  kShape,         // runs, fullness, mf, nf, last, the repeated fields
  kCompletions,   // each buffer once, in order, not early, not late, to its writer
  kFairness,      // one turn between two datagrams of a begun message
  kOrder,         // begin as written; streams neither overtake nor mix; announced first
  kLiveness,      // something will send what is queued
  kDescriptors,   // with the first datagram; owned ones closed once, others never
  kBounds,        // refused exactly beyond the bounds
  kModel,         // the queue does what the naive queue does
  kArrival,       // what left arrives, whole, in order, unrefused
  kVerdict,       // our checker, who sees the wire alone, finds nothing
};
inline constexpr size_t kLawCount = 11;
std::string_view Name(Law law);

struct BrokenLaw {
  Law law;
  Rule rule;
  std::string text;
};
using BrokenLaws = std::vector<BrokenLaw>;
std::string ToString(const BrokenLaw& finding);

// A message written and what has become of it.
struct SentMessage {
  WriteRequest request;  // its chain is below
  std::vector<Buffer> chain;
  std::vector<uint64_t> addresses;  // of each byte
  std::vector<size_t> ends;         // bytes up to and with each buffer
  std::set<uint32_t> segments;      // it refers to, if sent by reference
  uint32_t announces = ~0u;         // the segment, if it is an announcement
  bool begun = false;
  bool finished = false;
  bool failed = false;
  bool withdrawn = false;
  bool last = false;  // of the latest datagram
  bool owned = false;
  size_t fds_closed = 0;
  size_t fds_released = 0;
  size_t fds_copied = 0;
  size_t sent = 0;
  std::vector<size_t> datagram_ends;  // `sent` after each
  std::vector<uint64_t> datagram_times;
  size_t completed = 0;
  uint64_t share = 0;
  uint64_t written_at = 0;
  uint64_t rotated_at = 0;                  // 0: never
  std::map<uint64_t, uint64_t> since_mine;  // bytes of others since its latest datagram
};

class SenderLaws {
 public:
  SenderLaws(const SendLimits& limits, BrokenLaws& findings)
      : limits_(limits), findings_(findings) {}

  void Wrote(const WriteRequest& request, uint32_t announces, const SendActions& actions);
  void Withdrew(uint64_t message_id);
  void Left(const PlannedDatagram& datagram, std::span<const ByteRun> runs);
  void Did(const SendAction& action);
  // The shell has returned to its caller. `batched`: something waits for a flush.
  void Settled(bool batched);
  // All that can be sent has been.
  void Drained();

  const std::map<uint64_t, SentMessage>& messages() const { return messages_; }
  bool armed() const { return armed_; }
  bool retry_asked() const { return retry_asked_; }
  void RetryCame() { retry_asked_ = false; }

 private:
  void Check(bool holds, Law law, Rule rule, uint64_t id, std::string_view sentence);
  void CheckBytes(const PlannedDatagram& datagram, std::span<const ByteRun> runs,
                  SentMessage& message, uint64_t id);
  void CheckShape(const PlannedDatagram& datagram, std::span<const ByteRun> runs,
                  SentMessage& message, uint64_t id);
  void CheckOrder(const PlannedDatagram& datagram, const SentMessage& message, uint64_t id);
  void CheckFairness(const PlannedDatagram& datagram, SentMessage& message, uint64_t id);
  void CheckDescriptors(const PlannedDatagram& datagram, const SentMessage& message, uint64_t id);
  void Completed(const SendAction& action);
  void CheckOnTime(const SentMessage& message, uint64_t id);
  void DescriptorAction(const SendAction& action);
  void LeaveHandedOver(const Reference& reference);
  bool Waiting(const SentMessage& message) const {
    return !message.finished && !message.failed && !message.withdrawn;
  }

  SendLimits limits_;
  BrokenLaws& findings_;
  std::map<uint64_t, SentMessage> messages_;  // accepted ones, by message_id
  std::map<FdSlot, uint64_t> fd_owner_;
  std::set<FdSlot> copied_;
  std::set<uint32_t> announced_;
  std::vector<Reference> handed_over_;  // neither left nor taken back so far
  uint64_t now_ = 0;
  uint64_t latest_completion_ = 0;  // when the datagram left that completed last
  bool armed_ = false;
  bool retry_asked_ = false;
};

}  // namespace portproof

#endif  // PORTPROOF_PROPS_SEND_LAWS_H_
