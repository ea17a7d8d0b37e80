#!/usr/bin/env python3
"""Measures `portproof check` on long traces, side by side with wc and grep.

    bazel build --config=opt //oracle:portproof && bench/check_speed.py [MEGABYTES]

Two recordings are repeated up to MEGABYTES (200): one of large datagrams, one of small
ones. Every command runs on one core, in turn, seven times; the median is printed with the
rate over the bytes of text, and the largest memory any run held.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PORTPROOF = os.path.join(HERE, "..", "bazel-bin", "oracle", "portproof")
RECORDINGS = os.path.join(HERE, "..", "testdata", "recordings")
ROUNDS = 7


def run(command):
    begun = time.perf_counter()
    process = subprocess.Popen(["taskset", "-c", "0"] + command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit("failed: " + " ".join(command))
    return time.perf_counter() - begun, usage.ru_maxrss


def main():
    megabytes = sys.argv[1] if len(sys.argv) > 1 else "200"
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for name in ("unit-0.2-conf-frag", "unit-1.18-wsgi-basic"):
            text = os.path.join(folder, name + ".strace")
            lonely = os.path.join(folder, name + "-no-receiver.strace")
            source = os.path.join(RECORDINGS, name + ".strace.zst")
            repeat = [sys.executable, os.path.join(HERE, "repeat_trace.py"), source]
            subprocess.run(repeat + [text, megabytes], check=True)
            subprocess.run(repeat + [lonely, megabytes, "--no-receives"], check=True)
            subprocess.run(["zstd", "-q", text, "-o", text + ".zst"], check=True)
            lines = os.path.join(folder, name + ".jsonl")
            subprocess.run([PORTPROOF, "convert", text, lines], check=True)
            size = os.path.getsize(text)
            check = [PORTPROOF, "check", "--quiet"]
            rows += [
                (name, "check strace text", check + [text], size),
                (name, "check, from .zst", check + [text + ".zst"], size),
                (name, "check, no receiver", check + [lonely], os.path.getsize(lonely)),
                (name, "check JSON Lines", check + [lines], os.path.getsize(lines)),
                (name, "wc -l", ["wc", "-l", text], size),
                (name, "grep -c sendmsg", ["grep", "-c", "sendmsg", text], size),
            ]
        seconds = [[] for _ in rows]
        memory = [0] * len(rows)
        for _ in range(ROUNDS):
            for index, row in enumerate(rows):
                spent, held = run(row[2])
                seconds[index].append(spent)
                memory[index] = max(memory[index], held)
        print("| trace | command | MB | seconds | MB/s | memory, MB |")
        print("|---|---|---|---|---|---|")
        for index, (name, what, _, size) in enumerate(rows):
            median = statistics.median(seconds[index])
            print("| %s | %s | %.0f | %.3f | %.0f | %.0f |" %
                  (name, what, size / 1e6, median, size / 1e6 / median, memory[index] / 1e3))


if __name__ == "__main__":
    main()
