#include "oracle/process_table.h"

#include <algorithm>

namespace portproof {

Thread* ProcessTable::FindKnown(int32_t tid) {
  Recent& recent = recent_[static_cast<uint32_t>(tid) % kRecentKept];
  if (recent.tid == tid && recent.thread != nullptr) return recent.thread;
  const auto found = threads_.find(tid);
  if (found == threads_.end()) return nullptr;
  recent = {tid, found->second.get()};
  return recent.thread;
}

Thread& ProcessTable::Make(int32_t tid) {
  std::unique_ptr<Thread>& thread = threads_[tid];
  if (thread == nullptr) thread = std::make_unique<Thread>();
  return *thread;
}

Thread& ProcessTable::Find(int32_t tid, int32_t header_pid) {
  Thread* known = FindKnown(tid);
  if (known != nullptr && known->pid != kNoPid) {
    if (known->supposed && header_pid != kNoPid && header_pid != known->pid) known->pid = kNoPid;
    return *known;
  }
  int32_t pid = Parentage(tid, header_pid);
  // Inside a pid namespace clone returns another number, so whose child it is stays unknown. A
  // thread that signs with its own number is the first of its process.
  if (pid == kNoPid && header_pid == tid) pid = tid;
  Thread& thread = Make(tid);
  thread.pid = pid;
  thread.supposed = pid != kNoPid;
  return thread;
}

// A thread whose clone has not been seen to return: whose child is it?
int32_t ProcessTable::Parentage(int32_t tid, int32_t header_pid) {
  int32_t only = kNoPid;
  bool agreed = true;
  for (const int32_t caller : cloning_) {
    const Thread& parent = Make(caller);
    const int32_t pid = parent.clones_thread ? parent.pid : tid;
    if (pid == header_pid) return pid;
    agreed = agreed && (only == kNoPid || only == pid);
    only = pid;
  }
  const bool contradicted = header_pid != kNoPid && header_pid != only;
  if (!cloning_.empty()) return agreed && !contradicted ? only : kNoPid;
  return kNoPid;
}

void ProcessTable::Exec(int32_t tid) {
  Thread& thread = Find(tid);
  thread.pid = tid;
  thread.supposed = false;
}

void ProcessTable::CloneEntered(int32_t tid, Thread& thread, std::string_view args, uint64_t line) {
  thread.pending = PendingCall::kClone;
  thread.clones_thread = args.find("CLONE_THREAD") != std::string_view::npos;
  thread.entry_line = line;
  cloning_.push_back(tid);
}

void ProcessTable::CloneReturned(int32_t caller_pid, bool makes_thread, int64_t child) {
  std::erase_if(cloning_, [this](int32_t tid) {
    const Thread* thread = FindKnown(tid);
    return thread == nullptr || thread->pending != PendingCall::kClone;
  });
  if (child <= 0 || child > INT32_MAX) return;
  const auto tid = static_cast<int32_t>(child);
  const int32_t pid = makes_thread ? caller_pid : tid;
  const bool made = FindKnown(tid) == nullptr;
  Thread& thread = Make(tid);
  thread.pid = pid;
  thread.supposed = false;
  if (!makes_thread && made) dead_.erase(tid);
}

std::vector<int32_t> ProcessTable::Receiving() const {
  std::vector<int32_t> tids;
  for (const auto& [tid, thread] : threads_) {
    if (thread->pending == PendingCall::kRecv && !thread->skip) tids.push_back(tid);
  }
  std::sort(tids.begin(), tids.end());
  return tids;
}

bool ProcessTable::Die(int32_t pid) { return dead_.insert(pid).second; }

void ProcessTable::Gone(int32_t tid) {
  const Thread* thread = FindKnown(tid);
  if (thread == nullptr) return;
  if (thread->pid == tid) dead_.erase(tid);
  std::erase(cloning_, tid);
  threads_.erase(tid);
  recent_[static_cast<uint32_t>(tid) % kRecentKept] = {};
}

}  // namespace portproof
