#!/usr/bin/env bash
# rule_table.py takes README.md and refuses malformed rows of it, naming line and what.
# Arguments: rule_table.py, README.md.
set -uo pipefail
generator=$1
readme=$2
work=$(mktemp -d)
failures=0

fail() {
  failures=$((failures + 1))
  echo "FAILED: $*"
}

python3 "$generator" "$readme" "$work/rule.h" "$work/rule.cc" || fail "refuses README.md"
rows=$(grep -cE '^\| [A-Z]{3}-[0-9]+ \|' "$readme")
[ "$(grep -cE '^  k[A-Z][a-z]{2}[0-9]+,' "$work/rule.h")" -eq "$rows" ] || fail "not $rows values in rule.h"
[ "$rows" -ge 79 ] || fail "only $rows rows in README.md"

# refuses ROW MESSAGE: the row as the third line, behind those of two rules.
refuses() {
  printf '%s\n' '| FRG-1 | MUST | X | One. |' '| FRG-2 | SHOULD | S | Two. |' "$1" >"$work/README.md"
  rm -f "$work"/rule.*
  if python3 "$generator" "$work/README.md" "$work/rule.h" "$work/rule.cc" 2>"$work/said"; then
    fail "takes $1"
  fi
  grep -qF "README.md:3: $2" "$work/said" || fail "of $1 it says: $(cat "$work/said")"
  [ ! -e "$work/rule.h" ] || fail "writes a header in spite of $1"
}

refuses '| FRG-3 | MAY | X | Three. |' 'FRG-3: unknown level MAY; known: MUST, SHOULD'
refuses '| FRG-3 |  | X | Three. |' 'FRG-3: unknown level (none)'
refuses '| FRG-3 | MUST | Y | Three. |' 'FRG-3: unknown who Y; known: S, R, X'
refuses '| FRG-2 | MUST | X | Again. |' 'FRG-2 is there twice, or behind FRG-2'
refuses '| FRG-1 | MUST | X | Again. |' 'FRG-1 is there twice, or behind FRG-2'
refuses '| FRG-4 | MUST | X | Four. |' 'FRG-4 where FRG-3 is expected'
refuses '| RCV-2 | MUST | X | Two. |' 'RCV-2 where RCV-1 is expected'
refuses '| FRG-3 | MUST | X |  |' 'FRG-3: the text is empty'
refuses '| FRG-3 | MUST | X | No full stop |' 'FRG-3: the text is empty or ends without a full stop'
refuses '| FRG-3 | MUST | X |' 'expected 4 cells'
refuses '| FRG-3 | MUST | X | Three | and more. |' 'expected 4 cells (id, level, who, rule), not 5'
refuses '| frg-3 | MUST | X | Three. |' 'frg-3 is no id: expected one such as FRG-1'
refuses '| FRG-03 | MUST | X | Three. |' 'FRG-03 is no id'

# What it makes of a row: marks go, parentheses and numbers end no sentence.
printf '%s\n' '| FRG-1 | SHOULD | R | At `most` *one* (to 1.18. Or 2) of ⌈n⌉ "it". More. |' >"$work/README.md"
python3 "$generator" "$work/README.md" "$work/rule.h" "$work/rule.cc" || fail "refuses a good row"
grep -qF '{kFrg1, "FRG-1", kShould, kReceiver,' "$work/rule.cc" || fail "level or who"
grep -qxF '     "At most one (to 1.18. Or 2) of ⌈n⌉ \"it\".",' "$work/rule.cc" || fail "the sentence"
grep -qxF '     "At most one (to 1.18. Or 2) of ⌈n⌉ \"it\". More."},' "$work/rule.cc" || fail "the text"

: >"$work/README.md"
python3 "$generator" "$work/README.md" "$work/rule.h" "$work/rule.cc" 2>"$work/said" && fail "takes an empty page"
grep -qF 'no rules in it' "$work/said" || fail "an empty page: $(cat "$work/said")"
[ "$failures" -eq 0 ] && echo "$rows rules; 14 malformed pages are refused"
exit "$failures"
