// Laws of references against a table of segments. Two senders have segments 0 and 1 of
// 64 chunks each; an action is a byte and what it needs:
//   0 n   a message of 1 + n % 4 references (12 bytes each) arrives; n's top bit: sender
//   1 n   the handler releases holding n
//   2 n   sender n sets bit n / 2 of its map, whoever owns that chunk
//   3 n   sender n dies, and comes back with new segments
//   4 n   sender n's segment is poisoned
// A naive model says which messages are good. What is held is held once and stays
// mapped; a refusal frees the good references' chunks and nothing else.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "protocol/segment_table.h"

using namespace portproof;

namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : rest_(data, size) {}
  bool empty() const { return rest_.empty(); }
  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const uint8_t byte = rest_.front();
    rest_ = rest_.subspan(1);
    return byte;
  }
  Reference Next() {
    std::array<uint8_t, kReferenceBytes> bytes{};
    for (uint8_t& byte : bytes) byte = Byte();
    return DecodeReference(bytes, ByteOrder::kLittle);
  }

 private:
  std::span<const uint8_t> rest_;
};

class World {
 public:
  World() {
    for (const int32_t sender : {1, 2}) Announce(sender);
  }

  void Perform(Reader& reader) {
    const uint8_t kind = reader.Byte() % 5;
    const uint8_t n = reader.Byte();
    const int32_t sender = 1 + (n & 1);
    if (kind == 0) Arrive(1 + (n >> 7), 1U + n % 4, reader);
    if (kind == 1 && !held_.empty()) Release(n % held_.size());
    if (kind == 2) maps_[*table_.Find(sender, n >> 7)][0] |= uint64_t{1} << (n >> 1 & 63);
    if (kind == 3) Die(sender);
    if (kind == 4) table_.Poison(*table_.Find(sender, n >> 7));
    Check();
  }

  void Finish() {
    while (!held_.empty()) Release(0);
    std::vector<uint32_t> unmap;
    table_.Close(unmap);
    for (const uint32_t slot : unmap) Require(maps_.erase(slot) == 1);
    Require(maps_.empty() && table_.mapped() == 0);
  }

 private:
  using Chunk = std::pair<uint32_t, uint32_t>;  // slot, chunk

  auto WordsOf() {
    return [this](uint32_t slot) { return ValueWords(maps_.at(slot)); };
  }

  void Announce(int32_t sender) {
    for (const uint32_t id : {0U, 1U}) {
      const uint32_t slot = table_.Add(sender, id);
      Require(maps_.emplace(slot, std::array<uint64_t, 1>{0x00000000ffff0000}).second);
    }
  }

  // The chunks of a good reference.
  std::optional<std::vector<Chunk>> Chunks(int32_t sender, const Reference& reference,
                                           const std::set<Chunk>& earlier) const {
    const auto slot = table_.Find(sender, reference.segment_id);
    if (!slot || table_.poisoned(*slot) || reference.bytes == 0) return std::nullopt;
    std::vector<Chunk> chunks;
    for (uint64_t at = 0; at < reference.bytes; at += kTinyGeometry.chunk_bytes) {
      const uint64_t chunk = reference.first_chunk + at / kTinyGeometry.chunk_bytes;
      if (chunk >= kTinyGeometry.chunk_count) return std::nullopt;
      const Chunk named = {*slot, static_cast<uint32_t>(chunk)};
      const bool free = (maps_.at(*slot)[0] >> chunk & 1) != 0;
      if (free || taken_.contains(named) || earlier.contains(named)) return std::nullopt;
      chunks.push_back(named);
    }
    return chunks;
  }

  void Arrive(int32_t sender, uint32_t count, Reader& reader) {
    std::vector<Reference> references;
    std::set<Chunk> named;
    bool good = true;
    for (uint32_t i = 0; i < count; ++i) {
      references.push_back(reader.Next());
      const auto chunks = Chunks(sender, references.back(), named);
      if (chunks) named.insert(chunks->begin(), chunks->end());
      good = good && chunks.has_value();
    }
    auto maps = maps_;
    std::vector<Holding> holdings;
    const auto refused = table_.Accept(sender, references, WordsOf(), holdings);
    Require(refused.has_value() != good);  // SHM-2
    Require(holdings.size() == (good ? count : 0));
    if (good) {
      taken_.insert(named.begin(), named.end());
      held_.insert(held_.end(), holdings.begin(), holdings.end());
    } else {
      for (const auto& [slot, chunk] : named) maps[slot][0] |= uint64_t{1} << chunk;
    }
    Require(maps == maps_);
  }

  void Release(size_t index) {
    const Holding holding = held_[index];
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(index));
    for (uint32_t i = 0; i < holding.chunk_count; ++i) {
      Require(taken_.erase({holding.slot, holding.first_chunk + i}) == 1);
    }
    const bool unmap = table_.Release(holding, WordsOf());
    const bool last = std::none_of(held_.begin(), held_.end(), [&holding](const Holding& other) {
      return other.slot == holding.slot;
    });
    Require(unmap == (last && gone_.contains(holding.slot)));  // SHM-13
    if (!unmap) return;
    gone_.erase(holding.slot);
    maps_.erase(holding.slot);
  }

  void Die(int32_t sender) {
    for (const uint32_t id : {0U, 1U}) gone_.insert(*table_.Find(sender, id));
    std::vector<uint32_t> unmap;
    table_.SenderDied(sender, unmap);
    for (const uint32_t slot : unmap) {
      Require(gone_.erase(slot) == 1 && maps_.erase(slot) == 1);
      for (const Holding& holding : held_) Require(holding.slot != slot);
    }
    Announce(sender);
  }

  void Check() const {
    Require(table_.held_chunks() == taken_.size());
    Require(table_.mapped() == maps_.size());
  }

  SegmentTable table_{{.geometry = kTinyGeometry, .ids_max = 2}};
  std::map<uint32_t, std::array<uint64_t, 1>> maps_;  // by slot, while mapped
  std::set<uint32_t> gone_;                           // mapped, their senders dead
  std::set<Chunk> taken_;
  std::vector<Holding> held_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  World world;
  Reader reader(data, size);
  for (int i = 0; i < 200 && !reader.empty(); ++i) world.Perform(reader);
  world.Finish();
  return 0;
}
