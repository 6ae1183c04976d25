#!/usr/bin/env bash
# Prints the tests that could not run, and why. Where everything must be able to run (root, and CI=true), a skipped test
# fails the run.
#
# A test that cannot run prints `skipped: REASON` and returns; `cargo test -- --show-output` repeats it under the test's
# name. What runs in a process of its own appends `skipped: TEST: REASON` to the file named by SKIP_LOG.
#
# usage: skips.sh OUTPUT-OF-CARGO-TEST
set -euo pipefail

skipped=$(
    {
        awk '/^---- .* ----$/ { test = $2 } sub(/^skipped: /, "") { print test ": " $0 }' "$1"
        if [ -s "${SKIP_LOG:-}" ]; then sed 's/^skipped: //' "$SKIP_LOG"; fi
    } | sort -u
)
if [ -z "$skipped" ]; then
    echo "skipped tests: none"
    exit 0
fi
echo "skipped tests: $(wc -l <<<"$skipped")"
sed 's/^/  /' <<<"$skipped"
if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ]; then
    echo "skips.sh: nothing may be skipped here (CI=true, root)" >&2
    exit 1
fi
