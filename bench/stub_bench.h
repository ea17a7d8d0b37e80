// Part of port_bench: user time with the system calls stubbed out.
#ifndef PORTPROOF_BENCH_STUB_BENCH_H_
#define PORTPROOF_BENCH_STUB_BENCH_H_

namespace portproof::bench {

void Stub();

}  // namespace portproof::bench

#endif  // PORTPROOF_BENCH_STUB_BENCH_H_
