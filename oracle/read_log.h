// What a reader has to say besides events: damage, notes, progress.
//   shapes    damaged lines with their number and what was expected there
//   returns   -
//   holds     the first kDamagedKept damaged lines; all are counted
//   rules     none
//   source    none
#ifndef PORTPROOF_ORACLE_READ_LOG_H_
#define PORTPROOF_ORACLE_READ_LOG_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "oracle/trace.h"

namespace portproof {

struct ReadLog {
  static constexpr size_t kDamagedKept = 100;

  std::vector<DamagedLine> damaged;
  uint64_t damaged_count = 0;
  uint64_t lines = 0;
  // Bytes read of the input so far and in all (0: unknown); called now and then.
  std::function<void(uint64_t, uint64_t)> progress;

  void Damaged(const std::string& file, uint64_t line, std::string what) {
    ++damaged_count;
    if (damaged.size() < kDamagedKept) damaged.push_back({file, line, std::move(what)});
  }
};

}  // namespace portproof

#endif  // PORTPROOF_ORACLE_READ_LOG_H_
