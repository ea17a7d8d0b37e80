#!/usr/bin/env bash
# Holds protocol/ pure: its files include the standard library's values, Abseil and
# protocol/ itself, its targets depend on nothing else, and nothing in it asks the
# system for anything. Arguments: the BUILD file, then every source of the package.
set -euo pipefail

# Values only: no streams, files, clocks, threads, locks, signals or randomness.
standard="algorithm array bit bitset cassert charconv compare concepts cstddef cstdint cstring
deque functional initializer_list iterator limits list map memory numeric optional ostream set span
string string_view tuple type_traits unordered_map utility variant vector"
abseil="absl/(algorithm|base|cleanup|container|functional|hash|memory|meta|numeric|strings|types|utility)/"
calls="errno|getenv|setenv|f?printf|puts|abort|sendmsg|recvmsg|malloc|gettimeofday|clock_gettime|s?rand|usleep"
qualified="open|close|read|write|mmap|time|clock|exit|free|random|sleep|c(out|err|in|log)"

# Prints what is impure in the files named; prints nothing for pure ones.
impurities() {
  local name pattern
  pattern=$(tr -s ' \n' '|' <<<"$standard")
  for name in "$@"; do
    awk -v name="$name" -v standard="^<(${pattern%|})>$" -v abseil="^\"$abseil" '
      { sub(/[[:space:]]*\/\/.*/, "") }
      /^[[:space:]]*#[[:space:]]*include/ {
        header = $0
        sub(/.*include[[:space:]]*/, "", header)
        if (header !~ standard && header !~ abseil && header !~ /^"protocol\//)
          print name ":" NR ": includes " header
        next
      }
      { gsub(/"([^"\\]|\\.)*"/, "\"\"") }
      match($0, /(^|[^A-Za-z0-9_.>:])(volatile|thread_local|asm)[^A-Za-z0-9_]/) {
        print name ":" NR ": uses " substr($0, RSTART, RLENGTH)
      }' "$name"
    sed -E 's,//.*,,; s,"([^"\\]|\\.)*","",g' "$name" |
      { grep -nE "(^|[^A-Za-z0-9_.>:])((::|std::)?($calls)|(::|std::)($qualified))[^A-Za-z0-9_]" || true; } |
      sed "s,^,$name:calls at line ,"
  done
}

# Prints the dependencies of libraries that are neither Abseil nor of this package.
foreign_dependencies() {
  awk '/^cc_library\(/ { in_library = 1 } /^\)/ { in_library = 0 }
       in_library && match($0, /"(:|\/\/|@)[^"]*"/) {
         target = substr($0, RSTART + 1, RLENGTH - 2)
         if (target !~ /^:/ && target !~ /^\/\/protocol:/ && target != "//third_party:absl")
           print "BUILD:" NR ": depends on " target
       }' "$1"
}

# A canary: each of these lines must be caught, or the test itself is blind.
canary=$(mktemp -d)
caught() {
  printf '%s\n' "$1" >"$canary/canary.cc"
  [ -n "$(impurities "$canary/canary.cc")" ] || { echo "purity_test is blind to: $1"; exit 1; }
}
for header in '<sys/socket.h>' '<unistd.h>' '<thread>' '<mutex>' '<atomic>' '<chrono>' '<random>' \
  '<cerrno>' '<iostream>' '<cstdlib>' '<fstream>' '"port/kernel.h"' '"absl/time/clock.h"' \
  '"absl/synchronization/mutex.h"' '"absl/random/random.h"'; do
  caught "#include $header"
done
caught '  thread_local int counter = 0;'
caught '  return ::getenv("HOME") != nullptr;'
caught '  std::abort();'
caught '  std::cout << 1;'
caught '  const int saved = errno;'
caught '  recvmsg (fd, &message, 0);'
printf 'cc_library(\n    deps = ["//port:kernel"],\n)\n' >"$canary/BUILD"
[ -n "$(foreign_dependencies "$canary/BUILD")" ] || { echo "purity_test is blind to deps"; exit 1; }

found=$(foreign_dependencies "$1"; shift; impurities "$@")
if [ -n "$found" ]; then
  echo "protocol/ is not pure:"
  echo "$found"
  exit 1
fi
echo "$(($# - 1)) files are pure"
