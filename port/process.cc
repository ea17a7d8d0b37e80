#include "port/process.h"

#include <pthread.h>

#include <atomic>

namespace portproof {
namespace {

std::atomic<uint32_t> generation{0};

bool Register() {
  return ::pthread_atfork(nullptr, nullptr,
                          [] { generation.fetch_add(1, std::memory_order_relaxed); }) == 0;
}

const bool registered = Register();

}  // namespace

uint32_t ForkGeneration() {
  static_cast<void>(registered);
  return generation.load(std::memory_order_relaxed);
}

}  // namespace portproof
