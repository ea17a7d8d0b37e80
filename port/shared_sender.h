// One send end for many threads.
//
//   shapes    a SharedSender has writers, one for each thread that writes; completions
//             come back to the writer that wrote the message (CMP-6)
//   returns   Write: as Sender's. What must wait is taken over by the thread whose call
//             is flushing, or by the loop's
//   holds     the sender under a short lock, which no system call is made under but the
//             duplication and the closing of descriptors; one thread flushes at a time,
//             the others go their way. A write flushes at most kRoundsPerWrite batches of
//             others'. Attend gives back the memory of a queue that was empty when it was
//             called. In a forked child the lock may be held for ever: touch nothing there
//   rules     SND-1, SND-6, SND-7, SND-8, SND-13, CMP-4, CMP-6
//   source    nxt_port_socket_write under its write mutex, which the original holds over
//             the system call
//
// The loop's thread watches fd() for writability while wants_writable(), or edge-triggered
// all the time; it calls Attend when `wake` was called and when the socket can be
// written, and OnRetry after retry_ms(). `wake` is called once until Attend (SND-13), by
// any thread and outside the lock: an eventfd is what it is made for. Descriptors are
// copied before they are queued. A segment's chunks are allocated and released through
// here. The loop's workspace outlives the last writer.
#ifndef PORTPROOF_PORT_SHARED_SENDER_H_
#define PORTPROOF_PORT_SHARED_SENDER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "port/sender.h"

namespace portproof {

class SharedSender : public std::enable_shared_from_this<SharedSender> {
 public:
  static constexpr int kRoundsPerWrite = 16;

  // The kernel is that of the loop's workspace; each writer brings its own workspace.
  static absl::StatusOr<std::shared_ptr<SharedSender>> Adopt(Workspace& loop, OwnedFd socket,
                                                             const SenderOptions& options,
                                                             std::function<void()> wake);

  class Writer {
   public:
    // `notify` is called outside the lock, by whichever thread completed something for
    // this writer while nothing lay in its mailbox: also within this writer's own Write,
    // and perhaps after it was destroyed. It may be empty.
    Writer(std::shared_ptr<SharedSender> sender, Workspace& workspace,
           std::function<void()> notify = nullptr);
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;
    // What completes later is dropped: the buffers of what is queued are read until sent.
    ~Writer();

    WriteAnswer Write(Outgoing message);                            // its `writer` is set here
    WriteAnswer Announce(const std::shared_ptr<Segment>& segment);  // as Sender's
    void Flush();
    void TakeCompletions(std::vector<Completion>& completions);

   private:
    std::shared_ptr<SharedSender> sender_;
    Workspace& workspace_;
    uint32_t number_ = 0;
  };

  std::optional<ChunkRange> Allocate(Segment& segment, uint32_t bytes);
  void Release(Segment& segment, const ChunkRange& range);
  void ReceiverDied(Segment& segment);

  // For the loop's thread.
  int fd() const { return fd_; }
  void Attend() { AttendTo(false); }  // the wake, or writability
  void OnRetry() { AttendTo(true); }  // retry_ms() are over
  void OnHangUp();                    // the receive end is gone: fails the port (SND-4)
  bool wants_writable();
  std::optional<uint32_t> retry_ms();
  size_t queued_messages();
  void Close();  // the socket perhaps only when the thread that flushes is back

 private:
  struct Mailbox {
    std::vector<Completion> completions;
    std::function<void()> notify;
  };

  SharedSender(Workspace& loop, std::unique_ptr<Sender> sender, std::function<void()> wake);
  WriteAnswer WriteFrom(Workspace& workspace, Outgoing& message);
  WriteAnswer AnnounceFrom(Workspace& workspace, const std::shared_ptr<Segment>& segment,
                           uint32_t writer);
  void Run(Workspace& workspace, std::unique_lock<std::mutex>& lock, int rounds);
  void AttendTo(bool retry_due);
  void Sort();
  void ReleaseMemory();
  void Tell(std::unique_lock<std::mutex>& lock);

  Workspace& loop_;
  const int fd_;
  std::function<void()> wake_;
  std::mutex mutex_;
  // All below under the lock.
  std::unique_ptr<Sender> sender_;
  bool flushing_ = false;
  bool closing_ = false;  // this and the next two: while another thread flushes
  bool hung_up_ = false;
  bool attended_ = false;
  bool wake_wanted_ = false;
  bool woken_ = false;  // and not attended yet
  uint32_t next_writer_ = 1;
  absl::flat_hash_map<uint32_t, Mailbox> mailboxes_;
  std::vector<Completion> sorting_;
  std::vector<std::function<void()>> notifying_;
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_SHARED_SENDER_H_
