#include "port/incoming.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "protocol/reassembly.h"

namespace portproof {

std::optional<int32_t> Incoming::PidInPayload() const {
  std::array<uint8_t, sizeof(int32_t)> bytes = {};
  if (this->bytes() != bytes.size()) return std::nullopt;
  CopyOf(payload, bytes);
  return std::bit_cast<int32_t>(bytes);
}

void Incoming::AppendTo(Payload& chain, const ReceiveAction& action) {
  if (!payload.empty()) {  // lent chunks
    for (Part& part : payload) chain.push_back(std::move(part));
    payload.clear();
    return;
  }
  const std::span<const uint8_t> bytes = bytes_behind_header();
  const auto count = static_cast<uint32_t>(bytes.size());
  if (count == 0) return;
  const bool fits = !chain.empty() && chain.back().room() >= count;
  const bool slab = action.storage == Storage::kSlab || (action.storage == Storage::kTail && !fits);
  if (slab) {
    Block* const block =
        NewSlab(std::max({action.slab_bytes, std::bit_ceil(count), kSlabBytesMin}));
    if (block != nullptr) chain.emplace_back(block, 0, 0);
  }
  if (action.storage == Storage::kKeep || chain.empty() || chain.back().room() < count) {
    chain.push_back(TakePart());  // also where there is no memory for a slab
    return;
  }
  std::memcpy(chain.back().Grow(count), bytes.data(), count);
}

// Memory follows bytes: what is small is copied.
std::unique_ptr<Incoming> Incoming::Keep(uint32_t buffer_bytes) {
  const std::span<const uint8_t> bytes = bytes_behind_header();
  const auto count = static_cast<uint32_t>(bytes.size());
  auto keep = std::make_unique<Incoming>();
  keep->header = header;
  keep->has_header = true;
  keep->fds.swap(fds);
  if (count == 0) return keep;
  Block* const slab = count < buffer_bytes / 2 ? NewSlab(count) : nullptr;
  if (slab != nullptr) std::memcpy(slab->bytes(), bytes.data(), count);
  keep->kept_ = slab != nullptr ? Part(slab, 0, count) : TakePart();
  return keep;
}

}  // namespace portproof
