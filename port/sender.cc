#include "port/sender.h"

#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "port/process.h"

namespace portproof {
namespace {

SendLimits LimitsFor(const SenderOptions& options, int32_t pid) {
  const Profile& profile = *options.profile;
  return {.pid = pid,
          .payload_bytes = PayloadLimit(profile, options.sizes.max_size),
          .share_bytes = options.sizes.max_share,
          .type_count = static_cast<uint32_t>(profile.types.size()),
          .fds_per_message = profile.fds_max,
          .takes_fragments = options.takes_fragments,
          .messages_max = options.messages_max,
          .bytes_max = options.bytes_max,
          .fds_max = options.fds_max};
}

// FDS-6
HandledTypes NotWith(uint32_t fds, const Profile& profile) {
  HandledTypes types = HandledTypes::None();
  for (size_t number = 0; number < profile.types.size(); ++number) {
    const auto needs = NeedsOf(profile.types[number], profile);
    if (needs && !needs->Allow(fds)) types = types.With(static_cast<uint8_t>(number));
  }
  return types;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Sender>> Sender::Adopt(Workspace& workspace, OwnedFd socket,
                                                      const SenderOptions& options) {
  assert(options.profile != nullptr);
  if (absl::Status status =
          CheckSendEnd(socket.get(), *options.profile, options.sizes, workspace.kernel);
      !status.ok()) {
    return status;
  }
  const int32_t pid = options.pid != 0 ? options.pid : ::getpid();
  return std::unique_ptr<Sender>(new Sender(workspace, std::move(socket), options, pid));
}

Sender::Sender(Workspace& workspace, OwnedFd socket, const SenderOptions& options, int32_t pid)
    : workspace_(&workspace),
      socket_(std::move(socket)),
      profile_(options.profile),
      needs_others_{NotWith(0, *profile_), NotWith(1, *profile_), NotWith(2, *profile_)},
      port_id_(options.port_id),
      generation_(ForkGeneration()),
      queue_(LimitsFor(options, pid)) {}

Sender::~Sender() { Close(); }

bool Sender::open() const { return queue_.open() && generation_ == ForkGeneration(); }

// ---------------------------------------------------------------- writing

inline WriteResult Sender::Put(const WriteRequest& request) {
  if (generation_ != ForkGeneration()) return {WriteAnswer::kClosed};  // PRT-1
  if (needs_others_[request.fd_count].Has(request.type)) return {WriteAnswer::kFds};
  const ChainSurvey survey = SurveyOf(request.chain, queue_.limits().chunk_bytes);
  if (survey.mode == Mode::kShared && !SegmentsKnown(request.chain)) {
    return {WriteAnswer::kNoSegment};
  }
  if (request.tracking && !CanTrack(*request.tracking)) return {WriteAnswer::kNoSegment};
  const WriteResult result = queue_.WriteSurveyed(request, survey, actions_);
  if (result.tracked) [[unlikely]]  // before it can be sent
    FindSegment(request.tracking->mmap_id)->Track(request.tracking->tracking_id, request.stream);
  return result;
}

// SHM-15
bool Sender::CanTrack(const Tracking& tracking) const {
  const Segment* const segment = FindSegment(tracking.mmap_id);
  return segment != nullptr && tracking.tracking_id < segment->tracking_slots();
}

WriteAnswer Sender::WriteBuffers(const WriteRequest& request) {
  const WriteResult result = Put(request);
  if (result.flush_now) Flush();
  return result.answer;
}

WriteAnswer Sender::WriteDescriptors(const Outgoing& message, WriteRequest request) {
  const WriteResult result = PutDescriptors(message, request);
  if (result.answer != WriteAnswer::kAccepted) return result.answer;
  if (result.flush_now) Flush();
  return SettleBorrowed(request);
}

WriteAnswer Sender::Enqueue(const Outgoing& message) {
  assert(message.fds.empty() || message.batch);
  WriteRequest request = RequestFor(message);
  return (message.fds.empty() ? Put(request) : PutDescriptors(message, request)).answer;
}

WriteResult Sender::PutDescriptors(const Outgoing& message, WriteRequest& request) {
  if (message.fds.size() > request.fds.size()) return {WriteAnswer::kFds};
  request.fd_count = static_cast<uint8_t>(message.fds.size());
  for (size_t i = 0; i < message.fds.size(); ++i) {
    request.fds[i] = TakeSlot({message.fds[i], message.close_fds});
  }
  const WriteResult result = Put(request);
  if (result.answer != WriteAnswer::kAccepted) {
    for (size_t i = 0; i < request.fd_count; ++i) FreeSlot(request.fds[i]);
    return result;
  }
  Perform();
  if (duplicate_failed_) return {Withdraw(request)};
  return result;
}

// What is still borrowed has left, or failed: a message that waits has copies.
WriteAnswer Sender::SettleBorrowed(const WriteRequest& request) {
  if (duplicate_failed_) return Withdraw(request);
  if (request.close_fds) return WriteAnswer::kAccepted;
  for (size_t i = 0; i < request.fd_count; ++i) {
    const FdSlot slot = request.fds[i];
    if (descriptors_[slot].fd >= 0 && !descriptors_[slot].owned) FreeSlot(slot);
  }
  return WriteAnswer::kAccepted;
}

// SND-8: no copy, no place in the queue.
WriteAnswer Sender::Withdraw(const WriteRequest& request) {
  duplicate_failed_ = false;
  queue_.WithdrawLast();
  if (request.tracking) {
    FindSegment(request.tracking->mmap_id)->Cancel(request.tracking->tracking_id, request.stream);
  }
  for (size_t i = 0; i < request.fd_count; ++i) {
    if (descriptors_[request.fds[i]].owned) {
      CloseSlot(request.fds[i]);
    } else {
      FreeSlot(request.fds[i]);
    }
  }
  return WriteAnswer::kNoDescriptor;
}

WriteAnswer Sender::Announce(const std::shared_ptr<Segment>& segment, bool batch, uint32_t writer) {
  const std::optional<uint8_t> type = NumberOf(*profile_, Type::kMmap);
  assert(type.has_value());
  const uint32_t id = segment->id();
  if (segments_.contains(id)) return WriteAnswer::kNoSegment;
  const int fd = segment->fd();
  const Outgoing message = {
      .type = *type, .last = true, .batch = batch, .fds = {&fd, 1}, .writer = writer};
  WriteRequest request = RequestFor(message);
  const WriteResult result = PutDescriptors(message, request);
  if (result.answer != WriteAnswer::kAccepted) return result.answer;
  descriptors_[request.fds[0]].announces = id;
  segments_.emplace(id, segment);
  if (result.flush_now) Flush();
  const WriteAnswer answer = SettleBorrowed(request);
  if (answer != WriteAnswer::kAccepted) segments_.erase(id);
  return answer;
}

Segment* Sender::FindSegment(uint32_t id) const {
  const auto found = segments_.find(id);
  return found == segments_.end() ? nullptr : found->second.get();
}

// Of a chain that goes in shared mode.
bool Sender::SegmentsKnown(std::span<const Buffer> chain) const {
  return std::all_of(chain.begin(), chain.end(), [this](const Buffer& buffer) {
    return buffer.bytes == 0 || segments_.contains(buffer.segment_id);
  });
}

// ---------------------------------------------------------------- sending

void Sender::Flush() {
  while (Prepare(*workspace_)) {
    if (!Conclude(*workspace_, workspace_->send_batch.Send(workspace_->kernel, fd()))) return;
  }
}

bool Sender::Prepare(Workspace& workspace) {
  if (queue_.waiting() || queue_.empty() || generation_ != ForkGeneration()) return false;
  queue_.Plan(workspace.plan);
  workspace.send_batch.Load(workspace.plan, queue_.limits().chunk_bytes,
                            [this](FdSlot slot) { return descriptors_[slot].fd; });
  if (!segments_.empty()) HandOver(workspace.plan, 0, true);
  return true;
}

// The receiver may free a chunk before our call returns: it is given away before, and
// taken back if the datagram did not go (SHM-6).
void Sender::HandOver(const SendPlan& plan, size_t from, bool over) {
  for (const PlannedDatagram& datagram : plan.datagrams().subspan(from)) {
    if (datagram.mode != Mode::kShared) continue;
    for (const ByteRun& run : plan.RunsOf(datagram)) {
      const Reference reference = ReferenceOf(run, queue_.limits().chunk_bytes);
      Segment& segment = *segments_.at(reference.segment_id);
      if (over) {
        segment.HandedOver(reference);
      } else {
        segment.TakenBack(reference);
      }
    }
  }
}

bool Sender::Conclude(Workspace& workspace, const SendResult& result) {
  queue_.Commit(workspace.plan, result.count, actions_);
  if (!segments_.empty()) HandOver(workspace.plan, result.count, false);
  if (result.error != 0) last_error_ = result.error;
  switch (result.answer) {
    case SendAnswer::kTaken:
      break;
    case SendAnswer::kWouldBlock:
      queue_.WouldBlock(actions_);
      break;
    case SendAnswer::kBusy:
      queue_.Busy(actions_);
      break;
    case SendAnswer::kMessageError:
      FailFirst(workspace.plan.datagrams()[result.count]);
      break;
    case SendAnswer::kPortError:
      queue_.PortError(actions_);
      break;
  }
  Perform();
  return !queue_.waiting();
}

// SND-4. An announcement is known by its descriptor.
void Sender::FailFirst(const PlannedDatagram& datagram) {
  std::optional<uint32_t> segment_id;
  if (datagram.fd_count != 0) segment_id = descriptors_[datagram.fds[0]].announces;
  queue_.MessageError(actions_);
  if (!segment_id) return;
  segments_.erase(*segment_id);
  queue_.FailNaming(*segment_id, actions_);
}

void Sender::OnWritable() {
  const bool flush = queue_.Writable(actions_);
  Perform();
  if (flush) {
    Flush();
  } else {
    ReleaseMemory();  // nothing came since it was emptied
  }
}

void Sender::OnRetry() {
  retry_ms_.reset();
  if (queue_.Retry()) Flush();
}

void Sender::AcceptEvents(bool retry_due) {
  if (retry_due) {
    retry_ms_.reset();
    queue_.Retry();
  }
  queue_.Writable(actions_);
  Perform();
}

void Sender::OnHangUp() {
  retry_ms_.reset();
  queue_.PortError(actions_);
  Perform();
}

void Sender::Close() {
  queue_.Close(actions_);
  Perform();
  retry_ms_.reset();
  socket_.Close();
}

void Sender::TakeCompletions(std::vector<Completion>& completions) {
  if (completions.empty()) {
    completions.swap(completions_);
    return;
  }
  completions.insert(completions.end(), completions_.begin(), completions_.end());
  completions_.clear();
}

void Sender::ReleaseMemory() {
  if (!queue_.empty()) return;
  queue_.ReleaseMemory();
  actions_ = SendActions();  // and its capacity
  descriptors_ = std::vector<Descriptor>();
  free_slots_ = std::vector<FdSlot>();
  if (completions_.empty()) completions_ = std::vector<Completion>();
}

// ---------------------------------------------------------------- actions

void Sender::Perform() {
  for (const SendAction& action : actions_) {
    if (action.kind == SendAction::Kind::kComplete) [[likely]] {
      completions_.push_back(
          {action.message_id, action.buffer_id, action.writer, action.has_buffer, action.ok});
    } else {
      PerformRare(action);
    }
  }
  actions_.clear();
}

void Sender::PerformRare(const SendAction& action) {
  switch (action.kind) {
    case SendAction::Kind::kCloseFd:
      CloseSlot(action.fd);
      break;
    case SendAction::Kind::kDuplicateFd:
      if (!Duplicate(descriptors_[action.fd])) duplicate_failed_ = true;
      break;
    case SendAction::Kind::kRetryLater:
      retry_ms_ = action.delay_ms;
      break;
    case SendAction::Kind::kComplete:  // Perform does
    case SendAction::Kind::kArm:       // wants_writable() tells
    case SendAction::Kind::kDisarm:
      break;
  }
}

bool Sender::Duplicate(Descriptor& descriptor) {
  const int copy = workspace_->kernel.Duplicate(descriptor.fd);
  if (copy < 0) {
    last_error_ = errno;
    return false;
  }
  descriptor.fd = copy;
  descriptor.owned = true;
  return true;
}

FdSlot Sender::TakeSlot(Descriptor descriptor) {
  if (free_slots_.empty()) {
    descriptors_.push_back(descriptor);
    return static_cast<FdSlot>(descriptors_.size() - 1);
  }
  const FdSlot slot = free_slots_.back();
  free_slots_.pop_back();
  descriptors_[slot] = descriptor;
  return slot;
}

void Sender::FreeSlot(FdSlot slot) {
  descriptors_[slot] = {};
  free_slots_.push_back(slot);
}

void Sender::CloseSlot(FdSlot slot) {
  workspace_->kernel.Close(descriptors_[slot].fd);
  FreeSlot(slot);
}

}  // namespace portproof
