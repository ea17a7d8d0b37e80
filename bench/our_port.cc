#include "bench/our_port.h"

namespace portproof::bench {

const Profile& Newest() { return *ResolveProfile("unit-1.35.0")->profile; }

SocketPair NewPair() {
  auto pair = SocketPair::Create(Newest(), {.max_size = kMaxSize});
  if (!pair.ok()) std::abort();
  return *std::move(pair);
}

Cost RawFlood(size_t payload_bytes, uint64_t count, unsigned batch, size_t memory_bytes) {
  const SocketPair pair = NewPair();
  RawSender sender(pair.send_end.get(), payload_bytes, batch, memory_bytes);
  RawReceiver receiver(pair.receive_end.get(), kMaxSize + 16, batch, memory_bytes / kMaxSize);
  return RunPair([&] { sender.Send(count); }, [&] { return receiver.Receive(count); });
}

}  // namespace portproof::bench
