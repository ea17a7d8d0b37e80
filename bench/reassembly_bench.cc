// What one Step of reassembly costs. Payload bytes are not touched: the machine
// sees their number only.
//   bazel run --config=opt //bench:reassembly_bench
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "bench/lower_quartile.h"
#include "protocol/reassembly.h"

namespace portproof {
namespace {

Datagram Fragment(int32_t sender, uint32_t stream, bool nf, bool mf, uint32_t payload_bytes) {
  Datagram datagram;
  datagram.header.stream = stream;
  datagram.header.pid = sender;
  datagram.header.type = 12;
  datagram.header.nf = nf;
  datagram.header.mf = mf;
  datagram.sender = sender;
  datagram.payload_bytes = payload_bytes;
  return datagram;
}

// Events as the shell would hand them over, made in advance.
bool BenchMessagesOf(uint32_t fragments, double most) {
  constexpr uint32_t kEvents = 4096;
  std::vector<Datagram> events;
  for (uint32_t i = 0; i < kEvents; ++i) {
    const uint32_t place = i % fragments;
    events.push_back(Fragment(7, i / fragments, place > 0, place + 1 < fragments, 1000));
  }
  Reassembly state(ReassemblyConfig{});
  Actions actions;
  constexpr int kRepeats = 100;
  const double nanoseconds = LowerQuartile(size_t{kEvents} * kRepeats, [&] {
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
      for (const Datagram& event : events) {
        Step(state, event, actions);
        Keep(actions[0].kind);
      }
    }
  });
  const std::string name = "fragment, messages of " + std::to_string(fragments);
  return PrintFigure(name.c_str(), nanoseconds, most) && state.open() == 0;
}

bool BenchWholeMessage(uint32_t open, double most) {
  Reassembly state(ReassemblyConfig{});
  Actions actions;
  for (uint32_t i = 0; i < open; ++i) {
    Step(state, Fragment(static_cast<int32_t>(1 + i / 50), i, false, true, 100), actions);
  }
  std::vector<Datagram> events;
  for (uint32_t i = 0; i < 1024; ++i) events.push_back(Fragment(1, 1000 + i, false, false, 1000));
  constexpr int kRepeats = 1000;
  const double nanoseconds = LowerQuartile(events.size() * kRepeats, [&] {
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
      for (const Datagram& event : events) {
        Step(state, event, actions);
        Keep(actions[0].kind);
      }
    }
  });
  const std::string name = "whole message, " + std::to_string(open) + " open";
  return PrintFigure(name.c_str(), nanoseconds, most);
}

constexpr uint32_t kMillion = 1 << 20;
constexpr uint32_t kStreamsPerSender = 1 << 10;

Datagram OfMillion(uint32_t index, bool nf, bool mf) {
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
  ReassemblyConfig config;
  config.limits = {kStreamsPerSender, kMillion, 32 << 20, uint64_t{1} << 40};
  Reassembly state(config);
  state.Reserve(kMillion);
  Actions actions;
  for (uint32_t i = 0; i < kMillion; ++i) Step(state, OfMillion(i, false, true), actions);
  if (state.open() != kMillion) return false;
  bool met =
      PrintFigure("a million open: find (a duplicate, refused)", OverMillion([&](uint32_t i) {
                    Step(state, OfMillion(i, false, true), actions);
                    Keep(actions[0].kind);
                  }),
                  100);
  met &= PrintFigure("a million open: append", OverMillion([&](uint32_t i) {
                       Step(state, OfMillion(i, true, true), actions);
                       Keep(actions[0].kind);
                     }),
                     200);
  met &= PrintFigure("a million open: close and reopen", OverMillion([&](uint32_t i) {
                       Step(state, OfMillion(i, true, false), actions);
                       Keep(actions[0].kind);
                       Step(state, OfMillion(i, false, true), actions);
                       Keep(actions[0].kind);
                     }),
                     250);
  return met && state.open() == kMillion;
}

int Main() {
  bool met = BenchMessagesOf(2, 25);
  for (const uint32_t fragments : {16U, 256U, 4096U}) met &= BenchMessagesOf(fragments, 15);
  met &= BenchWholeMessage(0, 5);
  met &= BenchWholeMessage(100, 8);
  met &= BenchMillion();
  return met ? 0 : 1;
}

}  // namespace
}  // namespace portproof

int main() { return portproof::Main(); }
