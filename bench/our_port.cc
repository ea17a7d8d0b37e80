#include "bench/our_port.h"

namespace portproof::bench {

const Profile& Newest() { return *ResolveProfile("unit-1.35.0")->profile; }

SocketPair NewPair() {
  auto pair = SocketPair::Create(Newest(), {.max_size = kMaxSize});
  if (!pair.ok()) std::abort();
  return *std::move(pair);
}

Cost RawFlood(size_t payload_bytes, uint64_t count, unsigned batch) {
  const SocketPair pair = NewPair();
  return RunPair(
      [&] { RawSender(pair.send_end.get(), payload_bytes, batch).Send(count); },
      [&] { return RawReceiver(pair.receive_end.get(), kMaxSize + 16, batch).Receive(count); });
}

}  // namespace portproof::bench
