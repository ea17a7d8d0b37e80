// Which receive is which send, on one port: SOC-3.
//   shapes    Sent: what is kept of a datagram on its way; a queue per sending thread
//   returns   Match says which outstanding send a receive is, and what was wrong.
//             Lost: at the end of the port, the sends that no receive can have taken
//   holds     the outstanding sends of the port, at most kOutstandingMax (a socket
//             holds far fewer; what is beyond will never be received), the last
//             kConsumedKept matched of each thread, and at most kPassedKept sends that a
//             receive of a later one passed over
//   rules     SOC-3: unchanged, none lost before a later one, order per thread.
//             Two receives are ordered only if one returned before the other was entered:
//             until then either may have been first. Equal datagrams of several threads
//             are interchangeable until a later receive says which it was
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
  uint32_t file = 0;
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
    kOrder,    // `sent` is it, and a receive that returned before this one was entered
               // took a later datagram of its thread
    kLate,     // one already reported as altered
    kUnsent,   // nobody sent it
  };
  Kind kind = Kind::kUnsent;
  std::optional<Sent> sent;
  std::vector<Sent> lost;  // passed over by so many receives that they are no longer kept
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
  static constexpr size_t kPassedKept = 1024;

  void Push(int32_t tid, const Sent& sent);
  // `entered`, `returned`: the numbers of the events between which the call ran.
  void Take(const Event& received, uint64_t entered, uint64_t returned, Match& match);
  // A receive whose thread died inside it, or which the trace ends in: it may have taken one.
  void Abandon(uint64_t entered, uint64_t ended);
  // The sends that were passed over and never received; forgets them.
  std::vector<Sent> TakeLost();
  size_t outstanding() const { return outstanding_; }
  bool forgot() const { return forgot_; }  // more was on its way than is kept

 private:
  struct Lane {
    int32_t tid = kNoPid;
    SentQueue waiting;
    SentQueue consumed;
  };

  // A send that was not taken before a later one of its thread was.
  struct Passed {
    Sent sent;
    uint64_t returned = 0;  // the receive of the later one
  };
  struct Abandoned {
    uint64_t entered = 0;
    uint64_t ended = 0;
  };

  Lane& LaneOf(int32_t tid);
  bool TakePassed(const Event& received, const Print& print, uint64_t entered, bool by_sender,
                  Match& match);
  bool TakeKept(const Print& print, Match& match);
  void Pass(const Sent& sent, Match& match);
  static std::optional<size_t> HeadLike(const Lane& lane, const Print& print);
  bool TakeHead(const Event& received, const Print& print, Match& match);
  bool TakeDeep(const Print& print, Match& match);
  void TakeAltered(const Event& received, const Print& print, Match& match);
  void Consume(Lane& lane, size_t depth, Match& match);
  bool Exchange(const Lane& lane, const Sent& passed);
  void Forget();
  void ForgetLanes();

  std::vector<Lane> lanes_;
  std::vector<Passed> passed_;  // in the order in which they were passed over
  std::vector<Abandoned> abandoned_;
  uint64_t returned_ = 0;  // of the receive being matched
  SentQueue late_;
  size_t outstanding_ = 0;
  bool forgot_ = false;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_DELIVERY_H_
