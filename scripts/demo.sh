#!/bin/bash
# The main job on real input: a cluster of three nodes, an application, failures, and away again.
#
# usage: scripts/demo.sh DIRECTORY-OF-PROGRAMS
# Prints each step with its time and a mark; exits 0 only if all of them held. KEEP=1 leaves the cluster up.
set -uo pipefail
cd "$(dirname "$0")/.."
programs=$(realpath "$1")
work=$(mktemp -d /tmp/weft-demo.XXXXXX)
cluster=$work/cluster
weft=$programs/weft
kubectl=$(command -v kubectl || true)
failures=0
background=()

# What the steps look with.
scripts/deps.sh curl openssl tcpdump || exit 1
if [ -z "$kubectl" ]; then
    scripts/deps.sh kubernetes-client || exit 1
    kubectl=$(command -v kubectl)
fi

cleanup() {
    for pid in "${background[@]}"; do kill "$pid" 2>/dev/null; done
    if [ "${KEEP:-}" = 1 ]; then
        echo "kept: export KUBECONFIG=$cluster/kubeconfig; take it down with $weft down --dir $cluster"
        return
    fi
    "$weft" down --dir "$cluster" >/dev/null 2>&1
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# step TITLE FUNCTION: runs the function; what it prints last on descriptor 3 is the result that is shown.
step() {
    local title=$1 function=$2 start end status
    start=$(date +%s%N)
    result=
    $function >"$work/log" 2>&1 3>"$work/result"
    status=$?
    end=$(date +%s%N)
    local took
    took=$(awk -v ns=$((end - start)) 'BEGIN { printf "%.2f s", ns / 1e9 }')
    if [ $status -eq 0 ]; then
        printf '  \e[32m✓\e[0m %-58s %9s  %s\n' "$title" "$took" "$(tail -1 "$work/result")"
    else
        printf '  \e[31m✗\e[0m %-58s %9s  %s\n' "$title" "$took" "$(tail -1 "$work/result")"
        sed 's/^/      /' "$work/log" | tail -40
        failures=$((failures + 1))
    fi
    return $status
}
say() { echo "$*" >&3; }

# until_true SECONDS COMMAND...: waits for a condition, up to a deadline.
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || { echo "deadline passed waiting for: $*"; return 1; }
        sleep 0.1
    done
}

k() { "$kubectl" "$@"; }
node_ip() { k get node "$1" -o jsonpath='{.status.addresses[?(@.type=="InternalIP")].address}'; }
pid_of() { cat "$cluster/run/$1.pid"; }
netns_of() { cat "$cluster/run/$1.netns"; }
rules_of() { ip netns exec "$(netns_of "$1")" nft list ruleset | sed 's/ expires [^ ,}]*//g; s/packets [0-9]* bytes [0-9]*//'; }

cluster_up() {
    "$weft" up --nodes 3 --dir "$cluster" || return 1
    export KUBECONFIG=$cluster/kubeconfig
    k get nodes -o wide
    [ "$(k get nodes --no-headers | awk '$2 == "Ready"' | wc -l)" = 3 ] || return 1
    bridge=$(grep -o '"bridge": "[^"]*"' "$cluster/cluster.json" | cut -d'"' -f4)
    say "3 nodes Ready"
}

apply_shop() {
    k apply -f configs/samples/shop/ || return 1
    for deployment in cart catalog front; do
        k -n shop rollout status deployment/$deployment --timeout=60s || return 1
    done
    k -n shop get pods -o wide
    local nodes
    nodes=$(k -n shop get pods -l app=catalog -o jsonpath='{range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort -u | wc -l)
    [ "$nodes" -ge 2 ] || { say "pods of catalog are on $nodes node"; return 1; }
    say "$("$kubectl" version --client -o json | grep -o '"gitVersion": *"[^"]*"' | cut -d'"' -f4): catalog on $nodes nodes"
}

# A pod on another node than the cart's asks for it by name.
ask_by_name() {
    local cart_node other
    cart_node=$(k -n shop get pods -l app=cart -o jsonpath='{.items[0].spec.nodeName}')
    other=$(k get nodes -o jsonpath='{range .items[*]}{.metadata.name}{"\n"}{end}' | grep -v "^$cart_node\$" | head -1)
    k -n shop run ask --restart=Never --image=weft.local/host \
        --overrides="{\"apiVersion\":\"v1\",\"spec\":{\"nodeName\":\"$other\"}}" \
        -- curl -sS --retry 5 --retry-connrefused http://cart.shop.svc.cluster.local/ || return 1
    until_true 20 finished ask || return 1
    k -n shop logs ask
    k -n shop logs ask | grep -q '"service": *"cart"' || { say "no answer from cart"; return 1; }
    say "pod on $other asked cart on $cart_node"
}
finished() { [[ "$(k -n shop get pod "$1" -o jsonpath='{.status.phase}')" =~ Succeeded|Failed ]]; }

# The pods that answered N requests, made by a pod through the Service.
answering_pods() {
    for _ in $(seq "$1"); do
        curl -sS --max-time 2 "http://$(node_ip "$first"):30080/fetch?url=http://cart.shop.svc.cluster.local/"
        echo
    done | grep -o '"pod": *"[^"]*"' | sort | uniq -c
}
five_answer() { [ "$(answering_pods 30 | tee "$work/shares" | wc -l)" = 5 ]; }

scale_cart() {
    k -n shop scale deployment/cart --replicas=5 || return 1
    k -n shop rollout status deployment/cart --timeout=30s || return 1
    local start=$SECONDS
    until_true 2 five_answer || { cat "$work/shares"; return 1; }
    say "shares of 30 requests:$(awk '{printf " %s", $1}' "$work/shares")"
}

node_port() {
    local name
    for name in $(k get nodes -o jsonpath='{.items[*].metadata.name}'); do
        curl -sS --max-time 3 "http://$(node_ip "$name"):30080/" | tee /dev/stderr | grep -q '"service": *"front"' || return 1
    done
    say "every node answers on port 30080"
}

restarts_of() {
    k -n shop get pod "$1" -o jsonpath='{.status.containerStatuses[0].restartCount}'
}
was_restarted() { [ "$(restarts_of "$1")" -gt 0 ] 2>/dev/null; }

# A client that retries connects runs all the time; the process of one pod is killed meanwhile.
kill_container() {
    local pod node pid answers
    pod=$(k -n shop get pods -l app=front -o jsonpath='{.items[0].metadata.name}')
    (
        end=$((SECONDS + 6)) good=0 bad=0
        while [ $SECONDS -lt $end ]; do
            if curl -sS --retry 3 --retry-connrefused --retry-delay 0 --connect-timeout 1 --max-time 3 \
                "http://$(node_ip "$first"):30080/" >/dev/null; then good=$((good + 1)); else bad=$((bad + 1)); fi
        done
        echo "$good $bad" >"$work/answers"
    ) &
    local client=$!
    pid=$(pgrep -f "^shop .*--name front|/shop .*--name front" | while read -r p; do
        [ "$(nsenter -t "$p" -u hostname 2>/dev/null)" = "$pod" ] && echo "$p" && break
    done)
    [ -n "$pid" ] || { say "process of $pod not found"; return 1; }
    kill -9 "$pid"
    until_true 30 was_restarted "$pod" || return 1
    wait $client
    read -r good bad <"$work/answers"
    echo "good $good bad $bad"
    [ "$bad" = 0 ] && [ "$good" -gt 10 ] || { say "$good answered, $bad failed"; return 1; }
    k -n shop wait --for=condition=Ready "pod/$pod" --timeout=60s || return 1
    say "restarted; $good requests answered meanwhile, $bad failed"
}

is_another() { [ "$(pid_of "$1")" != "$2" ] && kill -0 "$(pid_of "$1")" 2>/dev/null; }
has_grown() { [ "$(stat -c %s "$work/transfer")" -gt "$1" ]; }

# A transfer through a NodePort goes on while the daemon of that node is dead, and the next daemon finds its rules right.
kill_node_daemon() {
    local address bytes=40000000 pid
    address=$(node_ip "$first")
    rules_of "$first" >"$work/rules-before"
    curl -sS --max-time 60 -o "$work/transfer" "http://$address:30080/bytes?n=$bytes&rate=8000000" &
    local transfer=$!
    until_true 5 test -s "$work/transfer" || return 1
    pid=$(pid_of "$first")
    kill -9 "$pid"
    until_true 5 has_grown "$(($(stat -c %s "$work/transfer") + 1000000))" || { say "the transfer stalled"; return 1; }
    until_true 20 is_another "$first" "$pid" || { say "the daemon did not return"; return 1; }
    until_true 20 daemon_is_well || { say "the daemon returned and is not well"; return 1; }
    wait $transfer || { say "the transfer broke"; return 1; }
    [ "$(stat -c %s "$work/transfer")" = $bytes ] || { say "the transfer is short"; return 1; }
    rules_of "$first" >"$work/rules-after"
    diff "$work/rules-before" "$work/rules-after" || { say "the rules differ after the restart"; return 1; }
    say "40 MB arrived whole; $(wc -l <"$work/rules-after") lines of rules are the same"
}
daemon_is_well() { ip netns exec "$(netns_of "$first")" curl -fsS -o /dev/null --max-time 2 http://127.0.0.1:10256/healthz; }

kill_control_plane() {
    local pid
    k create namespace ledger || return 1
    k -n ledger get configmaps -w --output-watch-events -o custom-columns=TYPE:.type,NAME:.object.metadata.name --no-headers >"$work/watch" 2>&1 &
    local watch=$!
    background+=($watch)
    (
        for i in $(seq 60); do
            k -n ledger create configmap "entry-$i" --from-literal=n="$i" >/dev/null 2>&1 && echo "entry-$i" >>"$work/acknowledged"
        done
    ) &
    local writer=$!
    until_true 20 eval "[ \$(wc -l <$work/acknowledged 2>/dev/null || echo 0) -ge 15 ]" || return 1
    pid=$(pid_of control)
    kill -9 "$pid"
    until_true 20 is_another control "$pid" || { say "the control plane did not return"; return 1; }
    wait $writer
    k -n ledger get configmaps -o name | sed 's|.*/||' | grep '^entry-' | sort >"$work/stored"
    sort "$work/acknowledged" >"$work/wanted"
    local lost
    lost=$(comm -23 "$work/wanted" "$work/stored" | wc -l)
    kill $watch 2>/dev/null
    [ "$lost" = 0 ] || { say "$lost acknowledged objects are lost"; return 1; }
    until_true 20 nodes_ready || return 1
    say "$(wc -l <"$work/wanted") acknowledged writes, none lost; nodes Ready"
}
nodes_ready() { [ "$(k get nodes --no-headers | awk '$2 == "Ready"' | wc -l)" = 3 ]; }

# A pod of an application asks for the cart, from its own node, which may always speak with its pods.
asks_cart() {
    local node address
    read -r node address <<<"$(k -n shop get pods -l "app=$1" -o jsonpath='{.items[0].spec.nodeName} {.items[0].status.podIP}')"
    ip netns exec "$(netns_of "$node")" curl -sS --max-time 2 \
        "http://$address:8080/fetch?url=http://cart.shop.svc.cluster.local/" | grep -q '"service": *"cart"'
}
may_not_ask() { ! asks_cart "$1"; }

# Who may speak with whom: told beforehand, in force at once, and gone with the policies.
network_policies() {
    asks_cart catalog || { say "catalog does not reach cart without policies"; return 1; }
    "$weft" policy diff -f configs/samples/policies/shop.yaml --dir "$cluster" | tee "$work/diff" | head -40
    grep -q '^  - shop/catalog.* -> shop/cart.* TCP 8080' "$work/diff" || { say "the difference is not told"; return 1; }
    k apply -f configs/samples/policies/ || return 1
    until_true 5 may_not_ask catalog || { say "catalog still reaches cart"; return 1; }
    asks_cart front || { say "front does not reach cart"; return 1; }
    curl -sS --max-time 3 "http://$(node_ip "$first"):30080/" | grep -q '"service": *"front"' || { say "front is shut"; return 1; }
    local cart
    cart=$(k -n shop get pods -l app=cart -o jsonpath='{.items[0].metadata.name}')
    "$weft" policy check --dir "$cluster" "shop/$(k -n shop get pods -l app=catalog -o jsonpath='{.items[0].metadata.name}')" "shop/$cart:http"
    [ $? = 1 ] || { say "weft policy check says otherwise"; return 1; }
    "$weft" policy log --dir "$cluster" | tee /dev/stderr | grep -q 'shop/catalog.* -> shop/cart' || { say "the refusal is not remembered"; return 1; }
    k delete -f configs/samples/policies/ || return 1
    until_true 5 asks_cart catalog || { say "catalog does not reach cart after the policies went"; return 1; }
    say "$(head -1 "$work/diff"); front passes, catalog is refused"
}

delete_shop() {
    k delete namespace shop ledger --timeout=90s || return 1
    local name left=0
    for name in $(k get nodes -o jsonpath='{.items[*].metadata.name}'); do
        rules_of "$name" | grep -n 30080 && left=1
    done
    pgrep -f "shop .*--name (cart|catalog|front)" && left=1
    [ "$(k get pods -A -o name | grep -c -E 'cart|catalog|front')" = 0 ] || left=1
    [ $left = 0 ] || { say "something of it is left"; return 1; }
    say "no container, rule or record of it is left"
}

cluster_down() {
    "$weft" down --dir "$cluster" || return 1
    pgrep -f "$cluster" && return 1
    grep "$cluster" /proc/self/mounts && return 1
    ip netns list | grep -w "$bridge-[0-9]*" && return 1
    say "no process, namespace or mount is left"
}

source scripts/demo-mesh.sh

echo "weft demo: $("$weft" --version), in $work"
if step "1. weft up --nodes 3" cluster_up; then
    export KUBECONFIG=$cluster/kubeconfig
    first=$(k get nodes -o jsonpath='{.items[0].metadata.name}')
    step "2. kubectl apply -f configs/samples/shop/" apply_shop
    step "3. a pod asks http://cart.shop.svc.cluster.local/" ask_by_name
    step "   replicas 1 -> 5 take their share within two seconds" scale_cart
    step "4. a NodePort answers from outside the nodes" node_port
    step "5. kill -9 of a pod's process" kill_container
    step "6. kill -9 of a node's daemon during a long transfer" kill_node_daemon
    step "   kill -9 of the control plane during writes" kill_control_plane
    step "7. NetworkPolicies: default-deny, and two that allow" network_policies
    step "8. mesh: label the namespace, and each pod has a sidecar" mesh_inject
    step "   mutual TLS between them, nothing to read on the wire" mesh_mutual_tls
    step "   a canary by HTTPRoute, weft route shift, none fails" mesh_canary
    step "   a Gateway and an Ingress let the outside in" mesh_gateway
    step "   strict, and by identity: others are told why" mesh_strict
    step "   weft why shop/front → shop/cart:80" mesh_why
    step "   without the control plane all goes on" mesh_without_control
    step "9. kubectl delete namespace shop" delete_shop
    [ "${KEEP:-}" = 1 ] || step "   weft down" cluster_down
fi
if [ $failures -eq 0 ]; then echo "all steps held"; else echo "$failures steps did not hold"; exit 1; fi
