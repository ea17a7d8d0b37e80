#include "port/shared_sender.h"

#include <utility>

namespace portproof {

absl::StatusOr<std::shared_ptr<SharedSender>> SharedSender::Adopt(Workspace& loop, OwnedFd socket,
                                                                  const SenderOptions& options,
                                                                  std::function<void()> wake) {
  auto sender = Sender::Adopt(loop, std::move(socket), options);
  if (!sender.ok()) return sender.status();
  return std::shared_ptr<SharedSender>(new SharedSender(loop, *std::move(sender), std::move(wake)));
}

SharedSender::SharedSender(Workspace& loop, std::unique_ptr<Sender> sender,
                           std::function<void()> wake)
    : loop_(loop), fd_(sender->fd()), wake_(std::move(wake)), sender_(std::move(sender)) {}

// ---------------------------------------------------------------- writers

SharedSender::Writer::Writer(std::shared_ptr<SharedSender> sender, Workspace& workspace,
                             std::function<void()> notify)
    : sender_(std::move(sender)), workspace_(workspace) {
  const std::lock_guard<std::mutex> lock(sender_->mutex_);
  number_ = sender_->next_writer_++;
  sender_->mailboxes_[number_].notify = std::move(notify);
}

SharedSender::Writer::~Writer() {
  const std::lock_guard<std::mutex> lock(sender_->mutex_);
  sender_->mailboxes_.erase(number_);
}

WriteAnswer SharedSender::Writer::Write(Outgoing message) {
  message.writer = number_;
  return sender_->WriteFrom(workspace_, message);
}

void SharedSender::Writer::Flush() {
  std::unique_lock<std::mutex> lock(sender_->mutex_);
  sender_->Run(workspace_, lock, kRoundsPerWrite);
}

void SharedSender::Writer::TakeCompletions(std::vector<Completion>& completions) {
  const std::lock_guard<std::mutex> lock(sender_->mutex_);
  std::vector<Completion>& mailbox = sender_->mailboxes_[number_].completions;
  completions.insert(completions.end(), mailbox.begin(), mailbox.end());
  mailbox.clear();
}

// Descriptors are copied at once, as those of a message that waits are (SND-8): another
// thread may send it.
WriteAnswer SharedSender::WriteFrom(Workspace& workspace, Outgoing& message) {
  const bool flush = !message.batch;
  message.batch |= !message.fds.empty();
  std::unique_lock<std::mutex> lock(mutex_);
  const WriteAnswer answer = sender_->Enqueue(message);
  if (answer == WriteAnswer::kAccepted && flush) Run(workspace, lock, kRoundsPerWrite);
  return answer;
}

// ------------------------------------------------------------------ flush

// One thread at a time: it empties the queue or is told to wait, or leaves the rest to
// the loop. Whoever sees it flushing has its message taken along.
void SharedSender::Run(Workspace& workspace, std::unique_lock<std::mutex>& lock, int rounds) {
  if (flushing_) return;
  flushing_ = true;
  const bool was_armed = sender_->wants_writable();
  const bool was_retrying = sender_->retry_ms().has_value();
  bool more = true;
  while (!closing_ && !hung_up_ && rounds-- > 0) {
    more = sender_->Prepare(workspace);
    if (!more) break;
    lock.unlock();
    const SendResult result = workspace.send_batch.Send(workspace.kernel, fd_);
    lock.lock();
    more = sender_->Conclude(workspace, result);
    if (std::exchange(attended_, false)) {  // SND-7: no other event may come
      sender_->AcceptEvents(false);
      more = sender_->CanFlush();
    }
    if (!more) break;
  }
  flushing_ = false;
  if (std::exchange(hung_up_, false)) sender_->OnHangUp();
  if (closing_) sender_->Close();
  wake_wanted_ |= (sender_->wants_writable() && !was_armed) ||
                  (sender_->retry_ms().has_value() && !was_retrying) ||
                  (more && sender_->queued_messages() != 0);
  Sort();
  Tell(lock);
}

void SharedSender::Sort() {
  sorting_.clear();
  sender_->TakeCompletions(sorting_);
  for (const Completion& completion : sorting_) {
    const auto found = mailboxes_.find(completion.writer);
    if (found == mailboxes_.end()) continue;
    Mailbox& mailbox = found->second;
    if (mailbox.completions.empty() && mailbox.notify) notifying_.push_back(mailbox.notify);
    mailbox.completions.push_back(completion);
  }
}

// Calls out without the lock.
void SharedSender::Tell(std::unique_lock<std::mutex>& lock) {
  const bool wake = std::exchange(wake_wanted_, false) && !woken_;  // SND-13: once
  woken_ |= wake;
  const std::vector<std::function<void()>> notifying = std::exchange(notifying_, {});
  lock.unlock();
  if (wake && wake_) wake_();
  for (const auto& notify : notifying) notify();
  lock.lock();
}

// ------------------------------------------------------------ for the loop

void SharedSender::AttendTo(bool retry_due) {
  std::unique_lock<std::mutex> lock(mutex_);
  woken_ = true;  // the loop asks what is wanted when this returns
  if (flushing_) {
    attended_ = true;  // it may be what ends the wait that this flush is about to be told of
  } else {
    const bool idle = sender_->queued_messages() == 0;
    sender_->AcceptEvents(retry_due);
    Run(loop_, lock, kRoundsPerWrite);
    if (idle) ReleaseMemory();
  }
  woken_ = false;
  wake_wanted_ = sender_->CanFlush() && !flushing_;  // there is more, and no event will tell
  Tell(lock);
}

// As Sender does when nothing came since it was emptied.
void SharedSender::ReleaseMemory() {
  if (!flushing_) sender_->ReleaseMemory();
  sorting_ = std::vector<Completion>();
  for (auto& [number, mailbox] : mailboxes_) {
    if (mailbox.completions.empty()) mailbox.completions = std::vector<Completion>();
  }
}

bool SharedSender::wants_writable() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return sender_->wants_writable();
}

std::optional<uint32_t> SharedSender::retry_ms() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return sender_->retry_ms();
}

size_t SharedSender::queued_messages() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return sender_->queued_messages();
}

void SharedSender::OnHangUp() {
  std::unique_lock<std::mutex> lock(mutex_);
  hung_up_ = flushing_;  // that thread fails it
  if (flushing_) return;
  sender_->OnHangUp();
  Sort();
  Tell(lock);
}

void SharedSender::Close() {
  std::unique_lock<std::mutex> lock(mutex_);
  closing_ = true;
  if (flushing_) return;  // that thread closes
  sender_->Close();
  Sort();
  Tell(lock);
}

WriteAnswer SharedSender::Writer::Announce(const std::shared_ptr<Segment>& segment) {
  return sender_->AnnounceFrom(workspace_, segment, number_);
}

WriteAnswer SharedSender::AnnounceFrom(Workspace& workspace,
                                       const std::shared_ptr<Segment>& segment, uint32_t writer) {
  std::unique_lock<std::mutex> lock(mutex_);
  const WriteAnswer answer = sender_->Announce(segment, true, writer);
  if (answer == WriteAnswer::kAccepted) Run(workspace, lock, kRoundsPerWrite);
  return answer;
}

std::optional<ChunkRange> SharedSender::Allocate(Segment& segment, uint32_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return segment.Allocate(bytes);
}

void SharedSender::Release(Segment& segment, const ChunkRange& range) {
  const std::lock_guard<std::mutex> lock(mutex_);
  segment.Release(range);
}

void SharedSender::ReceiverDied(Segment& segment) {
  const std::lock_guard<std::mutex> lock(mutex_);
  segment.ReceiverDied();
}

}  // namespace portproof
