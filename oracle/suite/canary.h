// The runner's own liar: says that it delivers, and never reads a datagram.
//   shapes    a testee's main function, on fd 0 and 1
//   returns   an exit status
//   holds     nothing
//   rules     breaks RCV-3
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_CANARY_H_
#define PORTPROOF_ORACLE_SUITE_CANARY_H_

namespace portproof::suite {

int RunCanary();

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_CANARY_H_
