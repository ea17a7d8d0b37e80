// Which process a thread belongs to, from the clone lines of a recording.
//   shapes    thread and process ids as the recorder prints them
//   returns   Find: the thread, made if it is new; its pid is kNoPid while unknown
//   holds     a few words per live thread
//   rules     HDR-6 needs the sending process, FRG-5 its death
//   source    clone, clone3, fork, vfork; CLONE_THREAD joins the caller's process
#ifndef PORTPROOF_ORACLE_PROCESS_TABLE_H_
#define PORTPROOF_ORACLE_PROCESS_TABLE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "oracle/event_queue.h"
#include "oracle/trace.h"

namespace portproof {

// A call that was split, between its halves.
enum class PendingCall : uint8_t { kNone, kSend, kRecv, kSocketPair, kClone };

struct Thread {
  int32_t pid = kNoPid;
  bool supposed = false;  // pid: from a clone that has not returned yet
  PendingCall pending = PendingCall::kNone;
  bool clones_thread = false;     // kClone: with CLONE_THREAD
  EventQueue::Ticket ticket = 0;  // kSend
  uint64_t inode = 0;             // kSend, kRecv: the port's receiving inode
  uint64_t peer = 0;              // kRecv
  bool skip = false;              // kSend, kRecv: no port
  bool cut = false;               // kSend: the recorder cut its bytes
  bool dgram = false;             // kSocketPair
  uint64_t entry_line = 0;
  uint64_t events_before = 0;   // kRecv: events when the call was entered
  uint64_t damaged_before = 0;  // damaged lines when the call was entered
};

class ProcessTable {
 public:
  // `header_pid` of what the thread sends, kNoPid if nothing: settles which of
  // several unfinished clones made it.
  Thread& Find(int32_t tid, int32_t header_pid = kNoPid);
  Thread* FindKnown(int32_t tid);
  void Exec(int32_t tid);
  void CloneEntered(int32_t tid, Thread& thread, std::string_view args, uint64_t line);
  void CloneReturned(int32_t caller_pid, bool makes_thread, int64_t child);
  // True if the process had not died before.
  bool Die(int32_t pid);
  bool IsDead(int32_t pid) const { return dead_.contains(pid); }
  void Gone(int32_t tid);  // the thread's last line
  bool empty() const { return threads_.empty(); }
  // The threads inside a receive, lowest number first.
  std::vector<int32_t> Receiving() const;

 private:
  Thread& Make(int32_t tid);
  int32_t Parentage(int32_t tid, int32_t header_pid);

  absl::flat_hash_map<int32_t, std::unique_ptr<Thread>> threads_;
  // Those last met: a line's thread is mostly among them.
  static constexpr size_t kRecentKept = 16;
  struct Recent {
    int32_t tid = kNoPid;
    Thread* thread = nullptr;
  };
  std::array<Recent, kRecentKept> recent_ = {};
  absl::flat_hash_set<int32_t> dead_;
  std::vector<int32_t> cloning_;  // threads inside an unfinished clone
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_PROCESS_TABLE_H_
