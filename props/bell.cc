#include "props/bell.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <limits>

namespace portproof {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));  // what a futex is

void Bell::Ring() {
  rings_.fetch_add(1);
  ::syscall(SYS_futex, &rings_, FUTEX_WAKE, std::numeric_limits<int>::max());
}

void Bell::SleepAfter(uint32_t heard) { ::syscall(SYS_futex, &rings_, FUTEX_WAIT, heard, nullptr); }

}  // namespace portproof
