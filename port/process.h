// Which process this is, as the ports of another one must not go on in a child.
//   shapes    a number that differs between a process and the child it forks
//   returns   the number; it costs one load
//   holds     one counter for the process. Only fork() moves it on: a child made by the
//             bare clone() call, or by _Fork(), is not noticed
//   rules     PRT-1, HDR-6
//   source    nxt_pid, which the original sets anew after each fork
#ifndef PORTPROOF_PORT_PROCESS_H_
#define PORTPROOF_PORT_PROCESS_H_

#include <atomic>
#include <cstdint>

namespace portproof {

namespace internal {
extern std::atomic<uint32_t> fork_generation;
}  // namespace internal

inline uint32_t ForkGeneration() {
  return internal::fork_generation.load(std::memory_order_relaxed);
}

}  // namespace portproof

#endif  // PORTPROOF_PORT_PROCESS_H_
