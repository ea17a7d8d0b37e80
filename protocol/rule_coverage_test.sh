#!/usr/bin/env bash
# Each rule is named by a unit test, a property, a vector or a story, unless later
# work covers it and uncovered_rules.txt says so; a rule listed there that is covered
# by now is an error too. Arguments: the table of rules, the list, then the tests.
set -euo pipefail
table=$1
list=$2
shift 2

rules=$(grep -oE '"[A-Z]{3}-[0-9]+"' "$table" | tr -d '"')
listed=$(sed 's/#.*//' "$list" | awk 'NF { print $1 }')
[ "$(wc -l <<<"$rules")" -ge 79 ] || { echo "cannot read the rules from $table"; exit 1; }

# By file name (frg-1-duplicate.jsonl) or by contents (FRG-1, FRG_1).
named() {
  local pattern="(^|[^A-Za-z])${1/-/[-_]}([^0-9]|\$)"
  shift
  grep -qE "$pattern" "$@" || basename -a "$@" | grep -qiE "$pattern"
}

# A canary: a rule that is none must not be found, one behind a longer number neither.
canary=$(mktemp)
echo 'FRG-10 AFRG-2' >"$canary"
! named FRG-1 "$canary" && ! named FRG-2 "$canary" && named FRG-10 "$canary" ||
  { echo "rule_coverage_test cannot tell rules apart"; exit 1; }

failed=0
for rule in $rules; do
  if named "$rule" "$@"; then
    if grep -qx "$rule" <<<"$listed"; then
      echo "$rule is covered by now: take it off uncovered_rules.txt"
      failed=1
    fi
  elif ! grep -qx "$rule" <<<"$listed"; then
    echo "$rule is named by no unit test, property, vector or story"
    failed=1
  fi
done
for rule in $listed; do
  grep -qx "$rule" <<<"$rules" || { echo "$rule is listed, but is no rule"; failed=1; }
done
echo "$(wc -l <<<"$rules") rules, $(wc -w <<<"$listed") of them left to later work, $# files looked at"
exit "$failed"
