#!/usr/bin/env bash
# Runs the suite on the liar once for each switch of the table, and requires exactly the
# rules of its line to be found broken. Usage: liar_table_test.sh PORTPROOF LIAR TABLE
set -uo pipefail
portproof=$1
liar=$2
table=$3
shards=${TEST_TOTAL_SHARDS:-1}
shard=${TEST_SHARD_INDEX:-0}
[ -z "${TEST_SHARD_STATUS_FILE:-}" ] || touch "$TEST_SHARD_STATUS_FILE"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

judge() {
  local lie=$1
  shift
  local report=$work/$lie.json status=0 broken wanted
  "$portproof" test --random=0 --timeout-ms=2000 --format=json -o "$report" -- "$liar" "$lie" || status=$?
  broken=$(grep -o '"broken":"[A-Z]*-[0-9]*"' "$report" | cut -d'"' -f4 | sort -u | tr '\n' ' ')
  wanted=$(printf '%s\n' "$@" | sort -u | tr '\n' ' ')
  [ "$status" -eq 1 ] && [ "$broken" = "$wanted" ] && return 0
  echo "$lie: expected $wanted, broken $broken(exit status $status)" | tee "$work/$lie.wrong" >&2
}

index=0
played=0
while read -r lie rules; do
  case $lie in '' | '#'*) continue ;; esac
  index=$((index + 1))
  [ $((index % shards)) -eq "$shard" ] || continue
  played=$((played + 1))
  # shellcheck disable=SC2086  # the rules are words
  judge "$lie" $rules &
  [ $((played % 3)) -ne 0 ] || wait
done <"$table"
wait
[ "$played" -gt 0 ] || { echo "no switch in this shard" >&2; exit 1; }
! compgen -G "$work/*.wrong" >/dev/null
