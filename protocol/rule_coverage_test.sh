#!/usr/bin/env bash
# Who names which rule. Each rule has an example that anybody can run (a live case or a
# story), or oracle/suite/case.cc gives the reason why it has none; and each has a test, but
# for those that README.md says are not carried out. Nothing of this is kept in a list.
# Arguments: rule.cc, README.md, case.cc, `examples` and files, `tests` and files.
set -euo pipefail
table=$1
readme=$2
reasons=$3
shift 4
examples=()
while [ "$1" != tests ]; do
  examples+=("$1")
  shift
done
shift
tests=("$@")

rules=$(grep -oE '"[A-Z]{3}-[0-9]+"' "$table" | tr -d '"')
[ "$(wc -l <<<"$rules")" -ge 79 ] || { echo "cannot read the rules from $table"; exit 1; }

# A live case is called RULE/what-it-is-about, a story RULE-breaks.jsonl.
exampled=$(grep -ohE '"[A-Z]{3}-[0-9]+(/|-breaks\.jsonl")' "${examples[@]}" | grep -oE '[A-Z]{3}-[0-9]+')
# A test names a rule as FRG-1 or FRG_1, in its file's name or in it.
tested=$({
  grep -ohiE '(^|[^A-Za-z])[A-Z]{3}[-_][0-9]+' "${tests[@]}"
  basename -a "${tests[@]}"
} | grep -oiE '[A-Z]{3}[-_][0-9]+' | tr 'a-z_' 'A-Z-')
# {Rule::kSnd3, "why"}
reasoned=$(tr -d '\n' <"$reasons" | grep -oE '\{Rule::k[A-Z][a-z]{2}[0-9]+, *"[^"]+' |
  sed -E 's/\{Rule::k([A-Z][a-z]{2})([0-9]+).*/\1-\2/' | tr 'a-z' 'A-Z')

has() { grep -qx -- "$1" <<<"$2"; }
# A canary: the one is named by all there is, the other is no rule.
has FRG-1 "$exampled" && has FRG-1 "$tested" && has SND-3 "$reasoned" && ! has FRG-11 "$exampled" &&
  ! has FRG-11 "$tested" || { echo "rule_coverage_test cannot tell rules apart"; exit 1; }

failed=0
without=0
for rule in $rules; do
  has "$rule" "$exampled" && continue
  without=$((without + 1))
  has "$rule" "$reasoned" || { echo "$rule has no live case, no story, and no reason in $reasons"; failed=1; }
  has "$rule" "$tested" || grep -q "$rule is not carried out" "$readme" ||
    { echo "$rule has no test, and $readme does not say that it is not carried out"; failed=1; }
done
echo "$(wc -l <<<"$rules") rules, $without of them without a live case or a story"
exit "$failed"
