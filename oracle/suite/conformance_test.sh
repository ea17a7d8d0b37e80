#!/usr/bin/env bash
# The test that portproof_conformance_test makes:
#   conformance_test.sh PORTPROOF KNOWN_FAILURES|- [OPTION...] -- TESTEE [ARG...]
set -euo pipefail
portproof=$1
known=$2
shift 2
options=(--quiet)
[ "$known" = - ] || options+=("--known-failures=$known")
# Traces of what failed are kept where Bazel collects a test's outputs.
[ -z "${TEST_UNDECLARED_OUTPUTS_DIR:-}" ] || options+=("--keep-traces=$TEST_UNDECLARED_OUTPUTS_DIR/traces")
# The suite watches memory: a sanitizer must not hold on to what was freed.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=1"
exec "$portproof" test "${options[@]}" "$@"
