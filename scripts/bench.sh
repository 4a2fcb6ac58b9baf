#!/bin/bash
# Every benchmark, one after another, each with its own table beside its peers.
set -uo pipefail
cd "$(dirname "$0")/.."
status=0
for directory in Benchmarks/*/; do
    name=$(basename "$directory")
    echo
    echo "== $name"
    # None may hold up the others for ever.
    timeout 900 ".build/release/$name" "$@" || { echo "$name ended with $?"; status=1; }
done
echo
echo "== bench-proxy hop"
.build/release/bench-proxy hop || status=1
echo "== bench-proxy soak (make soak for half an hour)"
.build/release/bench-proxy soak --seconds 20 || status=1
exit $status
