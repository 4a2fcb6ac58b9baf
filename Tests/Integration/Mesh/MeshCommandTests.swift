import Glibc
import JSON
import Reactor
import Testing

/// What a person asks of a mesh that runs: `weft proxy`, `why`, `tap` and `route`, with the real programs.
@Suite(
    "Questions to a mesh", .serialized,
    .enabled(if: OtherMachine.hasMesh, "root, all programs, kubectl"),
    .timeLimit(.minutes(10)))
struct MeshCommandTests {
    private static let objects =
        Shop.namespace + Shop.server("cart") + Shop.server("cart-v2")
        + Shop.pod("plain", "exec sleep 3600", labels: #"mesh.weft.dev/inject: "false""#)

    private static let denial = """
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: deny-cart, namespace: shop}
        spec: {podSelector: {matchLabels: {app: cart}}, policyTypes: [Ingress]}
        """

    private let cluster: MeshedMachine

    init() throws { cluster = try MeshedMachine() }

    @Test("status, why, tap, routes and what stands in the way, of a mesh of four pods")
    func questions() throws {
        try cluster.apply(Self.objects)
        try cluster.apply(Shop.client("web"))
        try cluster.waitReady("web", "cart", "cart-v2", "plain")

        let status = try cluster.eventually("all proxies are well", { try cluster.weft("proxy", "status") }) {
            $0.succeeded && $0.text.contains("shop/web")
        }
        for word in ["shop/cart ", "shop/cart-v2", "SYNCED", "sidecar"] {
            #expect(status.text.contains(word), "\(status.text)")
        }
        #expect(!status.text.contains("shop/plain"))

        let why = try cluster.eventually(
            "the way is open", { try cluster.weft("why", "shop/web", "->", "shop/cart:80") }
        ) {
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
        let fault = try cluster.weft("route", "fault", "shop/cart", "--abort", "418=100%")
        #expect(fault.succeeded && fault.text.contains("none  ->  abort=418:100%"), "\(fault.text)")
        let tap = try cluster.eventually(
            "requests fail on purpose",
            {
                try cluster.weft("tap", "shop/web", "--status", "418", "--limit", "1", "--for", "10", "-o", "json")
            }
        ) { $0.text.contains("fault_filter_abort") }
        let id = try JSONValue.parse(Array(tap.text.utf8))["id"]?.string ?? ""
        let explained = try cluster.weft("proxy", "explain", "shop/web", id)
        #expect(explained.succeeded && explained.text.contains("418"), "\(explained.text)")
        #expect(try cluster.weft("route", "fault", "shop/cart", "--off").succeeded)
        try cluster.eventually(
            "they go well again",
            {
                try cluster.weft("tap", "shop/web", "--status", "200", "--limit", "1", "--for", "5", "-o", "json")
            }
        ) { $0.text.contains("via_upstream") }
    }

    private func tapAndShift() throws {
        let tap = try cluster.weft(
            "tap", "shop/web", "--direction", "outbound", "--limit", "3", "--for", "60", "-o", "json")
        let lines = tap.text.split(separator: "\n").compactMap { try? JSONValue.parse(Array($0.utf8)) }
        #expect(tap.succeeded && lines.count == 3, "\(tap.text)")
        #expect(lines.allSatisfy { $0["status"] == 200 && $0["pod"] == "web" && $0["tls"] == true }, "\(tap.text)")
        #expect(lines.allSatisfy { $0["peer"] == "spiffe://cluster.local/ns/shop/sa/default" }, "\(tap.text)")

        let shift = try cluster.weft("route", "shift", "shop/cart", "v2=100%")
        #expect(shift.succeeded && shift.text.contains("HTTPRoute shop/cart was made"), "\(shift.text)")
        let list = try cluster.weft("route", "list")
        #expect(list.succeeded && list.text.contains("cart:80 0%, cart-v2:80 100%"), "\(list.text)")
        try cluster.eventually(
            "requests go to version 2",
            {
                try cluster.weft(
                    "tap", "shop/web", "--direction", "outbound", "--limit", "1", "--for", "10", "-o", "json")
            }
        ) { $0.text.contains("outbound|80||cart-v2.shop.svc.cluster.local") }
        let again = try cluster.weft("route", "shift", "shop/cart", "cart=3", "cart-v2=1")
        #expect(again.succeeded && again.text.contains("cart:80 75%, cart-v2:80 25%"), "\(again.text)")
        let unknown = try cluster.weft("route", "shift", "shop/cart", "v9=1%")
        #expect(unknown.status == 3 && unknown.text.contains("backends now: cart, cart-v2"), "\(unknown.text)")
    }

    private func pages() throws {
        let routes = try cluster.eventually(
            "the table has the weights", { try cluster.weft("proxy", "config", "shop/web", "routes") }
        ) {
            $0.text.contains("75 outbound|80||cart.shop") || $0.text.contains("3 outbound|80||cart.shop")
        }
        #expect(routes.text.contains("cart.shop.svc.cluster.local:80"))
        let secrets = try cluster.weft("proxy", "config", "shop/web", "secrets")
        #expect(secrets.text.contains("spiffe://cluster.local/ns/shop/sa/default"), "\(secrets.text)")
        let all = try cluster.weft("proxy", "config", "shop/web", "-o", "json")
        #expect(all.succeeded && !all.text.contains("PRIVATE KEY"))
        let log = try cluster.weft("proxy", "log", "shop/web", "--level", "debug")
        #expect(log.succeeded && log.text.contains("debug"), "\(log.text)")
        let nobody = try cluster.weft("proxy", "log", "shop/plain")
        #expect(nobody.status == 3 && nobody.text.contains("inject"), "\(nobody.text)")

        let metrics = try cluster.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/mesh/shop/web/stats/prometheus")
        let line = metrics.split(separator: "\n").first {
            $0.hasPrefix("istio_requests_total{") && $0.contains(#"destination_service_name="cart""#)
        }
        #expect(line?.contains(#"reporter="source",source_workload="web""#) == true, "\(line ?? "no such series")")
        #expect(line?.contains(#"destination_workload="cart"#) == true, "\(line ?? "no such series")")
        let inbound = try cluster.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/mesh/shop/cart/stats/prometheus")
        let mutual = inbound.split(separator: "\n").first {
            $0.hasPrefix("istio_requests_total{") && $0.contains(#"connection_security_policy="mutual_tls""#)
        }
        #expect(
            mutual?.contains(#"source_principal="spiffe://cluster.local/ns/shop/sa/default""#) == true,
            "\(mutual ?? "no such series")")
    }

    private func obstacles() throws {
        let open = try cluster.weft("why", "shop/plain", "->", "shop/cart:80")
        #expect(open.succeeded && open.text.contains("calls in plain text"), "\(open.text)")
        try cluster.apply(Shop.strict)
        let strict = try cluster.eventually(
            "plain text is refused", { try cluster.weft("why", "shop/plain", "→", "shop/cart:80") }
        ) {
            $0.status == 1
        }
        #expect(strict.text.contains("STRICT on port 8080") && strict.text.contains("What to change"), "\(strict.text)")
        #expect(try cluster.weft("why", "shop/web", "->", "shop/cart:80").succeeded)
        try cluster.apply(Self.denial)
        let denied = try cluster.weft("why", "shop/web", "->", "shop/cart:80", "-o", "json")
        let answer = try JSONValue.parse(Array(denied.text.utf8))
        #expect(denied.status == 1 && answer["works"] == false)
        let broken = (answer["findings"]?.array ?? []).filter { $0["verdict"] == "broken" }
        #expect(broken.compactMap { $0["topic"]?.string } == ["NetworkPolicy"], "\(denied.text)")
        #expect(try cluster.weft("why", "shop/web", "->", "shop/nothing").status == 3)
    }
}
