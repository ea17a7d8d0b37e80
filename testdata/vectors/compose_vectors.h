// Reads compose.json for tests: the tables of section 3.
//   shapes    GoldenCase: a chain and the datagrams it becomes, for one limit L
//   returns   LoadComposeVectors: every case for every limit; what is wrong with the
//             file fails the test
//   holds     nothing
//   rules     IOV-1, IOV-2, IOV-3, IOV-4, IOV-5, IOV-6, IOV-7
//   source    none; written from the rules, not from this code's output
#ifndef PORTPROOF_TESTDATA_VECTORS_COMPOSE_VECTORS_H_
#define PORTPROOF_TESTDATA_VECTORS_COMPOSE_VECTORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/chain.h"

namespace portproof {

struct GoldenDatagram {
  uint32_t payload_bytes = 0;
  bool last = false;
  bool nf = false;
  bool mf = false;

  friend bool operator==(const GoldenDatagram&, const GoldenDatagram&) = default;
};

struct GoldenCase {
  std::string chain_is;
  uint32_t payload_bytes_max = 0;  // L
  bool last_flag = false;
  std::vector<Buffer> chain;
  std::vector<GoldenDatagram> datagrams;
};

struct GoldenCount {
  uint32_t payload_bytes_max = 0;  // L
  uint32_t payload_bytes = 0;      // contiguous
  uint32_t datagram_count = 0;
};

struct ComposeVectors {
  std::vector<GoldenCase> golden;
  std::vector<GoldenCount> counts;
};

ComposeVectors LoadComposeVectors();

}  // namespace portproof

#endif  // PORTPROOF_TESTDATA_VECTORS_COMPOSE_VECTORS_H_
