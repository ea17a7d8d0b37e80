// Counts allocations, for tests and measurements: a program that links this has an operator
// new of its own.
//   shapes    a number that rises with each allocation of the program
//   returns   AllocationCount: the number so far
//   holds     a counter of the program
//   rules     none
//   source    none
#ifndef PORTPROOF_PROPS_ALLOCATION_COUNT_H_
#define PORTPROOF_PROPS_ALLOCATION_COUNT_H_

#include <cstdint>

namespace portproof {

uint64_t AllocationCount();

}  // namespace portproof

#endif  // PORTPROOF_PROPS_ALLOCATION_COUNT_H_
