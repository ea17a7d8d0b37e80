#!/usr/bin/env bash
# README.md and rule.cc have the same rules, with the same level and the same bound.
# Arguments: README.md, rule.cc.
set -euo pipefail
readme=$(sed -nE 's/^\| ([A-Z]{3}-[0-9]+) \| (MUST|SHOULD) \| ([SRX]) \|.*/\1 \2 \3/p' "$1" | sort)
table=$(tr -d '\n' <"$2" | grep -oE '"[A-Z]{3}-[0-9]+", *k(Must|Should), *k(Sender|Receiver|Both)' |
  sed -E 's/[",]//g; s/kMust/MUST/; s/kShould/SHOULD/; s/kSender/S/; s/kReceiver/R/; s/kBoth/X/; s/ +/ /g' | sort)
[ "$(wc -l <<<"$table")" -ge 79 ] || { echo "cannot read the rules from $2"; exit 1; }
diff <(echo "$readme") <(echo "$table") || { echo "README.md (<) and rule.cc (>) differ"; exit 1; }
