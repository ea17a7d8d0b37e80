// Plays conversations from end to end, every law checked after every action. Inputs are
// mutated and crossed as actions, not as bytes.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "oracle/conversation/action.h"
#include "oracle/conversation/generate.h"
#include "props/play_receiver.h"

using namespace portproof;
using conversation::Conversation;
using conversation::Decode;
using conversation::Dice;
using conversation::Encode;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Conversation conversation = Decode(std::span(data, size));
  const BrokenLaws findings = PlayEndToEnd(conversation);
  if (findings.empty()) return 0;
  const Law law = findings.front().law;
  const Conversation small =
      conversation::Minimize(conversation, [law](const Conversation& smaller) {
        const BrokenLaws again = PlayEndToEnd(smaller);
        return !again.empty() && again.front().law == law;
      });
  std::fprintf(stderr, "%s\n%s\nreplay: fuzz/show %s\n",
               ToString(PlayEndToEnd(small).front()).c_str(), conversation::ToString(small).c_str(),
               conversation::ToHex(Encode(small)).c_str());
  std::abort();
}

namespace {

size_t Put(const Conversation& conversation, uint8_t* out, size_t size_max) {
  const std::vector<uint8_t> bytes = Encode(conversation);
  const size_t size = std::min(bytes.size(), size_max);
  std::memcpy(out, bytes.data(), size);
  return size;
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t size_max,
                                          unsigned int seed) {
  Conversation conversation = Decode(std::span(data, size));
  Dice dice(seed);
  Mutate(dice, conversation);
  return Put(conversation, data, size_max);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* a, size_t a_size, const uint8_t* b,
                                            size_t b_size, uint8_t* out, size_t size_max,
                                            unsigned int seed) {
  Dice dice(seed);
  return Put(Splice(dice, Decode(std::span(a, a_size)), Decode(std::span(b, b_size))), out,
             size_max);
}
