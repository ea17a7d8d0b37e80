// Fuzz inputs that are conversations: mutated and crossed as actions, not as bytes.
//   shapes    the bytes of oracle/conversation's codec
//   returns   Mutate..., Cross...: the size of the new input, at most what there is room for
//   holds     nothing
//   rules     none of its own
//   source    none
#ifndef PORTPROOF_FUZZ_CONVERSATION_INPUT_H_
#define PORTPROOF_FUZZ_CONVERSATION_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "oracle/conversation/generate.h"

namespace portproof {

// In place: the input is the first `size` bytes of `room`. New actions are of the mix.
size_t MutateInput(std::span<uint8_t> room, size_t size, conversation::Mix mix, uint64_t seed);
size_t CrossInputs(std::span<const uint8_t> a, std::span<const uint8_t> b, std::span<uint8_t> room,
                   uint64_t seed);

// Prints what is wrong, the story, and how to see it again.
[[noreturn]] void Fail(const std::string& what, const conversation::Conversation& conversation);

}  // namespace portproof

#endif  // PORTPROOF_FUZZ_CONVERSATION_INPUT_H_
