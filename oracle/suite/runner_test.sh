#!/usr/bin/env bash
# Whatever a testee does, the runner gives a verdict, and leaves nothing behind.
# Usage: runner_test.sh PORTPROOF HOSTILE LIAR PYTHON
set -uo pipefail
# The suite watches memory: a sanitizer must not hold on to what was freed.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=1"
portproof=$1
hostile=$2
liar=$3
python=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

fail() {
  echo "FAILED: $*" >&2
  failed=1
}

# expect STATUS TEXT COMMAND...: the exit status, and a text in the output.
expect() {
  local wanted=$1 text=$2 status=0
  shift 2
  timeout 60 "$@" >"$work/out" 2>&1 || status=$?
  [ "$status" -eq "$wanted" ] || { fail "exit status $status, not $wanted: $*"; tail -20 "$work/out" >&2; }
  grep -qF -- "$text" "$work/out" || { fail "no '$text' in the output of: $*"; tail -20 "$work/out" >&2; }
}

# The same beside what else was begun: two at a time. `settle` waits for them.
begun=0
also() {
  begun=$((begun + 1))
  (
    failed=0
    work=$(mktemp -d "$work/XXXXXX")
    expect "$@"
    [ "$failed" -eq 0 ] || touch "$work/../failed"
  ) &
  [ $((begun % 2)) -ne 0 ] || wait
}
settle() {
  wait
  [ ! -e "$work/failed" ] || failed=1
}

one=(--random=0 '--case=RCV-3/one*' --jobs=2)

for how in crash-at-start exit-at-start; do
  also 1 'CRASH  TESTEE/hello' "$portproof" test "${one[@]}" -- "$hostile" $how
done
also 1 'CRASH  TESTEE/hello' "$portproof" test "${one[@]}" -- "$hostile" closed-at-start
also 1 'TIMEOUT  TESTEE/hello' "$portproof" test "${one[@]}" --timeout-ms=800 -- "$hostile" hang-at-start
for how in flood-at-start garbage-at-start wrong-hello wrong-pid; do
  also 1 'FAIL  TESTEE/hello' "$portproof" test "${one[@]}" -- "$hostile" $how
done
for how in crash closes-stdout; do
  also 1 'CRASH  RCV-3/' "$portproof" test "${one[@]}" -- "$hostile" $how
done
also 1 'TIMEOUT  RCV-3/' "$portproof" test "${one[@]}" --timeout-ms=1000 -- "$hostile" hang
for how in flood huge-line garbage array wrong-events says-too-much floods-stderr closes-stderr \
  forks leaves-a-child; do
  also 1 'FAIL  RCV-3/' "$portproof" test "${one[@]}" -- "$hostile" $how
done
also 1 'FAIL  TESTEE/quit-ends-it' "$portproof" test --random=0 --case='TESTEE/quit*' -- "$hostile" never-quits

# What it says of itself. The pid is one that will be stopped and limited: not just anybody's.
for hello in '{"pid":1}' '{"pid":@PARENT}' '{"pid":0}' '{"pid":-5}' '{"pid":1.5}' '{"pid":4294967297}' \
  '{"pid":99999999999999999999}' '{"pid":"1"}' '{"pid":null}' '{"name":null}' '{"roles":[]}' '{"roles":"receiver"}' \
  '{"roles":["king"]}' '{"features":["levitation"]}' '{"profiles":["release"]}' '{"limits":[]}' '{"limits":{"queue_fds":0}}' \
  '{"limits":{"queue_fds":-1}}' '{"limits":{"towels":1}}' '{"hello":2}'; do
  also 1 'FAIL  TESTEE/hello' "$portproof" test "${one[@]}" -- "$hostile" hello "$hello"
done
for says in '' 'null' '[]' '@DEEP' '{"hello":1,"name":@DEEP}' '@BYTES' '{"name":"a@NUL"}' '{"pid":@HUGE}'; do
  also 1 'FAIL  TESTEE/hello' "$portproof" test "${one[@]}" -- "$hostile" says "$says"
done
# And what it answers: to the case, whatever it is.
for answer in '' '[]' '{}' '{"events":3}' '{"events":{}}' '{"events":[3]}' '{"events":[{"ev":3}]}' '{"events":[{"ev":"x"}]}' \
  '{"events":@DEEP}' '{"events":[@DEEP]}' '@BYTES' '@NUL' '{"events":[{"ev":"refused","rule":7}]}' \
  '{"events":[{"ev":"completed","message":@HUGE,"buffer":0,"ok":true}]}' '{"events":[{"ev":"completed","message":1,"ok":true}]}' \
  '{"events":[{"ev":"delivered","type":27,"stream":1,"pid":1,"reply_port":0,"last":true,"bytes":-3,"crc32":"x"}]}'; do
  also 1 'FAIL  RCV-3/' "$portproof" test "${one[@]}" -- "$hostile" answer run "$answer"
done
for max in 0 63 -1 16385 4294967296 '"16384"'; do
  also 1 'not above the max_size asked for' timeout 30 \
    "$portproof" test "${one[@]}" -- "$hostile" answer start "{\"ok\":true,\"max_size\":$max,\"types\":[\"data\"]}"
done
also 1 'an answer: JSON nested' "$portproof" test "${one[@]}" -- "$hostile" answer reset @DEEP
also 1 'keys have the types they should have' "$portproof" test --random=0 '--case=FRG-9/hang-up-discards' -- \
  sh -c "$liar | sed -u 's/\"open_assemblies\":0/\"open_assemblies\":\"none\"/'"
for how in twice leaves-a-daemon; do
  also 1 'FAIL  RCV-3/' "$portproof" test "${one[@]}" -- "$hostile" $how
done
also 1 'TIMEOUT  RCV-3/' "$portproof" test "${one[@]}" --timeout-ms=1000 -- "$hostile" never-reads
# A port that was shut down is no datagram for ever; what floods one does not fill the memory.
also 1 'FAIL  RCV-3/' "$portproof" test "${one[@]}" -- "$hostile" shuts-down
cat >"$work/modest" <<'PY'
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
sys.exit(status if kilobytes < 700000 else "%d KB of memory" % kilobytes)
PY
also 1 'TIMEOUT  RCV-3/' python3 "$work/modest" \
  "$portproof" test "${one[@]}" --timeout-ms=1000 -- "$hostile" floods-the-port
also 1 'its hello: a line of JSON on standard output, flushed' "$portproof" test "${one[@]}" -- sh -c 'exit 0'
also 0 'PASS  RCV-3/' "$portproof" test "${one[@]}" -- sh -c "$liar; exit \$?"
settle
# Control characters are shown, not sent to the terminal; reports stay well-formed.
expect 1 'seen      \xff\xfe\xc0\x80\x1b[31m' "$portproof" test "${one[@]}" -- "$hostile" answer run @BYTES
"$portproof" test "${one[@]}" --format=junit -o "$work/rude.xml" -- "$hostile" answer run '@BYTES@NUL'
python3 -c 'import sys, xml.etree.ElementTree as t; t.parse(sys.argv[1])' "$work/rude.xml" || fail "JUnit of a rude testee"
# Its arguments are its own, to the letter.
expect 1 "seen      [1,2]" "$portproof" test "${one[@]}" -- "$hostile" says '[1,2]'

# Nothing of it lives on.
if pgrep -f 'python3 -IS [^ ]*hostile_testee' >/dev/null || pgrep -f '^sleep 600$' >/dev/null; then
  fail "testees live on"
fi

# The command line.
expect 2 'cannot run' "$portproof" test -- "$work/no-such-program"
expect 2 'no testee' "$portproof" test
expect 2 'no case selected' "$portproof" test --case='NO-1/*' -- "$liar"
expect 2 'unknown profile' "$portproof" test --profile=unit-9x -- "$liar"
expect 0 'FRG-1/duplicate-start-keeps-the-first  FRG-1' "$portproof" test --list
expect 0 'Rules without a case' "$portproof" test --list
expect 0 '1 PASS' "$portproof" test --case='FRG-2/orphans*' -- "$liar"
expect 0 'UNSUPPORTED' "$portproof" test --case='SHM-1/not*' -- "$python"
expect 1 'FRG-2: ' "$portproof" test --case='FRG-2/orphans*' -- "$liar" orphan-kept
expect 1 "--case='FRG-2/orphans-are-refused' -- " "$portproof" test --case='FRG-2/orphans*' -- "$liar" orphan-kept

# A failure says which of several datagrams it is about.
expect 1 'for datagram 3 of 5, ' "$portproof" test --random=0 --case='RCV-5/a-refusal*' -- "$liar" skips-one-after-a-refusal
# The side the testee is on, and what it disclaims.
claim() {
  local keys=$1
  shift
  echo "$liar $* | sed -u 's/\"hello\":1/\"hello\":1,$keys/'"
}
expect 0 'PASS' "$portproof" test --random=0 --case='SHM-*' -- sh -c "$(claim '"process":"router"')"
expect 1 "an application's segment for pid" "$portproof" test --random=0 --case='SHM-8/what*' -- sh -c "$(claim '"process":"application"')"
expect 1 'application or router' "$portproof" test "${one[@]}" -- sh -c "$(claim '"process":"king"')"
silent="$liar sync-never-completes | sed -u 's/\"asks\"/\"no-completions\"/'"
expect 0 'UNSUPPORTED  CMP-1/each' "$portproof" test --random=0 --case='CMP-1/*' --case='IOV-7/*' -- sh -c "$silent"
expect 0 'PASS  IOV-7/a-sync-buffer' "$portproof" test --random=0 --case='IOV-7/*' -- sh -c "$silent"
expect 0 'UNSUPPORTED  SHM-10/an-unknown-segment-is-asked-for' "$portproof" test --random=0 --case='SHM-10/an-*' -- sh -c "$silent"
# A question for no segment may be answered with rpc_error, as the liar does.
expect 0 'PASS' "$portproof" test --random=0 --case='SHM-10/a-question*' -- "$liar"

# A case whose own rule was not judged says so, and does not count as passed.
masked=(--random=0 --case='IOV-6/once-set-at-the-limit*')
expect 1 'NOT-REACHED  IOV-6/once-set-at-the-limit' "$portproof" test "${masked[@]}" -- "$liar" no-mf-at-the-limit
expect 1 'not reached: IOV-5 came first' "$portproof" test "${masked[@]}" -- "$liar" no-mf-at-the-limit
expect 1 '"reason":"not reached: IOV-5 came first"' "$portproof" test "${masked[@]}" --format=json -- "$liar" no-mf-at-the-limit
expect 1 '<failure type="NOT-REACHED" message="not reached: IOV-5 came first">' \
  "$portproof" test "${masked[@]}" --format=junit -- "$liar" no-mf-at-the-limit
# What was masked once judges its own rule beside the same defect.
for name in CMP-3/not-before IOV-6/once-set-it RCV-2/random-bytes SHM-6/unsent; do
  expect 0 'PASS' "$portproof" test --random=0 --case="$name*" --skip='*-are-judged' -- "$liar" no-mf-at-the-limit
done

expect 2 'the testee comes after --' "$portproof" test "$liar"
expect 2 'cannot run' "$portproof" test -- "$work"
expect 2 'No such file or directory' "$portproof" test -o "$work/none/report" -- "$liar"
expect 2 'cannot write traces there' "$portproof" test --keep-traces=/proc/traces -- "$liar"
expect 2 'cannot be read' "$portproof" test --known-failures="$work/none" -- "$liar"
expect 2 'cannot be read' "$portproof" test --known-failures="$work" -- "$liar"
expect 2 'no case selected' "$portproof" test --case='[' -- "$liar"
for wrong in --jobs=0 --random=-1 --seed=-1 --timeout-ms=0 --format=html --no-such-option; do
  expect 2 "${wrong%=*}" "$portproof" test $wrong -- "$liar"
done

# Known failures.
echo 'FRG-2/orphans-are-refused  # it keeps them' >"$work/known"
expect 0 'XFAIL' "$portproof" test --known-failures="$work/known" --case='FRG-2/orphans*' -- "$liar" orphan-kept
expect 1 'XPASS' "$portproof" test --known-failures="$work/known" --case='FRG-2/orphans*' -- "$liar"
echo 'FRG-2/no-such-case  # gone' >"$work/known"
expect 2 'no such case' "$portproof" test --known-failures="$work/known" -- "$liar"
echo 'nonsense' >"$work/known"
expect 2 'expected CASE' "$portproof" test --known-failures="$work/known" -- "$liar"

# Profiles: each old one in turn, all cases that apply; any release names its row.
for profile in unit-0.2 unit-1.18.0 unit-1.19.0 unit-1.25.0 unit-1.35.0; do
  expect 0 'PASS' "$portproof" test --random=8 --profile=$profile -- "$liar"
  ! grep -q UNSUPPORTED "$work/out" || fail "$profile: unsupported"
done

# Formats.
"$portproof" test --random=4 --shrinks=0 --format=junit -o "$work/report.xml" -- "$liar" orphan-kept
python3 - "$work/report.xml" <<'PY' || fail "JUnit"
import sys, xml.etree.ElementTree as tree
suite = tree.parse(sys.argv[1]).getroot()
cases = suite.findall("testcase")
failures = [case for case in cases if case.find("failure") is not None]
assert int(suite.get("tests")) == len(cases) > 100 and int(suite.get("failures")) == len(failures) > 0
PY
"$portproof" test --random=4 --shrinks=0 --format=json -o "$work/report.json" -- "$liar" orphan-kept
python3 - "$work/report.json" <<'PY' || fail "JSON"
import json, sys
report = json.load(open(sys.argv[1]))
assert report["portproof"] == 1 and report["verdict"] == "fail" and report["testee"]["name"] == "liar"
for case in report["cases"]:
    assert set(case) >= {"case", "rules", "verdict", "ms", "detail", "rerun"}, case
    assert case["detail"] == "" or case["verdict"] in ("FAIL", "NOT-REACHED"), case
PY

# Traces that check reads.
"$portproof" test --random=4 --keep-traces="$work/traces" --case='FRG-*' -- "$liar" >/dev/null
traces=0
for trace in "$work"/traces/*.jsonl; do
  status=0
  "$portproof" check "$trace" >"$work/out" 2>&1 || status=$?
  [ "$status" -le 1 ] || { fail "check refuses $trace"; cat "$work/out" >&2; }
  traces=$((traces + 1))
done
[ "$traces" -gt 10 ] || fail "only $traces traces"

# Random conversations find a lie, and are shrunk.
for lie in orphan-kept mark-not-kept never-rotates; do
  also 1 'conversation, shrunk' "$portproof" test --random=200 --case='RANDOM/*' -- "$liar" $lie
done
settle
# The same seed, the same conversations.
for i in 1 2; do
  "$portproof" test --seed=7 --random=64 --shrinks=0 --case='RANDOM/*' --format=json -- "$liar" orphan-kept |
    grep -o '"verdict":"[A-Z]*"' >"$work/verdicts.$i"
done
cmp -s "$work/verdicts.1" "$work/verdicts.2" || fail "a seed does not repeat"
exit $failed
