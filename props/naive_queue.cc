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

WriteAnswer NaiveQueue::Judge(const Message& message) const {
  const WriteRequest& request = message.request;
  size_t bytes_waiting = message.bytes().size();
  size_t fds_waiting = request.fd_count;
  for (const Message& other : queue_) {
    bytes_waiting += other.bytes().size() - other.sent;
    if (!other.begun) fds_waiting += other.request.fd_count;
  }
  if (over_) return *over_;
  if (request.type >= limits_.type_count) return WriteAnswer::kType;
  if (request.fd_count > limits_.fds_per_message) return WriteAnswer::kFds;
  const std::optional<Tracking>& word = request.tracking;
  if (word && limits_.has_tracking) {
    const auto segment = announced_.find(word->mmap_id);
    if (segment == announced_.end() || word->tracking_id >= segment->second) {
      return WriteAnswer::kNoSegment;
    }
  }
  for (const Byte& byte : message.bytes()) {
    const bool known = announced_.contains(static_cast<uint32_t>(byte.place >> 32));
    if (message.shared && !known) return WriteAnswer::kNoSegment;
  }
  if (!limits_.takes_fragments && Compose(message).mf) return WriteAnswer::kFragments;
  if (queue_.size() + 1 > limits_.messages_max) return WriteAnswer::kMessagesFull;
  if (bytes_waiting > limits_.bytes_max) return WriteAnswer::kBytesFull;
  if (fds_waiting > limits_.fds_max) return WriteAnswer::kFdsFull;
  return WriteAnswer::kAccepted;
}

void NaiveQueue::Refuse(const WriteRequest& request, WriteAnswer answer, SendActions& actions) {
  for (size_t i = 0; i < request.fd_count; ++i) {
    actions.push_back({.kind = SendAction::Kind::kReleaseFd, .fd = request.fds[i]});
  }
  actions.push_back({.kind = SendAction::Kind::kRefuse, .answer = answer});
}

bool NaiveQueue::Put(const WriteRequest& request, std::optional<uint32_t> announces,
                     SendActions& actions) {
  Message message;
  message.request = request;
  message.owns_fds = request.close_fds;
  message.announces = announces;
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
  const WriteAnswer answer = Judge(message);
  if (answer != WriteAnswer::kAccepted) {
    Refuse(request, answer, actions);
    return false;
  }
  // SHM-15: on stream 0, or where the first datagram goes plain, nothing is tracked.
  if (!limits_.has_tracking || !message.shared || request.stream == 0 || !Compose(message).mmap) {
    message.request.tracking.reset();
  }
  if (message.request.tracking) {
    actions.push_back({.kind = SendAction::Kind::kTrack,
                       .stream = request.stream,
                       .tracking = *message.request.tracking});
  }
  const bool may_send = !waits_for_event_ && !waits_for_retry_ && !request.batch;
  if (!may_send || !queue_.empty()) Own(message, actions);
  queue_.push_back(message);
  if (may_send) actions.push_back({.kind = SendAction::Kind::kFlush});
  return true;
}

// SHM-10
void NaiveQueue::Announce(const AnnounceSegment& announce, SendActions& actions) {
  WriteRequest request;
  request.stream = announce.stream;
  request.reply_port = announce.reply_port;
  request.type = limits_.mmap_type;
  request.last = true;
  request.batch = announce.batch;
  request.fd_count = 1;
  request.fds[0] = announce.fd;
  request.writer = announce.writer;
  request.message_id = announce.message_id;
  if (announced_.contains(announce.segment_id)) {
    return Refuse(request, WriteAnswer::kNoSegment, actions);
  }
  if (!Put(request, announce.segment_id, actions)) return;
  announced_[announce.segment_id] = announce.tracking_slots;
}

// SND-8: the newest is taken back, with the copies that were made.
void NaiveQueue::NotDuplicated(FdSlot fd, SendActions& actions) {
  const Message message = queue_.back();
  queue_.pop_back();
  bool copied = true;
  for (size_t i = 0; i < message.request.fd_count; ++i) {
    if (message.request.fds[i] == fd) copied = false;
    const auto kind = copied ? SendAction::Kind::kCloseFd : SendAction::Kind::kReleaseFd;
    actions.push_back({.kind = kind, .fd = message.request.fds[i]});
  }
  if (message.request.tracking) {
    actions.push_back({.kind = SendAction::Kind::kUntrack,
                       .stream = message.request.stream,
                       .tracking = *message.request.tracking});
  }
  if (message.announces) {
    announced_.erase(*message.announces);
    actions.push_back({.kind = SendAction::Kind::kForget, .segment_id = *message.announces});
  }
  actions.push_back({.kind = SendAction::Kind::kRefuse, .answer = WriteAnswer::kNoDescriptor});
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
  if (!place->begun) LetFdsGo(*place, actions);
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

// SHM-6: one reference for each run.
void NaiveQueue::Name(const NaiveDatagram& datagram, SendAction::Kind kind,
                      SendActions& actions) const {
  if (!datagram.mmap) return;
  for (size_t i = 0; i < datagram.bytes.size(); ++i) {
    const uint64_t place = datagram.bytes[i];
    if (i > 0 && place == datagram.bytes[i - 1] + 1) {
      actions.back().reference.bytes += 1;
      continue;
    }
    const auto offset = static_cast<uint32_t>(place);
    actions.push_back(
        {.kind = kind,
         .reference = {static_cast<uint32_t>(place >> 32), offset / limits_.chunk_bytes, 1}});
  }
}

void NaiveQueue::WouldBlock(SendActions& actions) {
  waits_for_event_ = true;
  SetArmed(true, actions);
  for (Message& message : queue_) {
    if (!message.begun) Own(message, actions);
  }
}

void NaiveQueue::Busy(SendActions& actions) {
  waits_for_retry_ = true;
  SetArmed(false, actions);
  const uint32_t delay_ms = refusals_in_a_row_ < 7 ? 1u << refusals_in_a_row_ : 100;
  ++refusals_in_a_row_;
  actions.push_back({.kind = SendAction::Kind::kRetryLater, .delay_ms = delay_ms});
  for (Message& message : queue_) {
    if (!message.begun) Own(message, actions);
  }
}

void NaiveQueue::MessageError(SendActions& actions) {
  const auto place = queue_.erase(NextPlace(), NextPlace());
  if (place->begun) {
    Fail(WriteAnswer::kFailed, actions);
    return;
  }
  const std::optional<uint32_t> announces = place->announces;
  FailOne(*place, actions);
  queue_.erase(place);
  if (!announces) return;
  announced_.erase(*announces);
  actions.push_back({.kind = SendAction::Kind::kForget, .segment_id = *announces});
  FailNaming(*announces, actions);
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

void NaiveQueue::Writable(SendActions& actions) {
  if (queue_.empty()) {
    SetArmed(false, actions);
    waits_for_event_ = false;
    return;
  }
  if (waits_for_retry_) return;
  waits_for_event_ = false;
  actions.push_back({.kind = SendAction::Kind::kFlush});
}

void NaiveQueue::Retry(SendActions& actions) {
  waits_for_retry_ = false;
  if (!queue_.empty()) actions.push_back({.kind = SendAction::Kind::kFlush});
}

void NaiveQueue::Own(Message& message, SendActions& actions) const {
  if (message.owns_fds) return;
  message.owns_fds = true;
  for (size_t i = 0; i < message.request.fd_count; ++i) {
    actions.push_back({.kind = SendAction::Kind::kDuplicateFd, .fd = message.request.fds[i]});
  }
}

void NaiveQueue::LetFdsGo(const Message& message, SendActions& actions) {
  const auto kind = message.owns_fds ? SendAction::Kind::kCloseFd : SendAction::Kind::kReleaseFd;
  for (size_t i = 0; i < message.request.fd_count; ++i) {
    actions.push_back({.kind = kind, .fd = message.request.fds[i]});
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
  if (!message.begun) LetFdsGo(message, actions);
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
