// Nanoseconds to allocate and free chunks in the bitmap of a sealed, mapped segment.
//   bazel run --config=opt //bench:chunk_bench
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "bench/lower_quartile.h"
#include "port/atomic_words.h"
#include "port/segment.h"
#include "protocol/chunk_map.h"
#include "protocol/segment_header.h"

namespace portproof {
namespace {

constexpr size_t kTimes = 1'000'000;

uint64_t* MapBitmap() {
  const int fd = memfd_create("chunk_bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  const size_t bytes = kUnitGeometry.SegmentBytes();
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes)) != 0) std::abort();
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) std::abort();
  auto* const begin = static_cast<uint8_t*>(memory);
  EncodeSegmentHeader({}, SegmentLayout::kOosm, kUnitGeometry, {begin, kUnitGeometry.header_bytes});
  return reinterpret_cast<uint64_t*>(begin + FieldsOf(SegmentLayout::kOosm).bitmap);
}

double AllocateAndFree(AtomicWords& words, uint32_t count) {
  return LowerQuartile(kTimes, [&words, count] {
    for (size_t i = 0; i < kTimes; ++i) {
      const auto first = AllocateChunks(words, kUnitGeometry, count);
      if (!first) std::abort();
      Keep(*first);
      FreeChunks(words, *first, count);
    }
  });
}

// What no allocator shared by processes can do without: an atomic instruction to take,
// and one to free.
double TwoAtomicInstructions(uint64_t* bitmap) {
  const std::atomic_ref word(*bitmap);
  return LowerQuartile(kTimes, [&word] {
    for (size_t i = 0; i < kTimes; ++i) {
      uint64_t seen = word.load(std::memory_order_relaxed);
      word.compare_exchange_strong(seen, seen & ~uint64_t{1}, std::memory_order_acquire);
      word.fetch_or(1, std::memory_order_release);
    }
  });
}

// Free again by plain stores, so that the request alone is measured.
double AllocateAll(AtomicWords& words, uint64_t* bitmap) {
  return LowerQuartile(kTimes, [&words, bitmap] {
    for (size_t i = 0; i < kTimes; ++i) {
      const auto first = AllocateChunks(words, kUnitGeometry, kUnitGeometry.chunk_count);
      if (!first) std::abort();
      for (uint32_t word = 0; word < kMapWordsMax; ++word) {
        std::atomic_ref(bitmap[word]).store(~uint64_t{0}, std::memory_order_relaxed);
      }
    }
  });
}

// A buffer of 10 MiB in a segment of our own, and its completion.
double BufferAndCompletion() {
  auto segment = Segment::Create({}, SegmentLayout::kOosm);
  if (!segment.ok()) std::abort();
  return LowerQuartile(kTimes, [&segment] {
    for (size_t i = 0; i < kTimes; ++i) {
      const auto range = segment->Allocate(10 << 20);
      if (!range) std::abort();
      Keep(segment->BufferOf(*range, 10 << 20, i, 1));
      segment->Release(*range);
    }
  });
}

}  // namespace
}  // namespace portproof

int main() {
  using namespace portproof;
  uint64_t* const bitmap = MapBitmap();
  AtomicWords words(bitmap);
  std::printf("%-44s %8.1f ns\n", "the least: two atomic instructions",
              TwoAtomicInstructions(bitmap));
  bool met = PrintFigure("one chunk, empty segment", AllocateAndFree(words, 1), 7);
  met &= PrintFigure("640 chunks at once, allocated", AllocateAll(words, bitmap), 60);
  std::printf("%-44s %8.1f ns\n", "640 chunks at once, allocated and freed",
              AllocateAndFree(words, kUnitGeometry.chunk_count));
  met &= PrintFigure("buffer of 10 MiB and its completion", BufferAndCompletion(), 500);
  if (!AllocateChunks(words, kUnitGeometry, kUnitGeometry.chunk_count - 1)) std::abort();
  met &= PrintFigure("one chunk, only the last one free", AllocateAndFree(words, 1), 9);
  return met ? 0 : 1;
}
