#!/bin/bash
# Every benchmark, one after another, each with its own table beside its peers.
set -uo pipefail
cd "$(dirname "$0")/.."
status=0
for directory in Benchmarks/*/; do
    name=$(basename "$directory")
    echo
    echo "== $name"
    ".build/release/$name" "$@" || status=1
done
exit $status
