// Plays conversations from end to end, every law checked after every action.
#include <cstddef>
#include <cstdint>
#include <span>

#include "fuzz/conversation_input.h"
#include "oracle/conversation/action.h"
#include "oracle/conversation/generate.h"
#include "props/play_receiver.h"

using namespace portproof;
using conversation::Conversation;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Conversation conversation = conversation::Decode(std::span(data, size));
  const BrokenLaws findings = PlayEndToEnd(conversation);
  if (findings.empty()) return 0;
  const Law law = findings.front().law;
  const Conversation small =
      conversation::Minimize(conversation, [law](const Conversation& smaller) {
        const BrokenLaws again = PlayEndToEnd(smaller);
        return !again.empty() && again.front().law == law;
      });
  Fail(ToString(PlayEndToEnd(small).front()), small);
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t size_max,
                                          unsigned int seed) {
  return MutateInput(std::span(data, size_max), size, {}, seed);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* a, size_t a_size, const uint8_t* b,
                                            size_t b_size, uint8_t* out, size_t size_max,
                                            unsigned int seed) {
  return CrossInputs(std::span(a, a_size), std::span(b, b_size), std::span(out, size_max), seed);
}
