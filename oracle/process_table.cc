#include "oracle/process_table.h"

#include <algorithm>

namespace portproof {
Thread* ProcessTable::FindKnown(int32_t tid) {
  const auto found = threads_.find(tid);
  return found == threads_.end() ? nullptr : &found->second;
}

Thread& ProcessTable::Find(int32_t tid, int32_t header_pid) {
  const auto found = threads_.find(tid);
  if (found != threads_.end() && found->second.pid != kNoPid) {
    Thread& known = found->second;
    if (known.supposed && header_pid != kNoPid && header_pid != known.pid) known.pid = kNoPid;
    return known;
  }
  const int32_t pid = Parentage(tid, header_pid);
  Thread& thread = threads_[tid];
  thread.pid = pid;
  thread.supposed = pid != kNoPid;
  return thread;
}

// A thread whose clone has not been seen to return: whose child is it?
int32_t ProcessTable::Parentage(int32_t tid, int32_t header_pid) {
  int32_t only = kNoPid;
  bool agreed = true;
  for (const int32_t caller : cloning_) {
    const Thread& parent = threads_[caller];
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
  const auto [found, made] = threads_.try_emplace(tid);
  found->second.pid = pid;
  found->second.supposed = false;
  if (!makes_thread && made) dead_.erase(tid);
}

bool ProcessTable::Die(int32_t pid) { return dead_.insert(pid).second; }

void ProcessTable::Gone(int32_t tid) {
  const auto found = threads_.find(tid);
  if (found == threads_.end()) return;
  if (found->second.pid == tid) dead_.erase(tid);
  std::erase(cloning_, tid);
  threads_.erase(found);
}

}  // namespace portproof
