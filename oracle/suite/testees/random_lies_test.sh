#!/usr/bin/env bash
# Requires that generated conversations alone find each of the liar's switches that one can
# reach. Usage: random_lies_test.sh PORTPROOF LIAR TABLE COUNT often|all
# The table says of each switch whether conversations find it often or seldom.
set -uo pipefail
portproof=$1
liar=$2
table=$3
count=$4
which=$5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

judge() {
  local lie=$1 status=0
  "$portproof" test --random="$count" --timeout-ms=2000 --shrinks=0 --case='RANDOM/*' --quiet -- "$liar" "$lie" \
    >/dev/null 2>&1 </dev/null || status=$?
  [ "$status" -eq 1 ] || echo "$lie: not found by $count conversations (exit status $status)" | tee "$work/$lie" >&2
}

tried=0
while read -r lie frequency; do
  case $lie in '' | '#'*) continue ;; esac
  [ "$which" = all ] || [ "$frequency" = "$which" ] || continue
  tried=$((tried + 1))
  judge "$lie" &
  [ "$(jobs -rp | wc -l)" -lt 2 ] || wait -n
done <"$table"
wait
missed=$(find "$work" -type f | wc -l)
echo "$tried switches tried, $missed not found"
[ "$tried" -gt 0 ] && [ "$missed" -eq 0 ]
