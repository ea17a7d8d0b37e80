// One buffer of a chain, as the command `send` describes it.
//   shapes    bytes of a pattern with a seed, adjacent to the buffer before it or not, in a
//             shared memory segment or not; or a sync buffer, marked `last` or not
//   returns   -
//   holds     a value; the runner and the testees in C++ share it
//   rules     none; section 3 says what becomes of it
//   source    none
#ifndef PORTPROOF_ORACLE_SUITE_PIECE_H_
#define PORTPROOF_ORACLE_SUITE_PIECE_H_

#include <cstdint>

namespace portproof::suite {

struct Piece {
  uint32_t bytes = 0;
  uint64_t seed = 0;
  bool sync = false;
  bool last = false;
  bool adjacent = false;
  bool shm = false;
};

}  // namespace portproof::suite

#endif  // PORTPROOF_ORACLE_SUITE_PIECE_H_
