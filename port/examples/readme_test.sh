#!/usr/bin/env bash
# Each program in port/README.md is the example that its heading line names, whole: what is
# read there is what is compiled and run. A block of C++ that names none is an error.
set -euo pipefail
blocks=$(mktemp -d)
awk -v to="$blocks/" '
  /^\[examples\/[a-z_]+\.cc\]/ { match($0, /[a-z_]+\.cc/); name = substr($0, RSTART, RLENGTH) }
  /^```$/ && inside { inside = 0; name = "" }
  inside { print > (to name) }
  /^```cpp$/ { if (name == "") { print "line " NR ": a program without a name"; exit 1 } inside = 1 }
' port/README.md
[ "$(ls "$blocks" | xargs)" = "first_program.cc two_processes.cc" ]
for block in "$blocks"/*; do
  diff "$block" "port/examples/$(basename "$block")"
done
