#include "props/naive_queue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace portproof {

std::string ToString(const NaiveDatagram& d) {
  return absl::StrCat("(", d.wire_bytes, " bytes, ", d.runs, " runs, stream ", d.stream, " type ",
                      static_cast<int>(d.type), " reply ", d.reply_port, d.last ? " last" : "",
                      d.mmap ? " mmap" : "", d.nf ? " nf" : "", d.mf ? " mf" : "", " fds [",
                      absl::StrJoin(d.fds, " "), "] bytes [", absl::StrJoin(d.bytes, " "), "])");
}

WriteResult NaiveQueue::Write(const WriteRequest& request, SendActions& actions) {
  if (over_) return {*over_, false};
  size_t bytes_waiting = 0;
  size_t fds_waiting = 0;
  for (const Message& message : queue_) {
    bytes_waiting += message.bytes().size() - message.sent;
    if (!message.begun) fds_waiting += message.request.fd_count;
  }
  Message message;
  message.request = request;
  message.owns_fds = request.close_fds;
  std::vector<Byte> bytes;
  bool any_plain = false;
  for (const Buffer& buffer : request.chain) {
    for (uint32_t i = 0; i < buffer.bytes; ++i) {
      bytes.push_back(
          {buffer.address + i, (uint64_t{buffer.segment_id} << 32) + buffer.segment_offset + i});
    }
    message.links.push_back({buffer.id, bytes.size(), buffer.last});
    const bool nameable = buffer.kind == BufferKind::kShared && buffer.usable &&
                          buffer.segment_offset % limits_.chunk_bytes == 0;
    if (buffer.bytes > 0 && !nameable) any_plain = true;
  }
  message.all_bytes = std::make_shared<const std::vector<Byte>>(std::move(bytes));
  message.shared = !any_plain && !message.bytes().empty();
  // SHM-15: on stream 0, or where the first datagram goes plain, nothing is tracked.
  const bool tracked =
      request.tracking && message.shared && request.stream != 0 && Compose(message).mmap;
  if (!tracked) message.request.tracking.reset();
  if (request.type >= limits_.type_count) return {WriteAnswer::kType, false};
  if (request.fd_count > limits_.fds_per_message) return {WriteAnswer::kFds, false};
  if (!limits_.takes_fragments && Compose(message).mf) return {WriteAnswer::kFragments, false};
  if (queue_.size() + 1 > limits_.messages_max) return {WriteAnswer::kMessagesFull, false};
  if (bytes_waiting + message.bytes().size() > limits_.bytes_max) {
    return {WriteAnswer::kBytesFull, false};
  }
  if (fds_waiting + request.fd_count > limits_.fds_max) return {WriteAnswer::kFdsFull, false};
  const bool may_send = !waits_for_event_ && !waits_for_retry_ && !request.batch;
  const bool must_wait = !may_send || !queue_.empty();
  if (must_wait) Own(message, actions);
  queue_.push_back(message);
  return {WriteAnswer::kAccepted, may_send, tracked};
}

// SND-6, word for word.
std::list<NaiveQueue::Message>::const_iterator NaiveQueue::NextPlace() const {
  bool unbegun_seen = false;
  for (auto place = queue_.begin(); place != queue_.end(); ++place) {
    if (place->begun) return place;
    if (unbegun_seen) continue;
    unbegun_seen = true;
    const bool stream_free = std::none_of(queue_.begin(), queue_.end(), [&](const Message& other) {
      return other.begun && other.request.stream == place->request.stream;
    });
    if (stream_free) return place;
  }
  return queue_.end();
}

std::optional<NaiveDatagram> NaiveQueue::Next() const {
  const auto place = NextPlace();
  if (place == queue_.end()) return std::nullopt;
  return Compose(*place);
}

// One byte after the other.
NaiveDatagram NaiveQueue::Take(const Message& message, bool by_place, size_t bytes_max,
                               size_t runs_max) {
  NaiveDatagram datagram;
  const auto where = [&](size_t i) {
    return by_place ? message.bytes()[i].place : message.bytes()[i].address;
  };
  for (size_t i = message.sent; i < message.bytes().size(); ++i) {
    if (datagram.bytes.size() == bytes_max) break;
    const bool adjacent = i > message.sent && where(i) == where(i - 1) + 1;
    if (!adjacent && datagram.runs == runs_max) break;
    if (!adjacent) ++datagram.runs;
    datagram.bytes.push_back(where(i));
  }
  return datagram;
}

NaiveDatagram NaiveQueue::Compose(const Message& message) const {
  NaiveDatagram datagram;
  if (message.shared) {
    const size_t tracking_bytes = message.request.tracking && !message.begun ? 8 : 0;
    const size_t references = std::min<size_t>(79, (limits_.payload_bytes - tracking_bytes) / 12);
    datagram = Take(message, true, 0x7fffffff, references);
    datagram.mmap = datagram.bytes.size() > 12;
    datagram.wire_bytes = static_cast<uint32_t>(16 + tracking_bytes + uint64_t{12} * datagram.runs);
    if (!datagram.mmap) datagram = Take(message, false, limits_.payload_bytes, references);
  } else {
    datagram = Take(message, false, limits_.payload_bytes, limits_.plain_runs);
  }
  if (!datagram.mmap) datagram.wire_bytes = static_cast<uint32_t>(16 + datagram.bytes.size());
  const size_t end = message.sent + datagram.bytes.size();
  datagram.stream = message.request.stream;
  datagram.reply_port = message.request.reply_port;
  datagram.type = message.request.type;
  datagram.nf = message.begun;
  datagram.mf = end < message.bytes().size();
  datagram.last = message.request.last;
  for (const Link& link : message.links) {
    if (link.marked && link.end <= end) datagram.last = true;
  }
  if (!message.begun) {
    for (size_t i = 0; i < message.request.fd_count; ++i) {
      datagram.fds.push_back(message.request.fds[i]);
    }
  }
  return datagram;
}

bool NaiveQueue::Sent(SendActions& actions) {
  refusals_in_a_row_ = 0;
  const auto place = queue_.erase(NextPlace(), NextPlace());  // drops const
  const NaiveDatagram datagram = Compose(*place);
  if (!place->begun && place->owns_fds) CloseFds(*place, actions);
  place->begun = true;
  place->sent += datagram.bytes.size();
  if (place->links.empty()) CompleteOne(*place, true, actions);
  while (place->completed < place->links.size() &&
         place->links[place->completed].end <= place->sent) {
    CompleteOne(*place, true, actions);
  }
  if (!datagram.mf) {
    queue_.erase(place);
    return false;
  }
  place->share += datagram.wire_bytes;
  if (place->share < limits_.share_bytes) return false;
  place->share = 0;
  queue_.splice(queue_.end(), queue_, place);
  return true;
}

void NaiveQueue::WouldBlock(SendActions& actions) {
  waits_for_event_ = true;
  for (Message& message : queue_) {
    if (!message.begun) Own(message, actions);
  }
  SetArmed(true, actions);
}

void NaiveQueue::Busy(SendActions& actions) {
  waits_for_retry_ = true;
  for (Message& message : queue_) {
    if (!message.begun) Own(message, actions);
  }
  SetArmed(false, actions);
  const uint32_t delay_ms = refusals_in_a_row_ < 7 ? 1u << refusals_in_a_row_ : 100;
  ++refusals_in_a_row_;
  actions.push_back({.kind = SendAction::Kind::kRetryLater, .delay_ms = delay_ms});
}

void NaiveQueue::MessageError(SendActions& actions) {
  const auto place = queue_.erase(NextPlace(), NextPlace());
  if (place->begun) {
    Fail(WriteAnswer::kFailed, actions);
    return;
  }
  FailOne(*place, actions);
  queue_.erase(place);
}

// SHM-10: what would go by reference to a segment that was not announced after all.
void NaiveQueue::FailNaming(uint32_t segment_id, SendActions& actions) {
  const auto names = [segment_id](const Message& message) {
    bool any = false;
    for (const Byte& byte : message.bytes()) any |= byte.place >> 32 == segment_id;
    return message.shared && any;
  };
  for (Message& message : queue_) {
    if (names(message)) FailOne(message, actions);
  }
  queue_.remove_if(names);
}

void NaiveQueue::Fail(WriteAnswer why, SendActions& actions) {
  over_ = why;
  for (Message& message : queue_) FailOne(message, actions);
  queue_.clear();
  SetArmed(false, actions);
}

bool NaiveQueue::Writable(SendActions& actions) {
  if (queue_.empty()) {
    SetArmed(false, actions);
    waits_for_event_ = false;
    return false;
  }
  if (waits_for_retry_) return false;
  waits_for_event_ = false;
  return true;
}

bool NaiveQueue::Retry() {
  waits_for_retry_ = false;
  return !queue_.empty();
}

void NaiveQueue::Own(Message& message, SendActions& actions) const {
  if (message.owns_fds) return;
  message.owns_fds = true;
  for (size_t i = 0; i < message.request.fd_count; ++i) {
    actions.push_back({.kind = SendAction::Kind::kDuplicateFd, .fd = message.request.fds[i]});
  }
}

void NaiveQueue::CloseFds(const Message& message, SendActions& actions) {
  for (size_t i = 0; i < message.request.fd_count; ++i) {
    actions.push_back({.kind = SendAction::Kind::kCloseFd, .fd = message.request.fds[i]});
  }
}

void NaiveQueue::CompleteOne(Message& message, bool ok, SendActions& actions) {
  SendAction action{.kind = SendAction::Kind::kComplete, .ok = ok};
  action.writer = message.request.writer;
  action.message_id = message.request.message_id;
  if (!message.links.empty()) {
    action.has_buffer = true;
    action.buffer_id = message.links[message.completed].id;
  }
  ++message.completed;
  actions.push_back(action);
}

void NaiveQueue::FailOne(Message& message, SendActions& actions) {
  if (!message.begun && message.owns_fds) CloseFds(message, actions);
  do {
    CompleteOne(message, false, actions);
  } while (message.completed < message.links.size());
}

void NaiveQueue::SetArmed(bool armed, SendActions& actions) {
  if (armed != armed_) {
    actions.push_back({.kind = armed ? SendAction::Kind::kArm : SendAction::Kind::kDisarm});
  }
  armed_ = armed;
}

}  // namespace portproof
