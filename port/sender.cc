#include "port/sender.h"

#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <utility>

namespace portproof {
namespace {

using Kind = SendAction::Kind;

SendLimits LimitsFor(const SenderOptions& options, int32_t pid) {
  SendLimits limits = SendLimitsOf(*options.profile, options.sizes.max_size);
  limits.pid = pid;
  limits.share_bytes = options.sizes.max_share;
  limits.takes_fragments = options.takes_fragments;
  limits.messages_max = options.messages_max;
  limits.bytes_max = options.bytes_max;
  limits.fds_max = options.fds_max;
  return limits;
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
      port_id_(options.port_id),
      generation_(ForkGeneration()),
      machine_(LimitsFor(options, pid)) {}

Sender::~Sender() { Close(); }

// ---------------------------------------------------------------- writing

// Performs the actions of a write or an announcement, its flush included, and returns the answer.
template <typename Event>
WriteAnswer Sender::Try(const Event& event) {
  answer_ = WriteAnswer::kAccepted;
  flush_wanted_ = false;
  Run(event);
  if (flush_wanted_) Flush();
  return answer_;
}

WriteAnswer Sender::Put(WriteRequest& request, std::span<const int> fds) {
  if (forked()) return WriteAnswer::kClosed;  // PRT-1
  if (fds.size() > request.fds.size()) return WriteAnswer::kFds;
  for (const int fd : fds) request.fds[request.fd_count++] = TakeSlot(fd);
  answer_ = WriteAnswer::kAccepted;
  flush_wanted_ = false;
  Run(request);
  return answer_;
}

WriteAnswer Sender::Announce(const std::shared_ptr<Segment>& segment, bool batch, uint32_t writer) {
  if (forked()) return WriteAnswer::kClosed;
  const auto [place, fresh] = segments_.try_emplace(segment->id(), segment);
  AnnounceSegment announce{.segment_id = segment->id(),
                           .tracking_slots = segment->tracking_slots(),
                           .fd = TakeSlot(segment->fd()),
                           .batch = batch,
                           .writer = writer};
  const WriteAnswer answer = Try(announce);
  if (fresh && !machine_.announced(segment->id())) segments_.erase(segment->id());
  return answer;
}

WriteAnswer Sender::AnswerGetMmap(uint32_t segment_id, uint32_t stream) {
  if (forked()) return WriteAnswer::kClosed;
  SegmentAsked asked{.segment_id = segment_id, .stream = stream};
  const auto segment = segments_.find(segment_id);
  if (segment != segments_.end()) asked.fd = TakeSlot(segment->second->fd());
  return Try(asked);
}

// ---------------------------------------------------------------- sending

void Sender::Flush() {
  while (Prepare(*workspace_)) {
    if (!Conclude(*workspace_, workspace_->send_batch.Send(workspace_->kernel, fd()))) return;
  }
}

bool Sender::Prepare(Workspace& workspace) {
  if (!CanFlush() || forked()) return false;
  machine_.Plan(workspace.plan);
  workspace.send_batch.Load(workspace.plan, machine_.limits().chunk_bytes,
                            [this](FdSlot slot) { return descriptors_[slot]; });
  Run(Sending{workspace.plan});
  return true;
}

bool Sender::Conclude(Workspace& workspace, const SendResult& result) {
  if (result.error != 0) last_error_ = result.error;
  Run(Sent{workspace.plan, result.count, result.answer});
  return !machine_.waiting();
}

void Sender::OnWritable() {
  flush_wanted_ = false;
  Run(BecameWritable());
  if (flush_wanted_) {
    Flush();
  } else if (machine_.empty()) {
    ReleaseMemory();  // nothing came since it was emptied
  }
}

void Sender::OnRetry() {
  retry_ms_.reset();
  flush_wanted_ = false;
  Run(RetryDue());
  if (flush_wanted_) Flush();
}

void Sender::AcceptEvents(bool retry_due) {
  if (retry_due) {
    retry_ms_.reset();
    Run(RetryDue());
  }
  Run(BecameWritable());
}

void Sender::OnHangUp() {
  retry_ms_.reset();
  Run(HungUp());
}

void Sender::Close() {
  Run(SenderClosed());
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
  if (!machine_.empty()) return;
  machine_.ReleaseMemory();
  actions_ = SendActions();  // and its capacity
  descriptors_ = std::vector<int>();
  free_slots_ = std::vector<FdSlot>();
  if (completions_.empty()) completions_ = std::vector<Completion>();
}

// ---------------------------------------------------------------- actions

void Sender::Perform() {
  for (const SendAction& action : actions_) {
    if (action.kind == Kind::kComplete) [[likely]] {
      completions_.push_back(
          {action.message_id, action.buffer_id, action.writer, action.has_buffer, action.ok});
    } else if (!PerformOne(action)) {
      return Run(NotDuplicated{action.fd});  // instead of the rest
    }
  }
}

// False: a descriptor could not be duplicated.
bool Sender::PerformOne(const SendAction& action) {
  switch (action.kind) {
    case Kind::kRefuse:
      answer_ = action.answer;
      break;
    case Kind::kTrack:
      segments_.at(action.tracking.mmap_id)->Track(action.tracking.tracking_id, action.stream);
      break;
    case Kind::kUntrack:
      segments_.at(action.tracking.mmap_id)->Cancel(action.tracking.tracking_id, action.stream);
      break;
    case Kind::kCloseFd:
      workspace_->kernel.Close(descriptors_[action.fd]);
      FreeSlot(action.fd);
      break;
    case Kind::kReleaseFd:
      FreeSlot(action.fd);
      break;
    case Kind::kDuplicateFd:
      return Duplicate(action.fd);
    case Kind::kHandOver:
      segments_.at(action.reference.segment_id)->HandedOver(action.reference);
      break;
    case Kind::kTakeBack:
      segments_.at(action.reference.segment_id)->TakenBack(action.reference);
      break;
    case Kind::kForget:
      segments_.erase(action.segment_id);
      break;
    case Kind::kRetryLater:
      retry_ms_ = action.delay_ms;
      break;
    case Kind::kFlush:
      flush_wanted_ = true;
      break;
    case Kind::kComplete:  // Perform does
    case Kind::kArm:       // wants_writable() tells
    case Kind::kDisarm:
      break;
  }
  return true;
}

bool Sender::Duplicate(FdSlot slot) {
  const int copy = workspace_->kernel.Duplicate(descriptors_[slot]);
  if (copy < 0) {
    last_error_ = errno;
    return false;
  }
  descriptors_[slot] = copy;
  return true;
}

FdSlot Sender::TakeSlot(int fd) {
  if (free_slots_.empty()) {
    descriptors_.push_back(fd);
    return static_cast<FdSlot>(descriptors_.size() - 1);
  }
  const FdSlot slot = free_slots_.back();
  free_slots_.pop_back();
  descriptors_[slot] = fd;
  return slot;
}

void Sender::FreeSlot(FdSlot slot) {
  descriptors_[slot] = -1;
  free_slots_.push_back(slot);
}

}  // namespace portproof
