// A kernel that writes down what passes through it, as JSON Lines, where it survives the
// process: in memory shared with whoever started it.
//   shapes    SharedLog: lines of text; a sequence common to all processes orders them. A
//             kernel's lines: "T sequence event", and "F" and what happened: "stopped",
//             "sendmmsg" of several, or "sendmmsg in part"
//   returns   what the real kernel says; a process can be killed, or stop, at its n-th
//             datagram
//   holds     the log's pages
//   rules     none of its own; oracle/README.md has the format
//   source    none
#ifndef PORTPROOF_PROPS_TRACE_KERNEL_H_
#define PORTPROOF_PROPS_TRACE_KERNEL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "port/kernel.h"
#include "props/bell.h"

namespace portproof {

class SharedLog {
 public:
  static constexpr size_t kBytes = 64 << 20;  // what is not written takes no memory

  // Of a process; `sequence` is shared by all of a conversation.
  SharedLog();
  SharedLog(const SharedLog&) = delete;
  SharedLog& operator=(const SharedLog&) = delete;
  ~SharedLog();

  void Write(std::string_view line);  // from any thread
  std::vector<std::string> Lines() const;
  std::atomic<uint32_t>& flag() { return head_->flag; }  // for its owner and the others
  Bell& bell() { return head_->bell; }
  std::atomic<uint64_t>& sequence() { return head_->sequence; }

 private:
  struct Head {
    std::atomic<size_t> used{0};
    std::atomic<uint32_t> flag{0};
    Bell bell;
    std::atomic<uint64_t> sequence{0};
    std::atomic_flag locked = ATOMIC_FLAG_INIT;
  };
  Head* head_;
  char* text_;
};

struct TraceOptions {
  // After so many datagrams; 0: never.
  uint64_t kill_at = 0;
  uint64_t stop_at = 0;  // SIGSTOP; whoever started the process lets it go on
  // A batch is one system call; else one for each datagram, so that a process is killed
  // between any two.
  bool batches = false;
};

class TraceKernel : public RealKernel {
 public:
  TraceKernel(SharedLog& log, std::atomic<uint64_t>& sequence, int32_t pid, uint8_t mmap_type,
              const TraceOptions& options)
      : log_(log), sequence_(sequence), pid_(pid), mmap_type_(mmap_type), options_(options) {}

  uint64_t datagrams() const { return datagrams_.load(); }
  void Closed();  // its process let go of the end: to be told behind it

  ssize_t SendMessage(int fd, const msghdr* message, int flags) override;
  int SendMessages(int fd, mmsghdr* messages, unsigned count, int flags) override;
  ssize_t ReceiveMessage(int fd, msghdr* message, int flags) override;
  int ReceiveMessages(int fd, mmsghdr* messages, unsigned count, int flags) override;

 private:
  std::string SendLine(const msghdr& message) const;
  int SendEach(int fd, mmsghdr* messages, unsigned count, int flags);
  void SendFailed(uint64_t sequence, int error);
  void Event(uint64_t sequence, const std::string& json);
  void Count();

  SharedLog& log_;
  std::atomic<uint64_t>& sequence_;
  int32_t pid_;
  uint8_t mmap_type_;
  TraceOptions options_;
  std::atomic<uint64_t> datagrams_{0};
};

}  // namespace portproof

#endif  // PORTPROOF_PROPS_TRACE_KERNEL_H_
