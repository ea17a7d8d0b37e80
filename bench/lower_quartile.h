// Times a function on a machine whose cores are shared: many rounds, and of them
// the lower quartile, which a busy neighbour moves least.
//   shapes    nanoseconds for each unit of work
//   returns   LowerQuartile: of `rounds` calls of `round`, each doing `units` units
//   holds     nothing
//   rules     none
//   source    none
#ifndef PORTPROOF_BENCH_LOWER_QUARTILE_H_
#define PORTPROOF_BENCH_LOWER_QUARTILE_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <vector>

namespace portproof {

inline constexpr int kBenchRounds = 15;

template <typename Round>
double LowerQuartile(size_t units, Round round, int rounds = kBenchRounds) {
  std::vector<double> nanoseconds;
  for (int i = 0; i < rounds; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    round();
    const auto end = std::chrono::steady_clock::now();
    nanoseconds.push_back(std::chrono::duration<double, std::nano>(end - begin).count() /
                          static_cast<double>(units));
  }
  std::sort(nanoseconds.begin(), nanoseconds.end());
  return nanoseconds[static_cast<size_t>(rounds) / 4];
}

// One line: what, measured, what is asked for, and whether it is met.
inline bool PrintFigure(const char* what, double nanoseconds, double most) {
  const bool met = nanoseconds <= most;
  std::printf("%-44s %8.1f ns   target %6.0f   %s\n", what, nanoseconds, most,
              met ? "met" : "MISSED");
  std::fflush(stdout);
  return met;
}

// Keeps the compiler from dropping a result.
template <typename Value>
inline void Keep(const Value& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

}  // namespace portproof

#endif  // PORTPROOF_BENCH_LOWER_QUARTILE_H_
