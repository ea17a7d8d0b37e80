#!/usr/bin/env bash
# Who names which rule. Each rule has a test (unit test, property, vector, story or live
# case), and an example that anybody can run (story or live case), but for those that
# unexampled_rules.txt gives a reason for; what is listed there and has one is an error too.
# Arguments: the table of rules, the list, `examples` and files, `tests` and files.
set -euo pipefail
table=$1
list=$2
shift 3
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

has() { grep -qx -- "$1" <<<"$2"; }
# A canary: the one is named by all there is, the other is no rule.
has FRG-1 "$exampled" && has FRG-1 "$tested" && ! has FRG-11 "$exampled" && ! has FRG-11 "$tested" ||
  { echo "rule_coverage_test cannot tell rules apart"; exit 1; }

missing=$(for rule in $rules; do
  has "$rule" "$exampled" || echo "example $rule"
  has "$rule" "$exampled" || has "$rule" "$tested" || echo "test $rule"
done | sort)
listed=$(sed 's/#.*//' "$list" | awk 'NF >= 3 { print $1, $2 }' | sort)
[ "$(sed 's/#.*//' "$list" | awk 'NF && NF < 3' | wc -l)" = 0 ] || { echo "a reason is missing in $list"; exit 1; }
diff <(echo "$missing") <(echo "$listed") ||
  { echo "< has none, and $list gives no reason; > has one, or is no rule, and stands in $list"; exit 1; }
echo "$(wc -l <<<"$rules") rules, $(grep -c '^example' <<<"$listed") of them without a live case or a story"
