#include "protocol/send_queue.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"

namespace portproof {
namespace {

constexpr uint32_t kMaxSizeMin = 64;
constexpr uint32_t kMaxSizeMax = 1 << 20;
constexpr uint32_t kKernelOverheadBytes = 32;  // of a datagram in SO_SNDBUF, on Linux

}  // namespace

bool SendParametersAllowed(const Profile& profile, uint32_t max_size, uint64_t max_share,
                           uint32_t send_buffer_bytes) {
  if (max_size < kMaxSizeMin || max_size > kMaxSizeMax || max_share < 1) return false;
  const uint64_t datagram_bytes = kHeaderBytes + PayloadLimit(profile, max_size);
  return datagram_bytes + kKernelOverheadBytes <= send_buffer_bytes;
}

Reference ReferenceOf(const ByteRun& run, uint32_t chunk_bytes) {
  const auto offset = static_cast<uint32_t>(run.place);
  return {static_cast<uint32_t>(run.place >> 32), offset / chunk_bytes,
          static_cast<uint32_t>(run.bytes)};
}

SendQueue::SendQueue(const SendLimits& limits) : limits_(limits) {
  assert(limits.payload_bytes > 0 && limits.share_bytes > 0 && limits.chunk_bytes > 0);
  assert(limits.plain_runs > 0 && limits.plain_runs <= kSharedRunsMax);
  assert(limits.fds_per_message <= 2);
}

// ---------------------------------------------------------------- writing

WriteAnswer SendQueue::NotOpen() const {
  return status_ == Status::kClosed ? WriteAnswer::kClosed : WriteAnswer::kFailed;
}

bool SendQueue::NeedsFragments(const WriteRequest& request) const {
  Message message;
  message.chain.Assign(request.chain);
  message.mode = SurveyOf(request.chain, limits_.chunk_bytes).mode;
  if (request.tracking) Track(request, message);
  PlannedDatagram datagram;
  std::array<ByteRun, kSharedRunsMax> runs;
  return ComposeNext(message, {}, true, datagram, runs).more;
}

// SHM-15: only a message whose first datagram goes as references is tracked.
void SendQueue::Track(const WriteRequest& request, Message& message) const {
  if (message.mode != Mode::kShared || request.stream == 0) return;
  PlannedDatagram datagram;
  std::array<ByteRun, kSharedRunsMax> runs;
  if (ComposeReferences(request.chain, {}, request.tracking, datagram, runs)) {
    message.tracking = request.tracking;
  }
}

WriteResult SendQueue::Write(const WriteRequest& request, SendActions& actions) {
  return WriteSurveyed(request, SurveyOf(request.chain, limits_.chunk_bytes), actions);
}

void SendQueue::WithdrawLast() {
  assert(!unbegun_.empty());
  const uint32_t slot = unbegun_.back();
  unbegun_.pop_back();
  queued_bytes_ -= slots_[slot].bytes_left;
  queued_fds_ -= slots_[slot].fd_count;
  FreeSlot(slot);
}

// A message that must wait owns its descriptors (SND-8).
void SendQueue::DuplicateBorrowed(Message& message, SendActions& actions) {
  if (message.owns_fds) return;
  for (size_t i = 0; i < message.fd_count; ++i) {
    actions.push_back({.kind = SendAction::Kind::kDuplicateFd, .fd = message.fds[i]});
  }
  message.owns_fds = true;
}

void SendQueue::FreeFragmented(uint32_t slot) {
  Message& message = slots_[slot];
  message.begun = false;
  message.unsent = {};
  message.share = 0;
  FreeSlot(slot);
}

// --------------------------------------------------------------- planning

// SND-6: the first in the queue that has begun, or that is the first unbegun one and
// whose stream is free.
std::optional<uint32_t> SendQueue::Next(Ahead ahead) const {
  const bool any_begun = ahead.begun < begun_.size();
  if (ahead.unbegun == unbegun_.size()) {
    if (!any_begun) return std::nullopt;
    return begun_[ahead.begun];
  }
  const uint32_t unbegun = unbegun_[ahead.unbegun];
  if (!any_begun) return unbegun;
  const uint32_t begun = begun_[ahead.begun];
  if (slots_[begun].place < slots_[unbegun].place) return begun;
  return StreamBusy(slots_[unbegun].header.stream, ahead.begun) ? begun : unbegun;
}

// Whether a message of the stream has begun and is unfinished, when the first
// `begun_ended` of the begun ones have ended in the plan being made.
bool SendQueue::StreamBusy(uint32_t stream, size_t begun_ended) const {
  if (!begun_streams_.contains(stream)) return false;
  for (size_t i = 0; i < begun_ended; ++i) {
    if (slots_[begun_[i]].header.stream == stream) return false;
  }
  return true;
}

// What Compose would make of a whole message, without the walk.
inline void SendQueue::PlanWhole(const Message& message, uint32_t slot, ByteRun& run,
                                 PlannedDatagram& datagram) {
  const Buffer& buffer = message.chain.first();
  datagram.header = message.header;
  datagram.header.last |= buffer.last;  // IOV-6
  datagram.payload_bytes = datagram.chain_bytes = buffer.bytes;
  datagram.mode = Mode::kPlain;
  datagram.fd_count = message.fd_count;
  datagram.fds = message.fds;
  datagram.run_count = buffer.bytes != 0 ? 1 : 0;
  datagram.tracking.reset();
  datagram.slot = slot;
  run = {buffer.address, buffer.bytes};
}

void SendQueue::Plan(SendPlan& plan) const {
  plan.count_ = 0;
  plan.run_count_ = 0;
  plan.generation_ = generation_;
  Ahead ahead;
  while (const std::optional<uint32_t> slot = Next(ahead)) {
    if (plan.count_ == kPlanDatagramsMax) return;
    const Message& message = slots_[*slot];
    if (message.whole) {
      PlannedDatagram& datagram = plan.datagrams_[plan.count_++];
      PlanWhole(message, *slot, plan.runs_[plan.run_count_], datagram);
      datagram.first_run = static_cast<uint32_t>(plan.run_count_);
      plan.run_count_ += datagram.run_count;
      ++ahead.unbegun;
      continue;
    }
    if (!PlanFragments(message, *slot, plan)) return;
    ahead.begun += message.begun ? 1 : 0;
    ahead.unbegun += message.begun ? 0 : 1;
  }
}

// False: the plan ends here, for want of room or at the message's rotation.
bool SendQueue::PlanFragments(const Message& message, uint32_t slot, SendPlan& plan) const {
  ChainCursor from = message.unsent;
  uint64_t share = message.share;
  bool begun = message.begun;
  bool last = message.header.last;
  for (bool more = true; more;) {
    if (plan.count_ == kPlanDatagramsMax) return false;
    PlannedDatagram& datagram = plan.datagrams_[plan.count_++];
    const Composed composed = ComposeNext(message, from, !begun, datagram,
                                          std::span(plan.runs_).subspan(plan.run_count_));
    last |= composed.last;  // IOV-6: once set it stays
    more = composed.more;
    datagram.run_count = static_cast<uint16_t>(composed.run_count);
    datagram.chain_bytes = composed.payload_bytes;
    datagram.next = composed.next;
    datagram.header = message.header;
    datagram.header.last = last;
    datagram.header.mmap = datagram.mode == Mode::kShared;
    datagram.header.nf = begun;
    datagram.header.mf = more;
    datagram.header.byte15 = static_cast<uint8_t>(datagram.tracking.has_value());
    datagram.fd_count = begun ? 0 : message.fd_count;  // SND-8, FDS-1
    datagram.fds = message.fds;
    datagram.slot = slot;
    datagram.first_run = static_cast<uint32_t>(plan.run_count_);
    plan.run_count_ += composed.run_count;
    from = composed.next;
    begun = true;
    share += kHeaderBytes + datagram.payload_bytes;
    if (more && share >= limits_.share_bytes) return false;  // SND-5
  }
  return true;
}

Composed SendQueue::ComposeNext(const Message& message, ChainCursor from, bool first,
                                PlannedDatagram& datagram, std::span<ByteRun> runs) const {
  ComposeLimits limits{limits_.payload_bytes, limits_.plain_runs};
  if (message.mode == Mode::kShared) [[unlikely]] {
    const auto tracking = first ? message.tracking : std::nullopt;
    const auto composed = ComposeReferences(message.chain.span(), from, tracking, datagram, runs);
    if (composed) return *composed;
    limits.runs = SharedLimits(limits_.payload_bytes, false).runs;
  }
  const Composed composed = Compose(message.chain.span(), from, limits, runs);
  datagram.mode = Mode::kPlain;
  datagram.tracking.reset();
  datagram.payload_bytes = composed.payload_bytes;
  return composed;
}

// Nothing where the copied bytes take no more room (SHM-4).
std::optional<Composed> SendQueue::ComposeReferences(std::span<const Buffer> chain,
                                                     ChainCursor from,
                                                     const std::optional<Tracking>& tracking,
                                                     PlannedDatagram& datagram,
                                                     std::span<ByteRun> runs) const {
  const ComposeLimits limits = SharedLimits(limits_.payload_bytes, tracking.has_value());
  const Composed composed = ComposeShared(chain, from, limits, runs);
  if (composed.payload_bytes <= kReferenceBytes) return std::nullopt;
  datagram.mode = Mode::kShared;
  datagram.tracking = tracking;
  datagram.payload_bytes =
      static_cast<uint32_t>(composed.run_count * kReferenceBytes + (tracking ? kTrackingBytes : 0));
  return composed;
}

// ------------------------------------------------------------- committing

// Its first datagram is sent, and with it its descriptors.
inline void SendQueue::LeaveUnbegun(Message& message, SendActions& actions) {
  assert(&slots_[unbegun_.front()] == &message);
  unbegun_.pop_front();
  if (message.fd_count == 0) return;
  queued_fds_ -= message.fd_count;
  for (size_t i = 0; message.owns_fds && i < message.fd_count; ++i) {  // SND-9
    actions.push_back({.kind = SendAction::Kind::kCloseFd, .fd = message.fds[i]});
  }
  message.fd_count = 0;
}

// Of a buffer of the message, or of a message without buffers.
inline SendAction SendQueue::Completion(const Message& message, const Buffer& buffer, bool ok) {
  return {.kind = SendAction::Kind::kComplete,
          .ok = ok,
          .has_buffer = !message.chain.empty(),
          .writer = message.writer,
          .message_id = message.id,
          .buffer_id = buffer.id};
}

inline void SendQueue::CommitOne(const PlannedDatagram& datagram, SendActions& actions) {
  const uint32_t slot = datagram.slot;
  Message& message = slots_[slot];
  queued_bytes_ -= datagram.chain_bytes;
  if (!message.whole) {
    CommitFragment(datagram, message, actions);
    return;
  }
  LeaveUnbegun(message, actions);
  actions.push_back(Completion(message, message.chain.first(), true));
  FreeSlot(slot);
}

void SendQueue::Commit(const SendPlan& plan, size_t count, SendActions& actions) {
  assert(plan.generation_ == generation_ && count <= plan.count_);
  if (count == 0) return;
  for (size_t i = 0; i < count; ++i) CommitOne(plan.datagrams_[i], actions);
  ++generation_;
  retry_ms_ = 0;
}

void SendQueue::CommitFragment(const PlannedDatagram& datagram, Message& message,
                               SendActions& actions) {
  const uint32_t slot = datagram.slot;
  const bool was_begun = message.begun;
  if (!was_begun) LeaveUnbegun(message, actions);
  message.begun = true;
  CompleteTo(message, datagram.next.buffer_index, true, actions);  // CMP-3
  if (!datagram.header.mf) {
    if (was_begun) {
      assert(begun_.front() == slot);
      begun_.pop_front();
      begun_streams_.erase(message.header.stream);
    }
    FreeFragmented(slot);
    return;
  }
  if (!was_begun) {
    begun_.push_front(slot);  // it came before the begun ones, or there were none
    begun_streams_.insert(message.header.stream);
  }
  message.unsent = datagram.next;
  message.header.last = datagram.header.last;
  message.bytes_left -= datagram.chain_bytes;
  message.share += kHeaderBytes + datagram.payload_bytes;
  if (message.share < limits_.share_bytes) return;
  message.share = 0;  // SND-5: behind everything queued
  message.place = next_place_++;
  begun_.pop_front();
  begun_.push_back(slot);
}

// Completes the buffers below `buffer_index` that are not completed yet, in chain order
// (CMP-2); at the end of a message without buffers, the message.
void SendQueue::CompleteTo(const Message& message, uint32_t buffer_index, bool ok,
                           SendActions& actions) {
  const std::span<const Buffer> chain = message.chain.span();
  if (chain.empty()) actions.push_back(Completion(message, message.chain.first(), ok));
  for (uint32_t i = message.unsent.buffer_index; i < buffer_index; ++i) {
    actions.push_back(Completion(message, chain[i], ok));
  }
}

// ------------------------------------------------------ the kernel says no

void SendQueue::WouldBlock(SendActions& actions) {
  waiting_ = Waiting::kEvent;
  if (!unbegun_.empty()) DuplicateBorrowed(slots_[unbegun_.front()], actions);
  Arm(true, actions);  // SND-2, SND-7
}

// Writability may have been reported all the while, so watching for it would spin.
void SendQueue::Busy(SendActions& actions) {
  waiting_ = Waiting::kRetry;
  if (!unbegun_.empty()) DuplicateBorrowed(slots_[unbegun_.front()], actions);
  Arm(false, actions);
  retry_ms_ = retry_ms_ == 0 ? kRetryFirstMs : std::min(2 * retry_ms_, kRetryLastMs);
  actions.push_back({.kind = SendAction::Kind::kRetryLater, .delay_ms = retry_ms_});
}

void SendQueue::MessageError(SendActions& actions) {
  const std::optional<uint32_t> slot = Next({});
  assert(slot.has_value());
  if (slots_[*slot].begun) {  // SND-4: the receiver holds it open
    PortError(actions);
    return;
  }
  unbegun_.pop_front();
  FailMessage(*slot, actions);
  ++generation_;
}

void SendQueue::FailNaming(uint32_t segment_id, SendActions& actions) {
  const auto names = [segment_id](const Message& message) {
    const std::span<const Buffer> chain = message.chain.span();
    return message.mode == Mode::kShared &&
           std::any_of(chain.begin(), chain.end(), [segment_id](const Buffer& buffer) {
             return buffer.bytes != 0 && buffer.segment_id == segment_id;
           });
  };
  SlotRing others;
  for (size_t i = 0; i < unbegun_.size(); ++i) {
    const uint32_t slot = unbegun_[i];
    if (names(slots_[slot])) {
      FailMessage(slot, actions);
    } else {
      others.push_back(slot);
    }
  }
  unbegun_ = std::move(others);
  ++generation_;
}

void SendQueue::PortError(SendActions& actions) {
  if (status_ == Status::kOpen) FailAll(Status::kFailed, actions);
}

void SendQueue::Close(SendActions& actions) { FailAll(Status::kClosed, actions); }

void SendQueue::FailMessage(uint32_t slot, SendActions& actions) {
  Message& message = slots_[slot];
  for (size_t i = 0; message.owns_fds && i < message.fd_count; ++i) {
    actions.push_back({.kind = SendAction::Kind::kCloseFd, .fd = message.fds[i]});
  }
  CompleteTo(message, static_cast<uint32_t>(message.chain.size()), false, actions);
  queued_bytes_ -= message.bytes_left;
  queued_fds_ -= message.fd_count;
  FreeFragmented(slot);
}

void SendQueue::FailAll(Status status, SendActions& actions) {
  status_ = status;
  waiting_ = Waiting::kNo;
  ++generation_;
  const std::vector<uint32_t> order = QueueOrder();
  begun_.clear();
  unbegun_.clear();
  begun_streams_.clear();
  for (const uint32_t slot : order) FailMessage(slot, actions);  // CMP-5
  Arm(false, actions);
}

// ----------------------------------------------------------------- events

// The event stays armed while there may be more to send: a wakeup that finds work
// changes nothing, the first one that finds none disarms.
bool SendQueue::Writable(SendActions& actions) {
  if (empty()) {
    Arm(false, actions);
    if (waiting_ == Waiting::kEvent) waiting_ = Waiting::kNo;
    return false;
  }
  if (waiting_ == Waiting::kRetry) return false;
  waiting_ = Waiting::kNo;
  return true;
}

bool SendQueue::Retry() {
  if (waiting_ == Waiting::kRetry) waiting_ = Waiting::kNo;
  return waiting_ == Waiting::kNo && !empty();
}

void SendQueue::Arm(bool armed, SendActions& actions) {
  if (armed_ == armed) return;
  armed_ = armed;
  actions.push_back({.kind = armed ? SendAction::Kind::kArm : SendAction::Kind::kDisarm});
}

void SendQueue::ReleaseMemory() {
  assert(empty());
  slots_ = std::vector<Message>();  // and its capacity
  free_ = std::vector<uint32_t>();
  begun_.Release();
  unbegun_.Release();
  begun_streams_ = {};
}

// -------------------------------------------------------------- for tests

std::vector<uint32_t> SendQueue::QueueOrder() const {
  std::vector<uint32_t> order;
  order.reserve(message_count());
  size_t begun = 0;
  size_t unbegun = 0;
  while (begun < begun_.size() || unbegun < unbegun_.size()) {
    const bool take_begun =
        unbegun == unbegun_.size() ||
        (begun < begun_.size() && slots_[begun_[begun]].place < slots_[unbegun_[unbegun]].place);
    order.push_back(take_begun ? begun_[begun++] : unbegun_[unbegun++]);
  }
  return order;
}

std::string ToString(const SendQueue& queue) {
  std::string text;
  for (const uint32_t slot : queue.QueueOrder()) {
    const SendQueue::Message& message = queue.slots_[slot];
    absl::StrAppend(&text, "message ", message.id, " stream ", message.header.stream, " type ",
                    static_cast<int>(message.header.type), message.begun ? " begun" : "", " share ",
                    message.share, " fds ", static_cast<int>(message.fd_count),
                    message.owns_fds ? " owned" : "", message.header.last ? " last" : "", " reply ",
                    message.header.reply_port, " writer ", message.writer, ":");
    for (size_t i = message.unsent.buffer_index; i < message.chain.size(); ++i) {
      absl::StrAppend(&text, " [", ToString(message.chain[i]), "]");
    }
    absl::StrAppend(&text, " from ", message.unsent.offset_bytes, "\n");
  }
  absl::StrAppend(&text, "status ", static_cast<int>(queue.status_), " waiting ",
                  static_cast<int>(queue.waiting_), queue.armed_ ? " armed" : "", " retry ",
                  queue.retry_ms_, " bytes ", queue.queued_bytes_, " fds ", queue.queued_fds_);
  return text;
}

bool operator==(const SendQueue& a, const SendQueue& b) {
  return a.limits_ == b.limits_ && ToString(a) == ToString(b);
}

std::string_view Name(WriteAnswer answer) {
  switch (answer) {
    case WriteAnswer::kAccepted:
      return "accepted";
    case WriteAnswer::kClosed:
      return "closed";
    case WriteAnswer::kFailed:
      return "failed";
    case WriteAnswer::kType:
      return "type";
    case WriteAnswer::kFds:
      return "fds";
    case WriteAnswer::kFragments:
      return "fragments";
    case WriteAnswer::kMessagesFull:
      return "messages full";
    case WriteAnswer::kBytesFull:
      return "bytes full";
    case WriteAnswer::kFdsFull:
      return "fds full";
    case WriteAnswer::kNoDescriptor:
      return "no descriptor";
    case WriteAnswer::kNoSegment:
      return "no segment";
  }
  return {};
}

std::string ToString(const SendAction& action) {
  switch (action.kind) {
    case SendAction::Kind::kCloseFd:
      return absl::StrCat("close fd ", action.fd);
    case SendAction::Kind::kDuplicateFd:
      return absl::StrCat("duplicate fd ", action.fd);
    case SendAction::Kind::kComplete:
      return absl::StrCat(action.ok ? "complete message " : "fail message ", action.message_id,
                          action.has_buffer ? absl::StrCat(" buffer ", action.buffer_id) : "",
                          " of writer ", action.writer);
    case SendAction::Kind::kArm:
      return "arm";
    case SendAction::Kind::kDisarm:
      return "disarm";
    case SendAction::Kind::kRetryLater:
      return absl::StrCat("retry in ", action.delay_ms, " ms");
  }
  return {};
}

}  // namespace portproof
