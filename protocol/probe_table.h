// A flat hash table for entries that come and go with every message: open
// addressing in one array, so that to find, to change, to close and to reopen an
// entry touches one cache line, and nothing is left behind by those that went.
//   shapes    Entry: a plain value with a `key`, an integer, and IsFree and SetFree
//             that need no more than what the entry holds
//   returns   Find: the entry or null; Place: the key's entry, or a free one for it;
//             pointers and references hold until the next Place or Close
//   holds     2 to 4 entries for each that was there at once; grows by doubling when
//             more than half full, never shrinks
//   rules     none of its own; FRG-8 counts what it holds
//   source    the original keeps a hash of lists in a tree of levels, each level
//             another cache line
#ifndef PORTPROOF_PROTOCOL_PROBE_TABLE_H_
#define PORTPROOF_PROTOCOL_PROBE_TABLE_H_

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/hash/hash.h"

namespace portproof {

template <typename Entry>
class ProbeTable {
 public:
  using Key = decltype(Entry::key);

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t MemoryBytes() const { return entries_.capacity() * sizeof(Entry); }

  // Room for `count` entries without growing.
  void Reserve(size_t count) {
    size_t capacity = kCapacityMin;
    while (capacity < 2 * count) capacity *= 2;
    if (capacity > entries_.size()) Resize(capacity);
  }

  Entry* Find(Key key) {
    if (size_ == 0) return nullptr;
    Entry& entry = entries_[Locate(key)];
    return entry.IsFree() ? nullptr : &entry;
  }
  const Entry* Find(Key key) const { return const_cast<ProbeTable*>(this)->Find(key); }

  // The key's entry; where there is none, a free one with that key, which the caller
  // may make another than free, saying so by Placed, or leave.
  Entry& Place(Key key) {
    if (2 * (size_ + 1) > entries_.size()) Reserve(size_ + 1);
    Entry& entry = entries_[Locate(key)];
    entry.key = key;
    return entry;
  }
  void Placed() { ++size_; }

  // Frees one. Entries that it had pushed aside move back, so no mark is left.
  void Close(Entry& entry) {
    assert(!entry.IsFree());
    const size_t mask = entries_.size() - 1;
    size_t hole = static_cast<size_t>(&entry - entries_.data());
    for (size_t at = (hole + 1) & mask; !entries_[at].IsFree(); at = (at + 1) & mask) {
      const size_t home = HomeOf(entries_[at].key);
      if (((at - home) & mask) < ((at - hole) & mask)) continue;  // the hole is before its home
      entries_[hole] = entries_[at];
      hole = at;
    }
    entries_[hole].SetFree();
    --size_;
  }

  // In no particular order.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const Entry& entry : entries_) {
      if (!entry.IsFree()) visit(entry);
    }
  }

  // By what they hold, not by what they held before.
  friend bool operator==(const ProbeTable& a, const ProbeTable& b) {
    bool same = a.size_ == b.size_;
    a.ForEach([&](const Entry& entry) {
      const Entry* other = b.Find(entry.key);
      same = same && other != nullptr && *other == entry;
    });
    return same;
  }

 private:
  static constexpr size_t kCapacityMin = 8;

  // The hash is mixed with a seed of the process: a peer does not know which numbers
  // collide, and FRG-8's limits bound how far it would get if it did.
  size_t HomeOf(Key key) const { return absl::Hash<Key>()(key) & (entries_.size() - 1); }

  // The entry of the key, or the free one where it would go.
  size_t Locate(Key key) const {
    const size_t mask = entries_.size() - 1;
    size_t at = HomeOf(key);
    while (!entries_[at].IsFree() && entries_[at].key != key) at = (at + 1) & mask;
    return at;
  }

  void Resize(size_t capacity) {
    std::vector<Entry> old(capacity);
    old.swap(entries_);
    for (const Entry& entry : old) {
      if (!entry.IsFree()) entries_[Locate(entry.key)] = entry;
    }
  }

  std::vector<Entry> entries_;  // a power of two, or none
  size_t size_ = 0;
};

}  // namespace portproof

#endif  // PORTPROOF_PROTOCOL_PROBE_TABLE_H_
