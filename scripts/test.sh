#!/bin/bash
# Builds once, runs every test suite, and ends with one line that counts them.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

echo "building tests"
swift build --build-tests >"$log/build" 2>&1 || { cat "$log/build"; exit 1; }

# Tests with ten thousand connections need twice as many descriptors.
ulimit -n 65536 2>/dev/null || true

# A process for each target: what one exhausts, for instance descriptors, the others do not miss.
status=0
for target in $(swift package describe --type json | jq -r '.targets[] | select(.type == "test") | .name' | sort); do
    parallel=--parallel
    [ "$target" = IntegrationTests ] && parallel=--no-parallel
    if ! swift test --skip-build $parallel --filter "^$target\\." >"$log/$target.log" 2>&1; then
        status=1
        grep -vE '^(◇|✔|↳)' "$log/$target.log"
    fi
    printf '%-20s %s\n' "$target" "$(grep -oE 'Test run with .*' "$log/$target.log" | tail -1)"
done
cat "$log"/*.log >"$log/all"

# One line a test: a check mark, a cross, or an arrow for what was skipped and why.
# The line that closes a target's run counts tests itself and is none.
grep -vE ' Test run with [0-9]+ tests?' "$log/all" >"$log/tests"
passed=$(grep -cE '^(✔|.\[[0-9;]*m✔.*) Test [^ ]+.* passed after' "$log/tests")
failed=$(grep -cE '^(✘|.\[[0-9;]*m✘.*) Test [^ ]+.* failed after' "$log/tests")
skipped=$(grep -E '^➜ Test .* skipped' "$log/all" | tee "$log/skipped" | grep -c .)
[ "$skipped" -gt 0 ] && cat "$log/skipped"
[ $status -ne 0 ] && [ "$failed" -eq 0 ] && failed=1
echo "$passed passed, $failed failed, $skipped skipped"
exit $status
