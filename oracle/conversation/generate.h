// Makes, changes and shrinks conversations, without a property-testing library: the live
// suite and the fuzzer's mutator need them as much as the properties.
//   shapes    Dice: a seeded source of numbers; the same seed gives the same throws
//   returns   Generate: a normal conversation of about `size` actions. Mutate: changes
//             actions, not bytes; new ones are of the mix. Splice: actions of one, then of the
//             other. Shrinks: smaller ones to try, the smallest first. Minimize: greedily, the
//             smallest found for which `fails` still says true
//   holds     values
//   rules     none of its own; the mix is made for the edges of sections 3 and 4
//   source    none
#ifndef PORTPROOF_ORACLE_CONVERSATION_GENERATE_H_
#define PORTPROOF_ORACLE_CONVERSATION_GENERATE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "oracle/conversation/action.h"

namespace portproof::conversation {

class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>((Next() >> 32) * bound >> 32); }
  bool OneIn(uint32_t chances) { return Below(chances) == 0; }

 private:
  uint64_t state_;
};

// What generated actions may be beyond what they always may.
struct Mix {
  bool failures = true;    // errors that fail a message or a port, hang-ups, deaths, closing
  bool receivers = false;  // actions of receive ports, instead of senders'
};

Conversation Generate(Dice& dice, size_t size, Mix mix = {});
void Mutate(Dice& dice, Conversation& conversation, Mix mix = {});
Conversation Splice(Dice& dice, const Conversation& a, const Conversation& b);

std::vector<Conversation> Shrinks(const Conversation& conversation);
Conversation Minimize(Conversation conversation,
                      const std::function<bool(const Conversation&)>& fails);

}  // namespace portproof::conversation

#endif  // PORTPROOF_ORACLE_CONVERSATION_GENERATE_H_
