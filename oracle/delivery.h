// Which receive is which send, on one port: SOC-3.
//   shapes    Sent: what is kept of a datagram on its way; a queue per sending thread
//   returns   Match says which outstanding send a receive is, and what was wrong
//   holds     the outstanding sends of the port, at most kOutstandingMax (a socket
//             holds far fewer; what is beyond will never be received), and the last
//             kConsumedKept matched of each thread
//   rules     SOC-3: unchanged, none lost before a later one, order per thread.
//             Linear: equal datagrams of several threads are interchangeable until a
//             later receive says which it was
//   source    none
#ifndef PORTPROOF_ORACLE_DELIVERY_H_
#define PORTPROOF_ORACLE_DELIVERY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "oracle/trace.h"

namespace portproof {

// The bytes of a datagram, condensed.
struct Print {
  uint64_t all = 0;   // of every byte, where all are known
  uint64_t head = 0;  // of the header (or of all, if fewer)
  uint64_t size = 0;
  bool whole = false;
};
Print PrintOf(const Event& event);

struct Sent {
  Print print;
  uint64_t slot = 0;
  uint64_t sequence = 0;  // of the event
  uint64_t key = 0;       // of the stream
  int64_t time_us = kNoTime;
  uint64_t line = 0;
  int32_t pid = kNoPid;      // as recorded
  int32_t process = kNoPid;  // pid, or the thread that stands for it
  uint32_t serial = 0;       // of the process: pids come back; 0 unknown
  uint32_t fds = 0;
  uint32_t iov = 0;
  uint32_t stream = 0;
  bool killed = false;     // may not have left
  bool delivered = false;  // received already, though altered
  bool fragment = false;
  bool faulty = false;  // a rule of its sender is broken already: what follows is its doing
};

struct Match {
  enum class Kind : uint8_t {
    kSame,     // `sent` is it
    kAltered,  // `sent` is what it should have been
    kTwice,    // received before
    kLate,     // one already reported as lost or overtaken
    kUnsent,   // nobody sent it
  };
  Kind kind = Kind::kUnsent;
  std::optional<Sent> sent;
  std::vector<Sent> lost;  // passed over: sent before it by the same thread
};

// A queue that costs nothing while it is empty.
class SentQueue {
 public:
  bool empty() const { return head_ == items_.size(); }
  size_t size() const { return items_.size() - head_; }
  const Sent& operator[](size_t index) const { return items_[head_ + index]; }
  const Sent& front() const { return items_[head_]; }
  const Sent& back() const { return items_.back(); }
  const Sent* begin() const { return items_.data() + head_; }
  const Sent* end() const { return items_.data() + items_.size(); }
  void PushBack(const Sent& sent) { items_.push_back(sent); }
  void PushFront(const Sent& sent);
  void PopBack() { items_.pop_back(); }
  void PopFront(size_t count = 1);
  void Erase(size_t index);

 private:
  std::vector<Sent> items_;
  size_t head_ = 0;
};

class Delivery {
 public:
  static constexpr size_t kOutstandingMax = 1 << 16;
  static constexpr size_t kConsumedKept = 8;

  void Push(int32_t tid, const Sent& sent);
  void Take(const Event& received, Match& match);
  size_t outstanding() const { return outstanding_; }
  bool forgot() const { return forgot_; }  // more was on its way than is kept

 private:
  struct Lane {
    int32_t tid = kNoPid;
    SentQueue waiting;
    SentQueue consumed;
  };

  Lane& LaneOf(int32_t tid);
  bool TakeHead(const Event& received, const Print& print, Match& match);
  bool TakeDeep(const Print& print, Match& match);
  void TakeAltered(const Event& received, const Print& print, Match& match);
  void Consume(Lane& lane, size_t depth, Match& match);
  bool Exchange(const Lane& lane, const Sent& passed);
  void Forget();
  void ForgetLanes();

  std::vector<Lane> lanes_;
  SentQueue late_;
  size_t outstanding_ = 0;
  bool forgot_ = false;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_DELIVERY_H_
