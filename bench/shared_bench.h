// Part of port_bench: messages in shared memory.
#ifndef PORTPROOF_BENCH_SHARED_BENCH_H_
#define PORTPROOF_BENCH_SHARED_BENCH_H_

namespace portproof::bench {

void Shared();

}  // namespace portproof::bench

#endif  // PORTPROOF_BENCH_SHARED_BENCH_H_
