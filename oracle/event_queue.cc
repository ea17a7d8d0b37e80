#include "oracle/event_queue.h"

#include <utility>

namespace portproof {

void EventQueue::Push(const Event& event) {
  ++count_;
  if (items_.empty()) {
    sink_.OnEvent(event);
    return;
  }
  Append(event).ready = true;
  Bound();
}

EventQueue::Ticket EventQueue::Reserve(const Event& event) {
  ++count_;
  Append(event);
  const Ticket ticket = first_ + items_.size() - 1;
  Bound();
  return ticket;
}

EventQueue::Item& EventQueue::Append(const Event& event) {
  std::unique_ptr<Item> item;
  if (spare_.empty()) {
    item = std::make_unique<Item>();
  } else {
    item = std::move(spare_.back());
    spare_.pop_back();
  }
  item->event = event;
  item->data.assign(event.data.begin(), event.data.end());
  item->port.assign(event.port);
  item->event.data = item->data;
  item->event.port = item->port;
  item->ready = false;
  item->drop = false;
  bytes_ += item->data.size();
  items_.push_back(std::move(item));
  return *items_.back();
}

Event* EventQueue::Find(Ticket ticket) {
  if (ticket < first_ || ticket - first_ >= items_.size()) return nullptr;
  return &items_[ticket - first_]->event;
}

void EventQueue::Settle(Ticket ticket, bool drop) {
  if (Find(ticket) == nullptr) return;
  Item& item = *items_[ticket - first_];
  item.ready = true;
  item.drop = drop;
  Drain();
}

void EventQueue::Drain() {
  constexpr size_t kSpareMax = 64;
  constexpr size_t kSpareBytesMax = size_t{64} << 10;
  while (!items_.empty() && items_.front()->ready) {
    Item& item = *items_.front();
    if (!item.drop) sink_.OnEvent(item.event);
    bytes_ -= item.data.size();
    if (spare_.size() < kSpareMax && item.data.capacity() <= kSpareBytesMax) {
      spare_.push_back(std::move(items_.front()));
    }
    items_.pop_front();
    ++first_;
  }
}

void EventQueue::Bound() {
  while (items_.size() > kItemsMax || (bytes_ > kBytesMax && !items_.empty())) {
    items_.front()->event.killed = true;
    items_.front()->ready = true;
    Drain();
  }
}

void EventQueue::Flush() {
  while (!items_.empty()) {
    if (!items_.front()->ready) items_.front()->event.killed = true;
    items_.front()->ready = true;
    Drain();
  }
}

}  // namespace portproof
