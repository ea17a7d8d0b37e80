#!/usr/bin/env bash
# The command line as a user meets it: exit statuses, messages, formats.
set -uo pipefail
portproof=$1
recordings=testdata/recordings
stories=testdata/traces
work=${TEST_TMPDIR:?}
failures=0

# expect STATUS TEXT COMMAND...: the exit status, and a text in what was printed.
expect() {
  local status=$1 text=$2 seen
  shift 2
  "$@" >"$work/out" 2>"$work/err" </dev/null
  seen=$?
  if [ "$seen" -ne "$status" ] || ! grep -qF -- "$text" <(echo) "$work/out" "$work/err"; then
    failures=$((failures + 1))
    echo "FAILED: $* exited with $seen (expected $status) and printed:"
    head -c 2000 "$work/out" "$work/err"
  fi
}

good=$recordings/unit-0.2-start-quit.strace.zst
bad=$recordings/unit-1.35-conf-frag-over-64k.strace.zst
expect 0 "0 errors" "$portproof" check "$good"
expect 1 "FRG-5  port 43215  stream 4" "$portproof" check "$bad"
expect 1 "1 error" "$portproof" check "$good" "$bad"
expect 0 "0 errors" "$portproof" check --ignore=FRG-5 "$bad"
expect 2 "unknown rule FRG-99" "$portproof" check --ignore=FRG-99 "$bad"
expect 2 "missing.strace: No such file" "$portproof" check missing.strace
expect 2 "missing.strace: No such file" "$portproof" check missing.strace "$good"
expect 2 "is a directory" "$portproof" check "$recordings"
expect 2 "required" "$portproof" check
expect 2 "required" "$portproof"
expect 2 "unknown command fly; there are: check dump" "$portproof" fly
expect 2 "yaml" "$portproof" check --format=yaml "$good"
expect 2 "unknown profile unit-7; known: unit-seed" "$portproof" check --profile=unit-7 "$good"
expect 0 "(given)" "$portproof" check --profile=unit-0.2 "$good"
expect 0 "newer than every release known" "$portproof" check --profile=unit-9.9.9 "$stories/HDR-7-conforms.jsonl"
expect 0 "Record with" "$portproof" check --help
expect 0 "portproof 0" "$portproof" --version
expect 0 '"verdict":"conforms"' "$portproof" check --format=json "$good"
expect 1 '"violations":[{"rule":"FRG-5","level":"error","port":"43215","stream":4,"pid":536,"datagram":12,' "$portproof" check --format=json "$bad"
expect 0 "1 warning" "$portproof" check "$stories/FRG-7-breaks.jsonl"
expect 1 "1 warning" "$portproof" check --strict "$stories/FRG-7-breaks.jsonl"
expect 1 "and 1 more violations" "$portproof" check --max-violations=0 "$bad"
expect 1 $'\x1b[31;1merror' "$portproof" check --color=always "$bad"

expect 0 "start_process" "$portproof" dump "$bad"
expect 0 "fragment 4, bytes 49104-65472" "$portproof" dump "$bad"
expect 0 "MUST" "$portproof" rules
expect 0 '"id": "SOC-3"' "$portproof" rules --format=json
expect 0 "| FRG-5 | MUST |" "$portproof" rules --format=markdown
expect 0 "case        oracle/suite/cases_fragment.cc:" "$portproof" rules --index FRG-1
expect 0 " FRG-1/" "$portproof" rules --index FRG-1
expect 0 "code        protocol/" "$portproof" rules --index FRG-1
expect 0 "story       testdata/traces/FRG-1-breaks.jsonl" "$portproof" rules --index FRG-1
expect 0 "no case     the kernel's part" "$portproof" rules --index
grep -q '^FRG-1  No second' "$work/out" && [ "$(grep -cE '^[A-Z]{3}-[0-9]+  ' "$work/out")" -ge 79 ] ||
  { echo "FAILED: rules --index lacks rules"; failures=$((failures + 1)); }
expect 2 "unknown rule FRG-55" "$portproof" rules --index FRG-55
expect 2 "--index" "$portproof" rules FRG-1
expect 2 "excludes --index" "$portproof" rules --index --format=json
expect 0 "Breaking" "$portproof" explain FRG-5
# The text of a rule is its row of the protocol's page, without the marks of Markdown.
explained=0
while IFS='|' read -r _ id level who text _; do
  explained=$((explained + 1))
  text=$(sed -E 's/^ | $//g; s/[*`]//g' <<<"$text")
  expect 0 "$text" "$portproof" explain "${id// /}"
done < <(grep -E '^\| [A-Z]{3}-[0-9]+ \|' protocol/README.md)
[ "$explained" -ge 79 ] || { echo "FAILED: $explained rules in protocol/README.md"; failures=$((failures + 1)); }
expect 2 "unknown rule FRG-55" "$portproof" explain FRG-55
expect 2 "ending in .jsonl" "$portproof" convert "$good" "$work/out.txt"
expect 0 "" "$portproof" convert "$bad" "$work/bad.jsonl.zst"
expect 1 "FRG-5  port 43215" "$portproof" check "$work/bad.jsonl.zst"
expect 0 "" "$portproof" convert --redact "$stories/SOC-3-breaks.jsonl" "$work/redacted.jsonl"
expect 1 "SOC-3" "$portproof" check "$work/redacted.jsonl"
expect 1 "" "$portproof" check -o "$work/report" "$bad"
grep -q FRG-5 "$work/report" || { echo "FAILED: -o wrote no report"; failures=$((failures + 1)); }

# A payload byte altered on its way is still seen once payloads are zeros.
open='{"ev":"open","port":"p"}'
printf '%s\n' '{"portproof":1,"profile":"unit-0.2"}' "$open" \
  '{"ev":"send","port":"p","pid":101,"data":"0500000065000000000000000c0000000000aabbcc"}' \
  '{"ev":"recv","port":"p","pid":202,"data":"0500000065000000000000000c0000000000aabbcd"}' >"$work/altered.jsonl"
sed -i 's/000000000c00/00000c00/' "$work/altered.jsonl"
expect 1 "SOC-3" "$portproof" check "$work/altered.jsonl"
expect 0 "" "$portproof" convert --redact "$work/altered.jsonl" "$work/altered2.jsonl"
expect 1 "SOC-3" "$portproof" check "$work/altered2.jsonl"
grep -q "aabb" "$work/altered2.jsonl" && { echo "FAILED: --redact left a payload"; failures=$((failures + 1)); }

# Expectations: met, not met, not understood.
echo "FRG-5 43215 4  # a stall" >"$work/expected"
expect 0 "0 errors" "$portproof" check --expect="$work/expected" "$bad"
expect 1 "FRG-5 port 43215 stream 4 no longer occurs" "$portproof" check --expect="$work/expected" "$good"
echo "FRG-5 43215 four" >"$work/expected"
expect 2 "expected: line 1: expected a stream number" "$portproof" check --expect="$work/expected" "$bad"

# Damage: named, counted, an error only with --strict.
{ zstd -dcqf "$good"; echo "sendmsg(3<UNIX:[1->2]>, {msg_"; } >"$work/damaged.strace"
expect 0 "1 damaged line" "$portproof" check "$work/damaged.strace"
expect 1 "damaged  line 224" "$portproof" check --strict "$work/damaged.strace"
printf 'noise\n' >"$work/noise"
expect 2 "noise: line 1: expected a trace" "$portproof" check "$work/noise"

# Standard input, and a file that grows.
zstd -dcqf "$bad" | "$portproof" check - >"$work/out"
[ "${PIPESTATUS[1]}" -eq 1 ] && grep -q "FRG-5" "$work/out" || { echo "FAILED: standard input"; failures=$((failures + 1)); }
zstd -dcqf "$bad" | "$portproof" convert - - >"$work/stdin.jsonl" || { echo "FAILED: convert - -"; failures=$((failures + 1)); }
expect 1 "FRG-5" "$portproof" check "$work/stdin.jsonl"
zstd -dcqf "$bad" >"$work/whole.strace"
head -n 40 "$work/whole.strace" >"$work/growing.strace"
"$portproof" check --follow "$work/growing.strace" >"$work/followed" 2>&1 &
follower=$!
until ls -l "/proc/$follower/fd" 2>/dev/null | grep -q growing; do :; done
tail -n +41 "$work/whole.strace" >>"$work/growing.strace"
rm "$work/growing.strace" # the end of what it follows
wait "$follower"
[ $? -eq 1 ] && grep -q "FRG-5  port 43215" "$work/followed" || { echo "FAILED: --follow"; cat "$work/followed"; failures=$((failures + 1)); }

# The same input gives the same output.
"$portproof" check --format=json $recordings/*.zst >"$work/one"
"$portproof" check --format=json $recordings/*.zst >"$work/two"
cmp "$work/one" "$work/two" || failures=$((failures + 1))
[ "$failures" -eq 0 ] && echo "all commands behave"
exit "$failures"
