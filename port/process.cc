#include "port/process.h"

#include <pthread.h>

namespace portproof {

std::atomic<uint32_t> internal::fork_generation{0};

namespace {

[[maybe_unused]] const bool registered =
    ::pthread_atfork(nullptr, nullptr, [] {
      internal::fork_generation.fetch_add(1, std::memory_order_relaxed);
    }) == 0;

}  // namespace

}  // namespace portproof
