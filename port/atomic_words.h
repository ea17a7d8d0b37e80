// The words of a bitmap that several processes share.
//   shapes    words of 64 bits, 8-byte aligned, mapped shared
//   returns   see protocol/chunk_map.h: each call touches its word once
//   holds     a pointer; the mapping must outlive it
//   rules     SHM-6, SHM-7, SHM-9
//   source    nxt_atomic_cmp_set, nxt_atomic_or_fetch
#ifndef PORTPROOF_PORT_ATOMIC_WORDS_H_
#define PORTPROOF_PORT_ATOMIC_WORDS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace portproof {

class AtomicWords {
 public:
  explicit AtomicWords(uint64_t* words) : words_(words) {}

  uint64_t Load(size_t word) const { return At(word).load(std::memory_order_relaxed); }
  // Acquires what the one who freed the chunks did with them before.
  bool Take(size_t word, uint64_t seen, uint64_t bits) {
    return At(word).compare_exchange_strong(seen, seen & ~bits, std::memory_order_acquire,
                                            std::memory_order_relaxed);
  }
  // For tracking words (protocol/tracking.h).
  void Store(size_t word, uint64_t value) { At(word).store(value, std::memory_order_release); }
  bool Replace(size_t word, uint64_t seen, uint64_t value) {
    return At(word).compare_exchange_strong(seen, value, std::memory_order_acq_rel,
                                            std::memory_order_relaxed);
  }
  void Free(size_t word, uint64_t bits) { At(word).fetch_or(bits, std::memory_order_release); }

 private:
  using Atomic = std::atomic_ref<uint64_t>;
  static_assert(Atomic::is_always_lock_free);  // a lock would be private to a process

  Atomic At(size_t word) const { return Atomic(words_[word]); }

  uint64_t* words_;
};

}  // namespace portproof

#endif  // PORTPROOF_PORT_ATOMIC_WORDS_H_
