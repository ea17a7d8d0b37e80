// Events in the order of their calls' entry, where a call's outcome is known later.
//   shapes    Push: a ready event; Reserve: a place for a send whose call has not
//             returned; Settle: its outcome. Ready events at the front go to the sink
//   returns   Reserve: a ticket, valid until settled or given up
//   holds     copies of what waits, at most kItemsMax events and kBytesMax bytes; beyond,
//             the oldest open place is given up: its send counts as killed
//   rules     sends are ordered by entry; a receive may be logged before its send's return
//   source    none
#ifndef PORTPROOF_ORACLE_EVENT_QUEUE_H_
#define PORTPROOF_ORACLE_EVENT_QUEUE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "oracle/trace.h"

namespace portproof {

class EventQueue {
 public:
  static constexpr size_t kItemsMax = 1 << 14;
  static constexpr size_t kBytesMax = size_t{8} << 20;

  using Ticket = uint64_t;  // 0: none

  explicit EventQueue(EventSink& sink) : sink_(sink) {}

  void Push(const Event& event);
  Ticket Reserve(const Event& event);
  // The waiting event, to fill in; nullptr if it was given up.
  Event* Find(Ticket ticket);
  void Settle(Ticket ticket, bool drop);
  void Flush();  // gives up every open place
  bool empty() const { return items_.empty(); }
  uint64_t count() const { return count_; }  // events pushed and places reserved so far

 private:
  struct Item {
    Event event;
    std::vector<uint8_t> data;
    std::string port;
    bool ready = false;
    bool drop = false;
  };

  Item& Append(const Event& event);
  void Drain();
  void Bound();

  EventSink& sink_;
  std::deque<std::unique_ptr<Item>> items_;
  std::vector<std::unique_ptr<Item>> spare_;
  Ticket first_ = 1;  // ticket of items_.front()
  size_t bytes_ = 0;
  uint64_t count_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_EVENT_QUEUE_H_
