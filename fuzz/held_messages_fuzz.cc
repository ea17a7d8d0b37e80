// Laws of messages that wait for an announcement: whatever comes, they and the open
// assemblies go as the naive model says. The first two bytes choose the limits; the rest
// are actions (see props/held_play.h).
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <span>
#include <string>

#include "props/held_play.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  portproof::ReassemblyLimits limits;
  limits.open_per_sender = 1U + (data[0] & 3);
  limits.open = 1U + (data[0] >> 2 & 7);
  limits.assembly_bytes = 12 + 16 * (data[1] & 15U);
  limits.bytes = 12 + 32 * (data[1] >> 4U);
  std::set<std::string> reached;
  const std::string difference = PlayHeld(std::span(data + 2, size - 2), limits, reached);
  if (difference.empty()) return 0;
  std::fprintf(stderr, "differs: %s\n", difference.c_str());
  std::abort();
}
