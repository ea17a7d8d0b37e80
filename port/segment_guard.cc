#include "port/segment_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>

namespace portproof {
namespace {

// A handler may run at any moment, in any thread: it reads atomics only. `begin` is
// written last when an entry is made, and first when it ends.
struct Entry {
  std::atomic<uintptr_t> begin = 0;  // 0: free
  std::atomic<uintptr_t> end = 0;
  std::atomic<bool> poisoned = false;
};

std::array<Entry, SegmentGuard::kGuardedMax> entries;
std::mutex entries_mutex;  // of those who make and end entries, never of the handler
std::atomic<bool> is_installed = false;
std::atomic<uintptr_t> page_bytes = 4096;
struct sigaction handled_before;

Entry* EntryOf(uintptr_t address) {
  for (Entry& entry : entries) {
    const uintptr_t begin = entry.begin.load(std::memory_order_acquire);
    if (begin != 0 && address >= begin && address < entry.end.load(std::memory_order_relaxed)) {
      return &entry;
    }
  }
  return nullptr;
}

void PassOn(int signal, siginfo_t* info, void* context) {
  const bool sent = info->si_code <= 0;  // by a process: no access that would be repeated
  if ((handled_before.sa_flags & SA_SIGINFO) != 0) {
    handled_before.sa_sigaction(signal, info, context);
  } else if (handled_before.sa_handler != SIG_DFL && handled_before.sa_handler != SIG_IGN) {
    handled_before.sa_handler(signal);
  } else if (!sent || handled_before.sa_handler == SIG_DFL) {
    ::sigaction(SIGBUS, &handled_before, nullptr);  // the access faults again, unhandled
    if (sent) ::raise(SIGBUS);                      // and so does this, once we return
  }
}

void OnBusError(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  Entry* const entry = info->si_code == BUS_ADRERR ? EntryOf(address) : nullptr;
  bool replaced = false;
  if (entry != nullptr) {
    const uintptr_t bytes = page_bytes.load(std::memory_order_relaxed);
    void* const page = static_cast<char*>(info->si_addr) - address % bytes;
    replaced = ::mmap(page, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                      -1, 0) == page;
    entry->poisoned.store(true, std::memory_order_release);
  }
  errno = saved_errno;
  if (!replaced) PassOn(signal, info, context);
}

}  // namespace

bool SegmentGuard::Install() {
  const std::lock_guard lock(entries_mutex);
  if (is_installed.load()) return true;
  page_bytes.store(static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE)));
  struct sigaction action = {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  if (::sigaction(SIGBUS, &action, &handled_before) != 0) return false;
  is_installed.store(true);
  return true;
}

bool SegmentGuard::installed() { return is_installed.load(); }

std::optional<SegmentGuard::Watch> SegmentGuard::Watch::Begin(std::span<uint8_t> range) {
  const std::lock_guard lock(entries_mutex);
  if (!is_installed.load()) return std::nullopt;
  for (size_t i = 0; i < entries.size(); ++i) {
    Entry& entry = entries[i];
    if (entry.begin.load(std::memory_order_relaxed) != 0) continue;
    const auto begin = reinterpret_cast<uintptr_t>(range.data());
    entry.poisoned.store(false, std::memory_order_relaxed);
    entry.end.store(begin + range.size(), std::memory_order_relaxed);
    entry.begin.store(begin, std::memory_order_release);
    return Watch(i);
  }
  return std::nullopt;
}

SegmentGuard::Watch& SegmentGuard::Watch::operator=(Watch&& other) noexcept {
  if (this != &other) {
    End();
    entry_ = std::exchange(other.entry_, kNone);
  }
  return *this;
}

bool SegmentGuard::Watch::poisoned() const {
  return entries[entry_].poisoned.load(std::memory_order_acquire);
}

void SegmentGuard::Watch::End() {
  if (entry_ == kNone) return;
  const std::lock_guard lock(entries_mutex);
  entries[entry_].begin.store(0, std::memory_order_release);
  entry_ = kNone;
}

}  // namespace portproof
