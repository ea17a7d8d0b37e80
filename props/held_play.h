// Plays a list of actions to HeldMessages and a Reassembly that share a budget, and to
// a naive model that is a list of things kept and counts them anew each time.
//   shapes    an action is a byte and what it needs; every byte string is a list:
//               0 k n   a datagram that names segments n (a bit each, of 4) that are
//                       unknown comes from key k; k's bits 2, 3: nf, mf; 4 on: bytes
//               1 k     the same that names none; held only if it must follow
//               2 k n   segment n % 4 of key k's sender is announced
//               3 k     a datagram of key k is refused for RCV-1
//               4 k     key k's sender dies
//               5       the port closes
//             key k: sender 1 or 2 (bit 0), stream 1 or 2 (bit 1)
//   returns   what differs first, or nothing; `reached` names the classes it met
//   holds     nothing
//   rules     SHM-10, FRG-8, FRG-9, RCV-5
//   source    none
#ifndef PORTPROOF_PROPS_HELD_PLAY_H_
#define PORTPROOF_PROPS_HELD_PLAY_H_

#include <cstdint>
#include <set>
#include <span>
#include <string>

#include "protocol/budget.h"

namespace portproof {

std::string PlayHeld(std::span<const uint8_t> actions, const ReassemblyLimits& limits,
                     std::set<std::string>& reached);

}  // namespace portproof

#endif  // PORTPROOF_PROPS_HELD_PLAY_H_
