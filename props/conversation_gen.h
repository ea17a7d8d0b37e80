// Conversations for RapidCheck: generated, shrunk and shown by oracle/conversation.
//   shapes    a counterexample prints as a story and as the line that replays it
//   returns   Conversations: a generator. CheckRuns: whether the law held in all runs
//   holds     nothing
//   rules     none
//   source    none
#ifndef PORTPROOF_PROPS_CONVERSATION_GEN_H_
#define PORTPROOF_PROPS_CONVERSATION_GEN_H_

#include <rapidcheck.h>

#include <algorithm>
#include <iostream>
#include <ostream>
#include <string>

#include "oracle/conversation/action.h"
#include "oracle/conversation/generate.h"

namespace portproof::conversation {

inline void showValue(const Conversation& conversation, std::ostream& out) {
  out << ToString(conversation) << "\nreplay: fuzz/show " << ToHex(Encode(conversation)) << "\n";
}

inline rc::Gen<Conversation> Conversations(Mix mix = {}) {
  return [mix](const rc::Random& random, int size) {
    rc::Random seeds = random;
    Dice dice(seeds.next());
    return rc::shrinkable::shrinkRecur(
        Generate(dice, static_cast<size_t>(std::max(4, size)), mix),
        [](const Conversation& failing) { return rc::seq::fromContainer(Shrinks(failing)); });
  };
}

// rc::check with a number of runs of its own; the seed is RC_PARAMS'.
template <typename Law>
bool CheckRuns(const std::string& sentence, int runs, Law law) {
  rc::detail::TestParams params = rc::detail::configuration().testParams;
  params.maxSuccess = runs;
  rc::detail::TestMetadata metadata;
  metadata.description = sentence;
  const rc::detail::TestResult result = rc::detail::checkTestable(law, metadata, params);
  rc::detail::printResultMessage(result, std::cerr);
  std::cerr << "\n";
  return result.is<rc::detail::SuccessResult>();
}

}  // namespace portproof::conversation

#endif  // PORTPROOF_PROPS_CONVERSATION_GEN_H_
