#include "bench/two_processes.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace portproof::bench {
namespace {

double Clock(clockid_t clock) {
  timespec now = {};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

struct Shared {
  double receiver_cpu_ns = 0;
  double end_ns = 0;
  uint64_t bytes = 0;
};

// One byte through a pipe: the other side is ready.
class Gate {
 public:
  Gate() {
    if (::pipe(ends_.data()) != 0) std::abort();
  }
  ~Gate() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  void Open() const {
    if (::write(ends_[1], "x", 1) != 1) std::abort();
  }
  void Pass() const {
    char byte = 0;
    if (::read(ends_[0], &byte, 1) != 1) std::abort();
  }

 private:
  std::array<int, 2> ends_ = {};
};

}  // namespace

void PinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  ::sched_setaffinity(0, sizeof set, &set);
}

double CpuNs() { return Clock(CLOCK_PROCESS_CPUTIME_ID); }
double WallNs() { return Clock(CLOCK_MONOTONIC); }

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Cost RunPair(const std::function<void()>& send, const std::function<uint64_t()>& receive,
             bool one_cpu) {
  void* const memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto* const shared = new (memory) Shared;
  const Gate ready;
  const Gate warm;
  const pid_t child = ::fork();
  if (child == 0) {
    PinTo(one_cpu ? 0 : 1);
    receive();
    warm.Open();
    ready.Pass();
    const double begin = CpuNs();
    shared->bytes = receive();
    shared->end_ns = WallNs();
    shared->receiver_cpu_ns = CpuNs() - begin;
    ::_exit(0);
  }
  PinTo(0);
  send();
  warm.Pass();
  ready.Open();
  const double wall = WallNs();
  const double cpu = CpuNs();
  send();
  const double sender_cpu_ns = CpuNs() - cpu;
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) std::abort();
  const Cost cost = {sender_cpu_ns + shared->receiver_cpu_ns, shared->end_ns - wall, shared->bytes};
  ::munmap(memory, sizeof(Shared));
  return cost;
}

}  // namespace portproof::bench
