#!/usr/bin/env bash
# Runs the suite on the liar once for each switch of the table.
#   quick  plays the cases of the rules in a switch's line, and five others: its own rule,
#          the first, must be found broken, and none that its line does not name
#   all    plays every case: exactly the rules of its line must be found broken
# Usage: liar_table_test.sh PORTPROOF LIAR TABLE quick|all
set -uo pipefail
portproof=$1
liar=$2
table=$3
form=$4
shards=${TEST_TOTAL_SHARDS:-1}
shard=${TEST_SHARD_INDEX:-0}
[ -z "${TEST_SHARD_STATUS_FILE:-}" ] || touch "$TEST_SHARD_STATUS_FILE"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mapfile -t names < <("$portproof" test --list --random=0 | sed '/^$/,$d; s/  .*//')

wrong() {
  echo "$1: expected $2, broken $3(exit status $4)" | tee "$work/$1.wrong" >&2
}

judge() {
  local index=$1 lie=$2 own=$3 options=() status=0 broken wanted
  local report=$work/$lie.json
  shift 2
  if [ "$form" = quick ]; then
    for rule in "$@"; do options+=("--case=$rule/*"); done
    for i in 0 1 2 3 4; do options+=("--case=${names[$(((index * 7 + i * 41) % ${#names[@]}))]}"); done
  fi
  "$portproof" test --random=0 --timeout-ms=2000 --jobs=2 "${options[@]}" --format=json -o "$report" \
    -- "$liar" "$lie" || status=$?
  broken=$(grep -o '"broken":"[A-Z]*-[0-9]*"' "$report" | cut -d'"' -f4 | sort -u | tr '\n' ' ')
  wanted=$(printf '%s\n' "$@" | sort -u | tr '\n' ' ')
  [ "$status" -eq 1 ] || wrong "$lie" "$wanted" "$broken" $status
  if [ "$form" = all ]; then
    [ "$broken" = "$wanted" ] || wrong "$lie" "$wanted" "$broken" $status
    return
  fi
  [[ " $broken" = *" $own "* ]] || wrong "$lie" "$own among them" "$broken" $status
  for rule in $broken; do
    [[ " $wanted" = *" $rule "* ]] || wrong "$lie" "$wanted" "$broken" $status
  done
}

index=0
played=0
while read -r lie rules; do
  case $lie in '' | '#'*) continue ;; esac
  index=$((index + 1))
  [ $((index % shards)) -eq "$shard" ] || continue
  played=$((played + 1))
  # shellcheck disable=SC2086  # the rules are words
  judge $index "$lie" $rules &
  [ "$(jobs -rp | wc -l)" -lt 3 ] || wait -n
done <"$table"
wait
[ "$played" -gt 0 ] || { echo "no switch in this shard" >&2; exit 1; }
! compgen -G "$work/*.wrong" >/dev/null
