#include "props/planted.h"

#include <array>
#include <cstddef>
#include <cstdlib>

namespace portproof {
namespace {

constexpr std::array<std::string_view, kDefectCount> kNames = {
    "none",
    "mf-by-straddling-only",
    "last-lost-behind-limit",
    "would-block-loses-unqueued",
    "write-into-full-queue-lost",
    "share-lost-at-would-block",
    "rotation-overtakes-its-stream",
    "completes-before-acceptance",
    "sync-skipped-on-failure",
    "fds-sent-again",
    "stall-after-rotation",
};

Defect FromEnvironment() {
  const char* const name = std::getenv("PORTPROOF_PLANTED");
  if (name == nullptr) return Defect::kNone;
  const std::optional<Defect> defect = FindDefect(name);
  if (!defect) std::abort();  // a grade of no defect would mean nothing
  return *defect;
}

Defect& Chosen() {
  static Defect chosen = FromEnvironment();
  return chosen;
}

}  // namespace

std::string_view Name(Defect defect) { return kNames[static_cast<size_t>(defect)]; }

std::optional<Defect> FindDefect(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Defect>(i);
  }
  return std::nullopt;
}

void Plant(Defect defect) { Chosen() = defect; }

bool Planted(Defect defect) { return Chosen() == defect; }

}  // namespace portproof
