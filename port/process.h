// Which process this is, as the ports of another one must not go on in a child.
//   shapes    a number that differs between a process and the child it forks
//   returns   the number; it costs one load
//   holds     one counter for the process
//   rules     PRT-1, HDR-6
//   source    nxt_pid, which the original sets anew after each fork
#ifndef PORTPROOF_PORT_PROCESS_H_
#define PORTPROOF_PORT_PROCESS_H_

#include <cstdint>

namespace portproof {

uint32_t ForkGeneration();

}  // namespace portproof

#endif  // PORTPROOF_PORT_PROCESS_H_
