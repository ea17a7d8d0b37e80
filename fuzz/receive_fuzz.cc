// Plays what arrives on the ports of a process to the receive machine and to the naive
// process: senders, fragments, references, announcements, deaths, closes. They agree after
// every action, and nothing is left in the end.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "fuzz/conversation_input.h"
#include "oracle/conversation/action.h"
#include "oracle/conversation/generate.h"
#include "props/receive_play.h"

using namespace portproof;
using conversation::Conversation;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Conversation conversation = conversation::Decode(std::span(data, size));
  if (PlayReceivers(conversation).empty()) return 0;
  const Conversation small = conversation::Minimize(
      conversation, [](const Conversation& smaller) { return !PlayReceivers(smaller).empty(); });
  Fail(PlayReceivers(small), small);
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t size_max,
                                          unsigned int seed) {
  return MutateInput(std::span(data, size_max), size, {.receivers = true}, seed);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* a, size_t a_size, const uint8_t* b,
                                            size_t b_size, uint8_t* out, size_t size_max,
                                            unsigned int seed) {
  return CrossInputs(std::span(a, a_size), std::span(b, b_size), std::span(out, size_max), seed);
}
