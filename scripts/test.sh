#!/bin/bash
# Builds once, runs every test suite, and ends with one line that counts them.
#
# Suites of one process share two cores at worst, so those that start clusters and containers run one at a time.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

echo "building tests"
swift build --build-tests >"$log/build" 2>&1 || { cat "$log/build"; exit 1; }

status=0
run() {
    local name=$1
    shift
    echo "== $name"
    swift test --skip-build "$@" >"$log/$name" 2>&1 || { status=1; cat "$log/$name"; }
    grep -E '^. Test run with' "$log/$name" | tail -1
}
run units --skip IntegrationTests
run integration --filter IntegrationTests --no-parallel

# One line a test: a check mark, a cross, or an arrow for what was skipped and why.
passed=$(cat "$log/units" "$log/integration" | grep -cE '^(✔|.\[[0-9;]*m✔.*) Test [^ ]+.* passed after')
failed=$(cat "$log/units" "$log/integration" | grep -cE '^(✘|.\[[0-9;]*m✘.*) Test [^ ]+.* failed after')
skipped=$(cat "$log/units" "$log/integration" | grep -E '^➜ Test .* skipped' | tee "$log/skipped" | grep -c .)
[ "$skipped" -gt 0 ] && cat "$log/skipped"
[ $status -ne 0 ] && [ "$failed" -eq 0 ] && failed=1
echo "$passed passed, $failed failed, $skipped skipped"
exit $status
