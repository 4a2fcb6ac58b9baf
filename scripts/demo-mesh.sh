# The mesh's steps of the demo: sidecars, mutual TLS, routes, a gateway, and why something is as it is. Sourced by demo.sh.

# What a pod of an application gets when it asks for a URL; further arguments are curl's. From the pod's own node.
ask_from() {
    local app=$1 url=$2 node address
    shift 2
    read -r node address <<<"$(k -n shop get pods -l "app=$app" -o jsonpath='{.items[0].spec.nodeName} {.items[0].status.podIP}')"
    ip netns exec "$(netns_of "$node")" curl -sS --max-time 5 "$@" "http://$address:8080/fetch?url=$url"
}
cart_url=http://cart.shop.svc.cluster.local/

meshed_pods() {
    k -n shop get pods -o jsonpath='{range .items[?(@.status.phase=="Running")]}{.metadata.name}{" "}{.spec.initContainers[*].name}{"\n"}{end}'
}
all_meshed() { ! meshed_pods | grep -v 'weft-proxy' | grep -q .; }
all_synced() {
    "$weft" proxy status -n shop >"$work/proxies" 2>&1 || return 1
    [ "$(grep -c SYNCED "$work/proxies")" -ge "$(meshed_pods | wc -l)" ] && ! grep -qE 'STALE|NOT SENT|ERROR' "$work/proxies"
}

mesh_inject() {
    k label namespace shop mesh.weft.dev/inject=enabled || return 1
    k -n shop rollout restart deployment || return 1
    local deployment
    for deployment in cart catalog front; do
        k -n shop rollout status deployment/$deployment --timeout=90s || return 1
    done
    until_true 30 all_meshed || { meshed_pods; say "a pod has no sidecar"; return 1; }
    until_true 30 all_synced || { cat "$work/proxies"; say "proxies are not in step"; return 1; }
    cat "$work/proxies"
    say "$(meshed_pods | wc -l) pods, each with a proxy in step"
}

# A secret word goes from the front to the cart on another node; who listens on the wire between must not read it.
mesh_mutual_tls() {
    local word="open-sesame-$RANDOM"
    tcpdump -i "$bridge" -U -w "$work/wire" 'udp port 8472' 2>"$work/tcpdump" &
    local listener=$!
    background+=($listener)
    until_true 10 grep -q 'listening on' "$work/tcpdump" || return 1
    local i
    for i in $(seq 10); do
        ask_from front $cart_url -H "x-shop-word: $word" | grep -q '"service": *"cart"' || { say "no answer from cart"; return 1; }
    done
    sleep 1
    kill $listener
    wait $listener 2>/dev/null
    [ "$(stat -c %s "$work/wire")" -gt 1000 ] || { say "nothing was heard on the wire"; return 1; }
    ! grep -qa "$word" "$work/wire" || { say "the word was read on the wire"; return 1; }
    # A pod without a sidecar still gets through.
    k -n default run outsider --restart=Never --image=weft.local/host --labels=app=outsider -- \
        shop --listen :8080 --name outsider || return 1
    k -n default wait --for=condition=Ready pod/outsider --timeout=30s || return 1
    outsider_gets 200 || { say "the pod without a sidecar got $(cat "$work/code")"; return 1; }
    say "$(stat -c %s "$work/wire") bytes on the wire, none readable; a pod without a sidecar gets through"
}
outsider_gets() {
    local node address
    read -r node address <<<"$(k get pod outsider -o jsonpath='{.spec.nodeName} {.status.podIP}')"
    ip netns exec "$(netns_of "$node")" curl -sS --max-time 5 -o "$work/page" -w '%{http_code}' \
        "http://$address:8080/fetch?url=$cart_url" >"$work/code"
    [ "$(cat "$work/code")" = "$1" ]
}

mesh_strict() {
    k apply -f configs/samples/mesh/30-strict.yaml || return 1
    until_true 10 outsider_gets 403 || { cat "$work/page"; say "the pod without a sidecar got $(cat "$work/code")"; return 1; }
    cat "$work/page"
    ask_from front $cart_url | grep -q '"service": *"cart"' || { say "front does not reach cart"; return 1; }
    ask_from catalog $cart_url -o "$work/denied" -w '%{http_code}' >"$work/code"
    [ "$(cat "$work/code")" = 403 ] || { cat "$work/denied"; say "catalog, which the policy does not name, got $(cat "$work/code")"; return 1; }
    say "refused: $(head -c 90 "$work/page" | tr '\n' ' ')"
}

# Requests from the front, one after another, until the file is gone: what each got.
keep_asking() {
    while [ -e "$work/asking" ]; do
        ask_from front $cart_url -o "$work/answer" -w '%{http_code} ' >>"$1" 2>&1
        grep -o '"version": *"[^"]*"' "$work/answer" >>"$1" || { echo failed; cat "$work/answer"; } >>"$1"
    done
}
shares() { grep -o '"version": *"[^"]*"' "$1" | sort | uniq -c | sed -E 's/ *([0-9]+) .*"(v[0-9]+)"/\2 \1  /' | tr -d '\n'; }

mesh_canary() {
    k apply -f configs/samples/mesh/10-cart-v2.yaml || return 1
    k -n shop rollout status deployment/cart-v2 --timeout=60s || return 1
    k apply -f configs/samples/mesh/20-cart-route.yaml || return 1
    touch "$work/asking"
    keep_asking "$work/canary" &
    local asker=$!
    until_true 30 eval "[ \$(grep -c version $work/canary) -ge 60 ]"
    local before
    before=$(shares "$work/canary")
    "$weft" route shift -n shop cart cart-v2=50% || { rm "$work/asking"; return 1; }
    local mark
    mark=$(wc -l <"$work/canary")
    k -n shop rollout restart deployment/cart-v2 deployment/cart || return 1
    until_true 60 eval "[ \$(grep -c version $work/canary) -ge $((mark + 60)) ]"
    k -n shop rollout status deployment/cart-v2 --timeout=60s || return 1
    rm "$work/asking"
    wait $asker
    tail -n "+$mark" "$work/canary" >"$work/canary-after"
    local i testers=0
    for i in $(seq 10); do
        ask_from front $cart_url -H 'x-shop-tester: yes' | grep -q '"version": *"v2"' && testers=$((testers + 1))
    done
    local failed
    failed=$(grep -c failed "$work/canary")
    [ "$failed" = 0 ] || { grep -A3 failed "$work/canary" | head -20; say "$failed requests failed"; return 1; }
    [ $testers = 10 ] || { say "testers got v2 $testers times of 10"; return 1; }
    say "90/10: ${before}50/50: $(shares "$work/canary-after"); testers always v2; none failed"
}

gateway_address() { k -n shop get gateway shop -o jsonpath='{.status.addresses[0].value}'; }
gateway_ready() {
    [ "$(k -n shop get gateway shop -o jsonpath='{.status.conditions[?(@.type=="Programmed")].status}')" = True ] && [ -n "$(gateway_address)" ]
}
through_gateway() {
    curl -sS --max-time 3 --cacert "$work/tls.crt" --resolve "shop.example.com:8443:$(gateway_address)" https://shop.example.com:8443/ |
        grep -q '"service": *"front"'
}
ingress_address() { k -n shop get ingress shop -o jsonpath='{.status.loadBalancer.ingress[0].ip}'; }
through_ingress() {
    [ -n "$(ingress_address)" ] && curl -sS --max-time 3 -H 'Host: old.example.com' "http://$(ingress_address)/" | grep -q '"service": *"front"'
}

mesh_gateway() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=shop.example.com \
        -addext subjectAltName=DNS:shop.example.com,DNS:old.example.com -keyout "$work/tls.key" -out "$work/tls.crt" || return 1
    k -n shop create secret tls shop-tls --cert "$work/tls.crt" --key "$work/tls.key" || return 1
    k apply -f configs/samples/mesh/40-gateway.yaml -f configs/samples/mesh/50-ingress.yaml || return 1
    until_true 60 gateway_ready || { k -n shop get gateway shop -o yaml; say "the gateway is not programmed"; return 1; }
    until_true 20 through_gateway || { say "no answer through the gateway"; return 1; }
    until_true 60 through_ingress || { k get pods -A; say "no answer through the Ingress"; return 1; }
    say "https://shop.example.com:8443 at $(gateway_address), and by Ingress"
}

mesh_why() {
    "$weft" why 'shop/front → shop/cart:80' | tee "$work/why" || { say "weft why says that it does not work"; return 1; }
    grep -q 'spiffe://cluster.local/ns/shop/sa/' "$work/why" || { say "no identity is told"; return 1; }
    "$weft" why 'shop/catalog → shop/cart:80' >"$work/why-not"
    [ $? -ne 0 ] || { cat "$work/why-not"; say "what is refused is not told"; return 1; }
    say "$(grep -v '^ *$' "$work/why" | wc -l) lines; refused for catalog: $(grep -o -m1 'AuthorizationPolicy .*' "$work/why-not" | head -c 60)"
}

# The control plane stays away for a while: everything in hand goes on.
mesh_without_control() {
    local supervisor pid i answered=0
    supervisor=$(cat "$cluster/run/supervisor.pid")
    pid=$(pid_of control)
    # Names first: without the API server nobody can be asked for them.
    local node address
    read -r node address <<<"$(k -n shop get pods -l app=front -o jsonpath='{.items[0].spec.nodeName} {.items[0].status.podIP}')"
    local namespace
    namespace=$(netns_of "$node")
    kill -STOP "$supervisor"
    kill -9 "$pid"
    for i in $(seq 50); do
        ip netns exec "$namespace" curl -sS --max-time 3 "http://$address:8080/fetch?url=$cart_url" | grep -q '"service": *"cart"' &&
            answered=$((answered + 1))
        sleep 0.1
    done
    kill -CONT "$supervisor"
    until_true 20 is_another control "$pid" || { say "the control plane did not return"; return 1; }
    [ $answered = 50 ] || { say "$answered of 50 requests were answered"; return 1; }
    until_true 30 nodes_ready || return 1
    until_true 30 all_synced || { cat "$work/proxies"; say "proxies are not in step after it"; return 1; }
    say "50 requests of 50 answered meanwhile; proxies are in step again"
}
