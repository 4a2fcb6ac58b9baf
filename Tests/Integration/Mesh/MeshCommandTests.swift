import Glibc
import JSON
import Reactor
import Testing

/// What a person asks of a mesh that runs: `weft proxy`, `why`, `tap` and `route`, with the real programs.
@Suite(
    "Questions to a mesh", .serialized,
    .enabled(if: OtherMachine.isAvailable && OtherMachine.hasProxy, "root, all programs, kubectl"),
    .timeLimit(.minutes(10)))
struct MeshCommandTests {
    private static func server(_ name: String) -> String {
        """
        apiVersion: v1
        kind: Service
        metadata: {name: \(name), namespace: shop}
        spec: {selector: {app: \(name)}, ports: [{name: http, port: 80, targetPort: 8080}]}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: \(name), namespace: shop, labels: {app: \(name)}}
        spec:
          terminationGracePeriodSeconds: 1
          containers:
          - name: app
            image: weft.local/host
            command: [sh, -c, "mkdir -p /tmp/\(name) && cd /tmp/\(name) && exec python3 -m http.server 8080"]
            readinessProbe: {httpGet: {port: 8080, path: /}, periodSeconds: 1}
        ---

        """
    }

    private static let objects = """
        apiVersion: v1
        kind: Namespace
        metadata: {name: shop, labels: {mesh.weft.dev/inject: enabled}}
        ---

        """ + server("cart") + server("cart-v2") + """
            apiVersion: v1
            kind: Pod
            metadata: {name: plain, namespace: shop, labels: {app: plain, mesh.weft.dev/inject: "false"}}
            spec:
              terminationGracePeriodSeconds: 1
              containers: [{name: app, image: weft.local/host, command: [sleep, "3600"]}]
            """

    /// After the Services, so that their addresses are in its environment.
    private static let client = """
        apiVersion: v1
        kind: Pod
        metadata: {name: web, namespace: shop, labels: {app: web}}
        spec:
          terminationGracePeriodSeconds: 1
          containers:
          - name: app
            image: weft.local/host
            command: [sh, -c, "while true; do curl -s -o /dev/null http://$CART_SERVICE_HOST/; sleep 0.1; done"]
        """

    private static let strict = """
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {name: default, namespace: shop}
        spec: {mtls: {mode: STRICT}}
        """

    private static let denial = """
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: deny-cart, namespace: shop}
        spec: {podSelector: {matchLabels: {app: cart}}, policyTypes: [Ingress]}
        """

    private let machine: OtherMachine

    init() throws { machine = try OtherMachine() }

    private func weft(_ arguments: String...) throws -> OtherMachine.Output {
        try machine.weft(arguments + ["--dir", machine.cluster])
    }

    private func kubectl(_ arguments: String...) throws -> String {
        let output = try machine.run(
            ["kubectl", "--kubeconfig", machine.cluster + "/kubeconfig", "--cache-dir", machine.directory + "/kube"]
                + arguments)
        try #require(output.succeeded, "\(arguments): \(output.text)")
        return output.text
    }

    private func apply(_ text: String) throws {
        let file = machine.directory + "/manifest.yaml"
        try Files.writeAtomically(file, text)
        _ = try kubectl("apply", "-f", file)
    }

    /// Asks until the answer fits.
    @discardableResult
    private func eventually(
        _ what: String, _ ask: () throws -> OtherMachine.Output, _ fits: (OtherMachine.Output) -> Bool
    ) throws -> OtherMachine.Output {
        var last = OtherMachine.Output(status: -1, text: "")
        for _ in 0..<300 {
            last = try ask()
            if fits(last) { return last }
            usleep(200_000)
        }
        Issue.record("not within a minute: \(what): exit \(last.status)\n\(last.text)")
        return last
    }

    @Test("status, why, tap, routes and what stands in the way, of a mesh of four pods")
    func questions() throws {
        let up = try machine.weft("up", "--nodes", "1", "--dir", machine.cluster, "--without-dns")
        try #require(up.succeeded, "\(up.text)")
        try apply(Self.objects)
        try apply(Self.client)
        _ = try kubectl(
            "wait", "-n", "shop", "pod/web", "pod/cart", "pod/cart-v2", "pod/plain", "--for=condition=Ready",
            "--timeout=120s")

        let status = try eventually("all proxies are well", { try weft("proxy", "status") }) {
            $0.succeeded && $0.text.contains("shop/web")
        }
        for word in ["shop/cart ", "shop/cart-v2", "SYNCED", "sidecar"] {
            #expect(status.text.contains(word), "\(status.text)")
        }
        #expect(!status.text.contains("shop/plain"))

        let why = try eventually("the way is open", { try weft("why", "shop/web", "->", "shop/cart:80") }) {
            $0.succeeded
        }
        for words in [
            "cart.shop.svc.cluster.local is 10.", "NetworkPolicy", "1 of 1 ready", "mutual TLS",
            "spiffe://cluster.local/ns/shop/sa/default", "valid until", "PERMISSIVE on port 8080", "1 of 1 healthy",
        ] {
            #expect(why.text.contains(words), "no \(words) in \(why.text)")
        }
        try tapAndShift()
        try pages()
        try faults()
        try obstacles()
    }

    private func faults() throws {
        let fault = try weft("route", "fault", "shop/cart", "--abort", "418=100%")
        #expect(fault.succeeded && fault.text.contains("none  ->  abort=418:100%"), "\(fault.text)")
        let tap = try eventually(
            "requests fail on purpose",
            {
                try weft("tap", "shop/web", "--status", "418", "--limit", "1", "--for", "10", "-o", "json")
            }
        ) { $0.text.contains("fault_filter_abort") }
        let id = try JSONValue.parse(Array(tap.text.utf8))["id"]?.string ?? ""
        let explained = try weft("proxy", "explain", "shop/web", id)
        #expect(explained.succeeded && explained.text.contains("418"), "\(explained.text)")
        #expect(try weft("route", "fault", "shop/cart", "--off").succeeded)
        try eventually(
            "they go well again",
            {
                try weft("tap", "shop/web", "--status", "200", "--limit", "1", "--for", "5", "-o", "json")
            }
        ) { $0.text.contains("via_upstream") }
    }

    private func tapAndShift() throws {
        let tap = try weft("tap", "shop/web", "--direction", "outbound", "--limit", "3", "--for", "60", "-o", "json")
        let lines = tap.text.split(separator: "\n").compactMap { try? JSONValue.parse(Array($0.utf8)) }
        #expect(tap.succeeded && lines.count == 3, "\(tap.text)")
        #expect(lines.allSatisfy { $0["status"] == 200 && $0["pod"] == "web" && $0["tls"] == true }, "\(tap.text)")
        #expect(lines.allSatisfy { $0["peer"] == "spiffe://cluster.local/ns/shop/sa/default" }, "\(tap.text)")

        let shift = try weft("route", "shift", "shop/cart", "v2=100%")
        #expect(shift.succeeded && shift.text.contains("HTTPRoute shop/cart was made"), "\(shift.text)")
        let list = try weft("route", "list")
        #expect(list.succeeded && list.text.contains("cart:80 0%, cart-v2:80 100%"), "\(list.text)")
        try eventually(
            "requests go to version 2",
            {
                try weft("tap", "shop/web", "--direction", "outbound", "--limit", "1", "--for", "10", "-o", "json")
            }
        ) { $0.text.contains("outbound|80||cart-v2.shop.svc.cluster.local") }
        let again = try weft("route", "shift", "shop/cart", "cart=3", "cart-v2=1")
        #expect(again.succeeded && again.text.contains("cart:80 75%, cart-v2:80 25%"), "\(again.text)")
        let unknown = try weft("route", "shift", "shop/cart", "v9=1%")
        #expect(unknown.status == 3 && unknown.text.contains("backends now: cart, cart-v2"), "\(unknown.text)")
    }

    private func pages() throws {
        let routes = try eventually("the table has the weights", { try weft("proxy", "config", "shop/web", "routes") })
        {
            $0.text.contains("75 outbound|80||cart.shop") || $0.text.contains("3 outbound|80||cart.shop")
        }
        #expect(routes.text.contains("cart.shop.svc.cluster.local:80"))
        let secrets = try weft("proxy", "config", "shop/web", "secrets")
        #expect(secrets.text.contains("spiffe://cluster.local/ns/shop/sa/default"), "\(secrets.text)")
        let all = try weft("proxy", "config", "shop/web", "-o", "json")
        #expect(all.succeeded && !all.text.contains("PRIVATE KEY"))
        let log = try weft("proxy", "log", "shop/web", "--level", "debug")
        #expect(log.succeeded && log.text.contains("debug"), "\(log.text)")
        let nobody = try weft("proxy", "log", "shop/plain")
        #expect(nobody.status == 3 && nobody.text.contains("inject"), "\(nobody.text)")

        let metrics = try kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/mesh/shop/web/stats/prometheus")
        let line = metrics.split(separator: "\n").first {
            $0.hasPrefix("istio_requests_total{") && $0.contains(#"destination_service_name="cart""#)
        }
        #expect(line?.contains(#"reporter="source",source_workload="web""#) == true, "\(line ?? "no such series")")
        #expect(line?.contains(#"destination_workload="cart"#) == true, "\(line ?? "no such series")")
        let inbound = try kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/mesh/shop/cart/stats/prometheus")
        let mutual = inbound.split(separator: "\n").first {
            $0.hasPrefix("istio_requests_total{") && $0.contains(#"connection_security_policy="mutual_tls""#)
        }
        #expect(
            mutual?.contains(#"source_principal="spiffe://cluster.local/ns/shop/sa/default""#) == true,
            "\(mutual ?? "no such series")")
    }

    private func obstacles() throws {
        let open = try weft("why", "shop/plain", "->", "shop/cart:80")
        #expect(open.succeeded && open.text.contains("calls in plain text"), "\(open.text)")
        try apply(Self.strict)
        let strict = try eventually("plain text is refused", { try weft("why", "shop/plain", "→", "shop/cart:80") }) {
            $0.status == 1
        }
        #expect(strict.text.contains("STRICT on port 8080") && strict.text.contains("What to change"), "\(strict.text)")
        #expect(try weft("why", "shop/web", "->", "shop/cart:80").succeeded)
        try apply(Self.denial)
        let denied = try weft("why", "shop/web", "->", "shop/cart:80", "-o", "json")
        let answer = try JSONValue.parse(Array(denied.text.utf8))
        #expect(denied.status == 1 && answer["works"] == false)
        let broken = (answer["findings"]?.array ?? []).filter { $0["verdict"] == "broken" }
        #expect(broken.compactMap { $0["topic"]?.string } == ["NetworkPolicy"], "\(denied.text)")
        #expect(try weft("why", "shop/web", "->", "shop/nothing").status == 3)
    }
}
