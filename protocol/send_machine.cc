#include "protocol/send_machine.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace portproof {
namespace {

using Kind = SendAction::Kind;

constexpr uint32_t kMaxSizeMin = 64;
constexpr uint32_t kMaxSizeMax = 1 << 20;
constexpr uint32_t kKernelOverheadBytes = 32;  // of a datagram in SO_SNDBUF, on Linux

// FDS-6
HandledTypes NotWith(uint32_t fds, const Profile& profile) {
  HandledTypes types = HandledTypes::None();
  for (size_t number = 0; number < profile.types.size(); ++number) {
    const auto needs = NeedsOf(profile.types[number], profile);
    if (needs && !needs->Allow(fds)) types = types.With(static_cast<uint8_t>(number));
  }
  return types;
}

void Refuse(const WriteRequest& request, WriteAnswer answer, SendActions& actions) {
  for (size_t i = 0; i < request.fd_count; ++i) {
    actions.push_back({.kind = Kind::kReleaseFd, .fd = request.fds[i]});
  }
  actions.push_back({.kind = Kind::kRefuse, .answer = answer});
}

}  // namespace

SendLimits SendLimitsOf(const Profile& profile, uint32_t max_size) {
  return {.payload_bytes = PayloadLimit(profile, max_size),
          .type_count = static_cast<uint32_t>(profile.types.size()),
          .fds_per_message = profile.fds_max,
          .has_tracking = profile.byte15 == Byte15::kTracking,
          .types_not_with = {NotWith(0, profile), NotWith(1, profile), NotWith(2, profile)},
          .mmap_type = NumberOf(profile, Type::kMmap).value_or(0),
          .rpc_error_type = NumberOf(profile, Type::kRpcError).value_or(1)};
}

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

SendMachine::SendMachine(const SendLimits& limits) : limits_(limits) {
  assert(limits.payload_bytes > 0 && limits.share_bytes > 0 && limits.chunk_bytes > 0);
  assert(limits.plain_runs > 0 && limits.plain_runs <= kSharedRunsMax);
  assert(limits.fds_per_message <= 2);
}

// --------------------------------------------------------------- messages

// A message that must wait owns its descriptors (SND-8).
inline void SendMachine::DuplicateBorrowed(Message& message, SendActions& actions) {
  if (message.owns_fds) return;
  for (size_t i = 0; i < message.fd_count; ++i) {
    actions.push_back({.kind = Kind::kDuplicateFd, .fd = message.fds[i]});
  }
  message.owns_fds = true;
}

// Lets go of a message's descriptors once: after they were sent, or when it failed (SND-9).
inline void SendMachine::LetFdsGo(Message& message, SendActions& actions) {
  const Kind kind = message.owns_fds ? Kind::kCloseFd : Kind::kReleaseFd;
  for (size_t i = 0; i < message.fd_count; ++i) {
    actions.push_back({.kind = kind, .fd = message.fds[i]});
  }
  queued_fds_ -= message.fd_count;
  message.fd_count = 0;
}

// CMP-4: a completion is an action, which the shell keeps for the caller's loop.
inline void SendMachine::Complete(const Message& message, uint64_t buffer_id, bool ok,
                                  SendActions& actions) {
  SendAction& action = actions.emplace_back();
  action.kind = Kind::kComplete;
  action.ok = ok;
  action.has_buffer = !message.chain.empty();
  action.writer = message.writer;
  action.message_id = message.id;
  action.buffer_id = buffer_id;
}

// Completes the buffers below `buffer_index` that are not completed yet, in chain order (CMP-2).
// For a message without buffers, completes the message itself.
inline void SendMachine::CompleteTo(const Message& message, size_t buffer_index, bool ok,
                                    SendActions& actions) {
  if (message.chain.empty()) Complete(message, 0, ok, actions);
  for (size_t i = message.unsent.buffer_index; i < buffer_index; ++i) {
    Complete(message, message.chain[i].id, ok, actions);
  }
}

inline void SendMachine::Free(Messages& queue, Messages::iterator message) {
  free_.splice(free_.begin(), queue, message);
}

// ---------------------------------------------------------------- writing

WriteAnswer SendMachine::Judge(const WriteRequest& request, const ChainSurvey& survey) const {
  using enum WriteAnswer;
  if (status_ != Status::kOpen) return status_ == Status::kClosed ? kClosed : kFailed;  // SND-4
  if (request.type >= limits_.type_count) return kType;                                 // HDR-4
  if (request.fd_count > limits_.fds_per_message) return kFds;                          // FDS-2
  if (limits_.types_not_with[request.fd_count].Has(request.type)) return kFds;          // FDS-6
  if (!SegmentsKnown(request, survey)) return kNoSegment;                               // SHM-10
  if (!limits_.takes_fragments && NeedsFragments(request, survey)) return kFragments;   // FRG-10
  if (message_count() >= limits_.messages_max) return kMessagesFull;                    // SND-12
  if (survey.bytes > limits_.bytes_max - queued_bytes_) return kBytesFull;
  if (request.fd_count > limits_.fds_max - queued_fds_) return kFdsFull;
  return kAccepted;
}

// SHM-10: whether all segments of a shared chain were announced. The segment of the tracking
// word must be as well, and its header must have room for the word.
bool SendMachine::SegmentsKnown(const WriteRequest& request, const ChainSurvey& survey) const {
  if (request.tracking && limits_.has_tracking) {
    const auto segment = announced_.find(request.tracking->mmap_id);
    const bool has_word =
        segment != announced_.end() && request.tracking->tracking_id < segment->second;
    if (!has_word) return false;
  }
  return survey.mode == Mode::kPlain ||
         std::all_of(request.chain.begin(), request.chain.end(), [this](const Buffer& buffer) {
           return buffer.bytes == 0 || announced_.contains(buffer.segment_id);
         });
}

bool SendMachine::NeedsFragments(const WriteRequest& request, const ChainSurvey& survey) const {
  Message message;
  message.chain.assign(request.chain.begin(), request.chain.end());
  message.mode = survey.mode;
  message.tracking = TrackingOf(request, survey);
  PlannedDatagram datagram;
  std::array<ByteRun, kSharedRunsMax> runs;
  return ComposeNext(message, {}, true, datagram, runs.data()).more;
}

// SHM-15: only a message whose first datagram goes as references is tracked.
std::optional<Tracking> SendMachine::TrackingOf(const WriteRequest& request,
                                                const ChainSurvey& survey) const {
  const bool wanted = request.tracking && limits_.has_tracking && request.stream != 0;
  if (!wanted || survey.mode != Mode::kShared) return std::nullopt;
  PlannedDatagram datagram;
  std::array<ByteRun, kSharedRunsMax> runs;
  const bool shared =
      ComposeReferences(request.chain, {}, request.tracking, datagram, runs.data()).has_value();
  return shared ? request.tracking : std::nullopt;
}

void Step(SendMachine& machine, const WriteRequest& request, SendActions& actions) {
  actions.clear();
  machine.Accept(request, std::nullopt, actions);
}

// True: accepted.
bool SendMachine::Accept(const WriteRequest& request, std::optional<uint32_t> announces,
                         SendActions& actions) {
  assert(ValidChain(request.chain) && request.fd_count <= request.fds.size());
  const ChainSurvey survey = SurveyOf(request.chain, limits_.chunk_bytes);
  const WriteAnswer answer = Judge(request, survey);
  if (answer != WriteAnswer::kAccepted) {
    Refuse(request, answer, actions);
    return false;
  }
  const bool flush_now = waiting_ == Waiting::kNo && !request.batch;
  const bool leaves_at_once = flush_now && empty();  // SND-1
  Message& message = Append(request, survey);
  message.announces = announces;
  if (message.tracking) {
    actions.push_back(
        {.kind = Kind::kTrack, .stream = request.stream, .tracking = *message.tracking});
  }
  if (!leaves_at_once) DuplicateBorrowed(message, actions);  // SND-8
  if (flush_now) actions.emplace_back().kind = Kind::kFlush;
  return true;
}

SendMachine::Message& SendMachine::Append(const WriteRequest& request, const ChainSurvey& survey) {
  if (free_.empty()) free_.emplace_front();
  unbegun_.splice(unbegun_.end(), free_, free_.begin());
  Message& message = unbegun_.back();
  message.header = {.stream = request.stream,
                    .pid = limits_.pid,
                    .reply_port = request.reply_port,
                    .type = request.type,
                    .last = request.last};
  message.id = request.message_id;
  message.writer = request.writer;
  message.fd_count = request.fd_count;
  message.owns_fds = request.close_fds;
  message.begun = false;
  message.mode = survey.mode;  // SHM-3
  message.chain.clear();
  for (const Buffer& buffer : request.chain) message.chain.push_back(buffer);
  message.place = next_place_++;
  message.bytes_left = survey.bytes;
  message.unsent = {};
  message.share = 0;
  message.fds = request.fds;
  message.tracking = request.tracking ? TrackingOf(request, survey) : std::nullopt;
  queued_bytes_ += survey.bytes;
  queued_fds_ += request.fd_count;
  return message;
}

// SHM-10: a segment id can be announced only once.
void Step(SendMachine& machine, const AnnounceSegment& announce, SendActions& actions) {
  actions.clear();
  const WriteRequest request{.stream = announce.stream,
                             .reply_port = announce.reply_port,
                             .type = machine.limits_.mmap_type,
                             .last = true,
                             .batch = announce.batch,
                             .fd_count = 1,
                             .fds = {announce.fd},
                             .writer = announce.writer,
                             .message_id = announce.message_id};
  if (machine.announced(announce.segment_id)) {
    return Refuse(request, WriteAnswer::kNoSegment, actions);
  }
  if (!machine.Accept(request, announce.segment_id, actions)) return;
  machine.announced_.emplace(announce.segment_id, announce.tracking_slots);
}

void Step(SendMachine& machine, const SegmentAsked& asked, SendActions& actions) {
  actions.clear();
  WriteRequest answer{.stream = asked.stream, .last = true, .message_id = asked.message_id};
  if (asked.fd && machine.announced(asked.segment_id)) {
    answer.type = machine.limits_.mmap_type;
    answer.fd_count = 1;
    answer.fds = {*asked.fd};
  } else {
    answer.type = machine.limits_.rpc_error_type;
    if (asked.fd) actions.push_back({.kind = Kind::kReleaseFd, .fd = *asked.fd});
  }
  machine.Accept(answer, std::nullopt, actions);
}

// SND-8: without copies of its descriptors a message cannot be queued. The descriptors before
// the failed one were copied, those behind it were not.
void Step(SendMachine& machine, const NotDuplicated& failed, SendActions& actions) {
  actions.clear();
  assert(!machine.unbegun_.empty());
  const auto last = std::prev(machine.unbegun_.end());
  bool copied = true;
  for (size_t i = 0; i < last->fd_count; ++i) {
    copied = copied && last->fds[i] != failed.fd;
    actions.push_back({.kind = copied ? Kind::kCloseFd : Kind::kReleaseFd, .fd = last->fds[i]});
  }
  if (last->tracking) {
    actions.push_back(
        {.kind = Kind::kUntrack, .stream = last->header.stream, .tracking = *last->tracking});
  }
  if (last->announces) {
    machine.announced_.erase(*last->announces);
    actions.push_back({.kind = Kind::kForget, .segment_id = *last->announces});
  }
  if (last->place + 1 == machine.next_place_) machine.next_place_ = last->place;
  machine.queued_bytes_ -= last->bytes_left;
  machine.queued_fds_ -= last->fd_count;
  machine.Free(machine.unbegun_, last);
  actions.push_back({.kind = Kind::kRefuse, .answer = WriteAnswer::kNoDescriptor});
}

// --------------------------------------------------------------- planning

// Whether a message of the stream has begun and is unfinished, when those before `ahead` have
// ended in the plan being made.
bool SendMachine::StreamBusy(uint32_t stream, const Ahead& ahead) const {
  return begun_streams_.contains(stream) &&
         std::none_of(begun_.begin(), ahead.begun,
                      [stream](const Message& message) { return message.header.stream == stream; });
}

// SND-6: the next message in the queue that can be sent: one that has begun, or the first one
// that has not, if its stream is free. Moves `ahead` past it.
inline const SendMachine::Message* SendMachine::Next(Ahead& ahead) const {
  const bool any_begun = ahead.begun != begun_.end();
  const bool any_unbegun = ahead.unbegun != unbegun_.end();
  if (!any_begun && !any_unbegun) return nullptr;
  const bool begun_next = any_begun && (!any_unbegun || ahead.begun->place < ahead.unbegun->place ||
                                        StreamBusy(ahead.unbegun->header.stream, ahead));
  return begun_next ? &*ahead.begun++ : &*ahead.unbegun++;
}

void SendMachine::Plan(SendPlan& plan) const {
  plan.count_ = 0;
  plan.run_count_ = 0;
  Ahead ahead{begun_.begin(), unbegun_.begin()};
  while (plan.count_ < kPlanDatagramsMax) {
    const Message* const message = Next(ahead);
    if (message == nullptr || !PlanMessage(*message, plan)) return;
  }
}

// False: the plan ends here, because it is full or because the message rotates.
bool SendMachine::PlanMessage(const Message& message, SendPlan& plan) const {
  ChainCursor from = message.unsent;
  uint64_t share = message.share;
  bool begun = message.begun;
  bool last = message.header.last;
  for (bool more = true; more;) {
    if (plan.count_ == kPlanDatagramsMax) return false;
    PlannedDatagram& datagram = plan.datagrams_[plan.count_++];
    const Cut cut = ComposeNext(message, from, !begun, datagram, &plan.runs_[plan.run_count_]);
    last |= cut.last;  // IOV-6: once set it stays
    more = cut.more;
    datagram.header = message.header;
    datagram.header.last = last;
    datagram.header.mmap = datagram.mode == Mode::kShared;  // SHM-5
    datagram.header.nf = begun;
    datagram.header.mf = more;  // IOV-5
    datagram.header.byte15 = static_cast<uint8_t>(datagram.tracking.has_value());
    datagram.fd_count = begun ? 0 : message.fd_count;  // SND-8, FDS-1
    datagram.fds = message.fds;
    datagram.first_run = static_cast<uint32_t>(plan.run_count_);
    plan.run_count_ += datagram.run_count;
    from = datagram.next;
    begun = true;
    share += kHeaderBytes + datagram.payload_bytes;
    if (more && share >= limits_.share_bytes) return false;  // SND-5
  }
  return true;
}

// Composes one datagram from the chain, in place in the plan. It returns two flags only, since
// this runs for each datagram.
SendMachine::Cut SendMachine::ComposeNext(const Message& message, ChainCursor from, bool first,
                                          PlannedDatagram& datagram, ByteRun* runs) const {
  ComposeLimits limits{limits_.payload_bytes, limits_.plain_runs};
  if (message.mode == Mode::kShared) [[unlikely]] {
    const auto tracking = first ? message.tracking : std::nullopt;
    if (const auto cut = ComposeReferences(message.chain, from, tracking, datagram, runs)) {
      return *cut;
    }
    limits.runs = SharedLimits(limits_.payload_bytes, false).runs;
  }
  const Composed composed = Compose(message.chain, from, limits, {runs, limits.runs});
  datagram.mode = Mode::kPlain;
  datagram.tracking.reset();
  datagram.payload_bytes = composed.payload_bytes;
  return Keep(composed, datagram);
}

inline SendMachine::Cut SendMachine::Keep(const Composed& composed, PlannedDatagram& datagram) {
  datagram.run_count = static_cast<uint16_t>(composed.run_count);
  datagram.chain_bytes = composed.payload_bytes;
  datagram.next = composed.next;
  return {composed.last, composed.more};
}

// Empty if the copied bytes take no more room than a reference (SHM-4).
std::optional<SendMachine::Cut> SendMachine::ComposeReferences(
    std::span<const Buffer> chain, ChainCursor from, const std::optional<Tracking>& tracking,
    PlannedDatagram& datagram, ByteRun* runs) const {
  const ComposeLimits limits = SharedLimits(limits_.payload_bytes, tracking.has_value());
  const Composed composed = ComposeShared(chain, from, limits, {runs, limits.runs});
  if (composed.payload_bytes <= kReferenceBytes) return std::nullopt;
  datagram.mode = Mode::kShared;
  datagram.tracking = tracking;
  datagram.payload_bytes =
      static_cast<uint32_t>(composed.run_count * kReferenceBytes + (tracking ? kTrackingBytes : 0));
  return Keep(composed, datagram);
}

// ---------------------------------------------------------------- sending

// SHM-6: the receiver may free a chunk before the call returns. So the machine hands chunks over
// before the call, and takes back those whose datagram did not leave.
void Step(SendMachine& machine, const Sending& sending, SendActions& actions) {
  actions.clear();
  machine.References(sending.plan, 0, Kind::kHandOver, actions);
}

void SendMachine::References(const SendPlan& plan, size_t from, Kind kind,
                             SendActions& actions) const {
  if (announced_.empty()) return;
  for (const PlannedDatagram& datagram : plan.datagrams().subspan(from)) {
    if (datagram.mode != Mode::kShared) continue;
    for (const ByteRun& run : plan.RunsOf(datagram)) {
      actions.push_back({.kind = kind, .reference = ReferenceOf(run, limits_.chunk_bytes)});
    }
  }
}

void Step(SendMachine& machine, const Sent& sent, SendActions& actions) {
  actions.clear();
  assert(sent.count <= sent.plan.datagrams().size());
  for (const PlannedDatagram& datagram : sent.plan.datagrams().first(sent.count)) {
    machine.Commit(datagram, actions);
  }
  machine.References(sent.plan, sent.count, Kind::kTakeBack, actions);
  if (sent.count != 0) machine.retry_ms_ = 0;
  switch (sent.answer) {
    case SendAnswer::kTaken:
      break;
    case SendAnswer::kWouldBlock:  // SND-2, SND-7
      machine.waiting_ = SendMachine::Waiting::kEvent;
      machine.Arm(true, actions);
      machine.MustWait(actions);
      break;
    case SendAnswer::kBusy:  // writability may be reported all the while: to watch would spin
      machine.waiting_ = SendMachine::Waiting::kRetry;
      machine.Arm(false, actions);
      machine.retry_ms_ =
          machine.retry_ms_ == 0 ? kRetryFirstMs : std::min(2 * machine.retry_ms_, kRetryLastMs);
      actions.push_back({.kind = Kind::kRetryLater, .delay_ms = machine.retry_ms_});
      machine.MustWait(actions);
      break;
    case SendAnswer::kMessageError:
      machine.MessageError(actions);
      break;
    case SendAnswer::kPortError:
      machine.FailAll(SendMachine::Status::kFailed, actions);
      break;
  }
}

// Copies the borrowed descriptors of a message whose own write found the socket full. These are
// the last actions, since a copy may fail.
void SendMachine::MustWait(SendActions& actions) {
  if (!unbegun_.empty()) DuplicateBorrowed(unbegun_.front(), actions);
}

// One datagram of the queue's next message is sent.
void SendMachine::Commit(const PlannedDatagram& datagram, SendActions& actions) {
  Messages& queue = datagram.header.nf ? begun_ : unbegun_;
  const auto message = queue.begin();
  queued_bytes_ -= datagram.chain_bytes;
  message->bytes_left -= datagram.chain_bytes;
  LetFdsGo(*message, actions);
  CompleteTo(*message, datagram.next.buffer_index, true, actions);  // CMP-3
  if (!datagram.header.mf) {
    if (datagram.header.nf) begun_streams_.erase(message->header.stream);
    Free(queue, message);
    return;
  }
  if (!datagram.header.nf) {  // it came before the begun ones, or there were none
    begun_.splice(begun_.begin(), unbegun_, message);
    begun_streams_.insert(message->header.stream);
    message->begun = true;
  }
  message->unsent = datagram.next;  // CMP-1: what is before it has completed
  message->header.last = datagram.header.last;
  message->share += kHeaderBytes + datagram.payload_bytes;
  if (message->share < limits_.share_bytes) return;
  message->share = 0;  // SND-5: behind everything queued
  message->place = next_place_++;
  begun_.splice(begun_.end(), begun_, message);
}

// ---------------------------------------------------------------- failing

// SND-4: a message that has not begun fails alone. If it has begun, the receiver holds it open
// and the protocol cannot abort it, so the port fails (FRG-5).
void SendMachine::MessageError(SendActions& actions) {
  Ahead ahead{begun_.begin(), unbegun_.begin()};
  const Message* const next = Next(ahead);
  if (next == nullptr || next->begun) return FailAll(Status::kFailed, actions);
  const std::optional<uint32_t> announces = next->announces;
  Fail(unbegun_, unbegun_.begin(), actions);
  if (!announces) return;
  announced_.erase(*announces);
  actions.push_back({.kind = Kind::kForget, .segment_id = *announces});
  FailNaming(*announces, actions);
}

// SHM-10: fails the messages that would name the lost segment. None of them has begun (SND-6).
void SendMachine::FailNaming(uint32_t segment_id, SendActions& actions) {
  for (auto message = unbegun_.begin(); message != unbegun_.end();) {
    const auto at = message++;
    const bool names =
        at->mode == Mode::kShared &&
        std::any_of(at->chain.begin(), at->chain.end(), [segment_id](const Buffer& buffer) {
          return buffer.bytes != 0 && buffer.segment_id == segment_id;
        });
    if (names) Fail(unbegun_, at, actions);
  }
}

void SendMachine::Fail(Messages& queue, Messages::iterator message, SendActions& actions) {
  LetFdsGo(*message, actions);
  CompleteTo(*message, message->chain.size(), false, actions);
  queued_bytes_ -= message->bytes_left;
  Free(queue, message);
}

// Fails all messages in queue order (CMP-5).
void SendMachine::FailAll(Status status, SendActions& actions) {
  status_ = status;
  waiting_ = Waiting::kNo;
  while (!empty()) {
    const bool begun_first =
        unbegun_.empty() || (!begun_.empty() && begun_.front().place < unbegun_.front().place);
    Messages& queue = begun_first ? begun_ : unbegun_;
    Fail(queue, queue.begin(), actions);
  }
  begun_streams_.clear();
  Arm(false, actions);
}

void Step(SendMachine& machine, const HungUp& /*event*/, SendActions& actions) {
  actions.clear();
  if (machine.open()) machine.FailAll(SendMachine::Status::kFailed, actions);
}

void Step(SendMachine& machine, const SenderClosed& /*event*/, SendActions& actions) {
  actions.clear();
  machine.FailAll(SendMachine::Status::kClosed, actions);
}

// ----------------------------------------------------------------- events

// The write event stays armed while there may be more to send. The first wakeup that finds
// nothing to send disarms it.
void Step(SendMachine& machine, const BecameWritable& /*event*/, SendActions& actions) {
  actions.clear();
  using Waiting = SendMachine::Waiting;
  if (machine.empty()) {
    machine.Arm(false, actions);
    if (machine.waiting_ == Waiting::kEvent) machine.waiting_ = Waiting::kNo;
  } else if (machine.waiting_ != Waiting::kRetry) {
    machine.waiting_ = Waiting::kNo;
    actions.push_back({.kind = Kind::kFlush});
  }
}

void Step(SendMachine& machine, const RetryDue& /*event*/, SendActions& actions) {
  actions.clear();
  using Waiting = SendMachine::Waiting;
  if (machine.waiting_ == Waiting::kRetry) machine.waiting_ = Waiting::kNo;
  if (machine.waiting_ == Waiting::kNo && !machine.empty()) {
    actions.push_back({.kind = Kind::kFlush});
  }
}

void SendMachine::Arm(bool armed, SendActions& actions) {
  if (armed_ == armed) return;
  armed_ = armed;
  actions.push_back({.kind = armed ? Kind::kArm : Kind::kDisarm});
}

void SendMachine::ReleaseMemory() {
  assert(empty());
  free_.clear();
  begun_streams_ = {};
}

bool operator==(const SendMachine& a, const SendMachine& b) {
  return a.limits_ == b.limits_ && a.begun_ == b.begun_ && a.unbegun_ == b.unbegun_ &&
         a.announced_ == b.announced_ && a.next_place_ == b.next_place_ &&
         a.queued_bytes_ == b.queued_bytes_ && a.queued_fds_ == b.queued_fds_ &&
         a.retry_ms_ == b.retry_ms_ && a.status_ == b.status_ && a.waiting_ == b.waiting_ &&
         a.armed_ == b.armed_;
}

}  // namespace portproof
