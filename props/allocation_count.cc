#include "props/allocation_count.h"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {
uint64_t allocation_count = 0;
}  // namespace

void* operator new(size_t bytes) {
  ++allocation_count;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace portproof {

uint64_t AllocationCount() { return allocation_count; }

}  // namespace portproof
