// Laws of reassembly, under limits so tiny that every edge is a few bytes away:
// the first byte picks the profile, the rest are actions (props/receiver_action.h).
// Byte for byte the naive model's outcome; memory within the stated function;
// every descriptor one end; nothing left after closing.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>

#include "props/receiver_action.h"
#include "props/receiver_pair.h"

using namespace portproof;

namespace {

// Descriptors count up from 0 in the order they come.
class FdCensus {
 public:
  void Came(const Wire& wire) { came_ += wire.fds.size(); }
  void Ended(const Outcome& outcome) {
    ended_ += outcome.closed.size();
    for (const int fd : outcome.closed) sum_ += static_cast<size_t>(fd) + 1;
    if (!outcome.delivered) return;
    ended_ += outcome.message.fds.size();
    for (const int fd : outcome.message.fds) sum_ += static_cast<size_t>(fd) + 1;
  }
  bool Closed() const { return ended_ == came_ && sum_ == came_ * (came_ + 1) / 2; }

 private:
  size_t came_ = 0, ended_ = 0, sum_ = 0;
};

Port TinyPort(const Profile& profile) {
  Port port = PortOf(profile);
  port.open_per_sender = 2;
  port.open = 5;
  port.assembly_bytes = 100;
  port.bytes = 220;
  return port;
}

// Kept for the next input: each input ends with closing, which leaves nothing.
ReceiverPair& PairOf(const Profile& profile, const Port& port) {
  static std::array<std::optional<ReceiverPair>, 32> of_profile;
  std::optional<ReceiverPair>& pair =
      of_profile.at(static_cast<size_t>(&profile - Profiles().data()));
  if (!pair) pair.emplace(profile, port);
  return *pair;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Profile& profile = Profiles()[data[0] % Profiles().size()];
  const Port port = TinyPort(profile);
  const uint64_t memory_max = MemoryBytesMax({2, 5, 100, 220});
  ReceiverPair& pair = PairOf(profile, port);
  static ReceiverAction action;
  FdCensus census;
  for (ReceiverActionReader reader(std::span(data + 1, size - 1), port); reader.Next(action);) {
    if (action.kind == ReceiverAction::Kind::kDatagram) census.Came(action.wire);
    if (!pair.Perform(action)) std::abort();
    census.Ended(pair.of_core());
    if (pair.core().MemoryBytes() > memory_max) std::abort();  // FRG-8
  }
  if (!pair.Close()) std::abort();
  census.Ended(pair.of_core());
  if (!census.Closed() || pair.core().state().budget().bytes() != 0) std::abort();  // FRG-9, FDS-5
  return 0;
}
