// Plays a conversation's actions of receive ports on the machine and on the naive process, and
// compares them after each.
//   shapes    a conversation (oracle/conversation); its setup gives the profile, how many
//             ports, and FRG-8's limits
//   returns   the first difference or broken law, or an empty text; what was reached, by name
//   holds     the two
//   rules     those of protocol/receive_machine.h; FRG-8's bound on memory; FDS-5 and SHM-6 as
//             a census; RCV-5: a refusal that discards nothing leaves the state as it was
//   source    none
#ifndef PORTPROOF_PROPS_RECEIVE_PLAY_H_
#define PORTPROOF_PROPS_RECEIVE_PLAY_H_

#include <functional>
#include <set>
#include <string>

#include "oracle/conversation/action.h"

namespace portproof {

// `narrator` is told everything that happens.
std::string PlayReceivers(const conversation::Conversation& conversation,
                          std::set<std::string>* reached = nullptr,
                          const std::function<void(const std::string&)>& narrator = nullptr);

}  // namespace portproof

#endif  // PORTPROOF_PROPS_RECEIVE_PLAY_H_
