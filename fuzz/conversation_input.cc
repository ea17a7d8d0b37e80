#include "fuzz/conversation_input.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "oracle/conversation/action.h"

namespace portproof {
namespace {

using conversation::Conversation;
using conversation::Decode;
using conversation::Dice;
using conversation::Encode;

size_t Put(const Conversation& conversation, std::span<uint8_t> room) {
  const std::vector<uint8_t> bytes = Encode(conversation);
  const size_t size = std::min(bytes.size(), room.size());
  std::copy_n(bytes.begin(), size, room.begin());
  return size;
}

}  // namespace

size_t MutateInput(std::span<uint8_t> room, size_t size, conversation::Mix mix, uint64_t seed) {
  Conversation conversation = Decode(room.first(size));
  Dice dice(seed);
  Mutate(dice, conversation, mix);
  return Put(conversation, room);
}

size_t CrossInputs(std::span<const uint8_t> a, std::span<const uint8_t> b, std::span<uint8_t> room,
                   uint64_t seed) {
  Dice dice(seed);
  return Put(Splice(dice, Decode(a), Decode(b)), room);
}

void Fail(const std::string& what, const Conversation& conversation) {
  std::fprintf(stderr, "%s\n%s\nreplay: fuzz/show %s\n", what.c_str(),
               ToString(conversation).c_str(), conversation::ToHex(Encode(conversation)).c_str());
  std::abort();
}

}  // namespace portproof
