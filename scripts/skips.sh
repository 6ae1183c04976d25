#!/usr/bin/env bash
# Prints the tests that could not run and why, from the file that they wrote to. Where everything must be able to run
# (root, and CI=true), a skipped test fails the run.
#
# usage: skips.sh FILE
set -euo pipefail
log=$1
if [ ! -s "$log" ]; then
    echo "skipped tests: none"
    exit 0
fi
echo "skipped tests: $(sort -u "$log" | wc -l)"
sort -u "$log" | sed 's/^/  /'
if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ]; then
    echo "skips.sh: nothing may be skipped here (CI=true, root)" >&2
    exit 1
fi
