// What the receive machine takes for a datagram, a fragment or a whole message. Payload bytes
// are not touched: the machine sees their number only.
//   bazel run --config=opt //bench:reassembly_bench
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "bench/lower_quartile.h"
#include "protocol/receive_machine.h"

namespace portproof {
namespace {

class NoSegments : public SegmentView {
 public:
  bool AllBusy(uint32_t, uint32_t, uint32_t) const override { return false; }
  bool Poisoned(uint32_t) const override { return false; }
};

struct Fact {
  Header header;
  uint32_t payload_bytes = 0;
};

class Machine {
 public:
  explicit Machine(const ReassemblyLimits& limits = {}) : machine_({}) {
    port_ = machine_.AddPort({.profile = &Profiles().back(), .limits = limits});
  }
  void Take(const Fact& fact) {
    const Arrival arrival{.port = port_,
                          .received = {.bytes = kHeaderBytes + fact.payload_bytes,
                                       .credentials_pid = fact.header.pid},
                          .header = &fact.header,
                          .payload_bytes = fact.payload_bytes};
    Step(machine_, arrival, view_, actions_);
    Keep(actions_[0].kind);
  }
  size_t open() const { return machine_.assemblies(port_).open(); }

 private:
  NoSegments view_;
  ReceiveMachine machine_;
  ReceiveActions actions_;
  uint32_t port_ = 0;
};

Fact Fragment(int32_t sender, uint32_t stream, bool nf, bool mf, uint32_t payload_bytes) {
  return {{.stream = stream, .pid = sender, .type = 12, .nf = nf, .mf = mf}, payload_bytes};
}

// Events as the shell would hand them over, made in advance.
bool BenchMessagesOf(uint32_t fragments, double most) {
  constexpr uint32_t kEvents = 4096;
  std::vector<Fact> events;
  for (uint32_t i = 0; i < kEvents; ++i) {
    const uint32_t place = i % fragments;
    events.push_back(Fragment(7, i / fragments, place > 0, place + 1 < fragments, 1000));
  }
  Machine machine;
  constexpr int kRepeats = 100;
  const double nanoseconds = LowerQuartile(size_t{kEvents} * kRepeats, [&] {
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
      for (const Fact& event : events) {
        machine.Take(event);
      }
    }
  });
  const std::string name = "fragment, messages of " + std::to_string(fragments);
  return PrintFigure(name.c_str(), nanoseconds, most) && machine.open() == 0;
}

bool BenchWholeMessage(uint32_t open, double most) {
  Machine machine;
  for (uint32_t i = 0; i < open; ++i) {
    machine.Take(Fragment(static_cast<int32_t>(1 + i / 50), i, false, true, 100));
  }
  std::vector<Fact> events;
  for (uint32_t i = 0; i < 1024; ++i) events.push_back(Fragment(1, 1000 + i, false, false, 1000));
  constexpr int kRepeats = 1000;
  const double nanoseconds = LowerQuartile(events.size() * kRepeats, [&] {
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
      for (const Fact& event : events) {
        machine.Take(event);
      }
    }
  });
  const std::string name = "whole message, " + std::to_string(open) + " open";
  return PrintFigure(name.c_str(), nanoseconds, most);
}

constexpr uint32_t kMillion = 1 << 20;
constexpr uint32_t kStreamsPerSender = 1 << 10;

Fact OfMillion(uint32_t index, bool nf, bool mf) {
  return Fragment(static_cast<int32_t>(1 + index / kStreamsPerSender), index % kStreamsPerSender,
                  nf, mf, 10);
}

// Visits a million assemblies in an order no prefetcher foresees.
template <typename Visit>
double OverMillion(Visit visit) {
  uint32_t index = 1;
  constexpr uint32_t kVisits = 1 << 18;
  return LowerQuartile(kVisits, [&] {
    for (uint32_t i = 0; i < kVisits; ++i) {
      index = (index * 1664525U + 1013904223U);
      visit(index >> 12);
    }
  });
}

bool BenchMillion() {
  Machine machine({kStreamsPerSender, 4 * kMillion, 32 << 20, uint64_t{1} << 40});
  for (uint32_t i = 0; i < kMillion; ++i) machine.Take(OfMillion(i, false, true));
  if (machine.open() != kMillion) return false;
  bool met =
      PrintFigure("a million open: find (a duplicate, refused)",
                  OverMillion([&](uint32_t i) { machine.Take(OfMillion(i, false, true)); }), 100);
  met &= PrintFigure("a million open: append",
                     OverMillion([&](uint32_t i) { machine.Take(OfMillion(i, true, true)); }), 250);
  met &= PrintFigure("a million open: close and reopen", OverMillion([&](uint32_t i) {
                       machine.Take(OfMillion(i, true, false));
                       machine.Take(OfMillion(i, false, true));
                     }),
                     500);
  return met && machine.open() == kMillion;
}

int Main() {
  bool met = BenchMessagesOf(2, 25);
  for (const uint32_t fragments : {16U, 256U, 4096U}) met &= BenchMessagesOf(fragments, 25);
  met &= BenchWholeMessage(0, 5);
  met &= BenchWholeMessage(100, 8);
  met &= BenchMillion();
  return met ? 0 : 1;
}

}  // namespace
}  // namespace portproof

int main() { return portproof::Main(); }
