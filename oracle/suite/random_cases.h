// Generated conversations as cases, from the codec that the properties and fuzzers share.
//   shapes    every other one is sent to the testee, every other one by it; eight in a row
//             share a port's sizes, so that a testee can be kept
//   returns   the same seed and number: the same cases
//   holds     the conversations
//   rules     whichever the models name
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_RANDOM_CASES_H_
#define PORTPROOF_ORACLE_SUITE_RANDOM_CASES_H_

#include <cstdint>

#include "oracle/conversation/action.h"
#include "oracle/suite/case.h"

namespace portproof::suite {

void AddRandomCases(CaseList& cases, uint64_t seed, int count);
// The case that plays this conversation; `sends`: the testee is the sender.
Case CaseOf(const std::string& name, const conversation::Conversation& conversation, bool sends);

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_RANDOM_CASES_H_
