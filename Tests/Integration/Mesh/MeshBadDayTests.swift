import Glibc
import JSON
import Reactor
import Testing

/// What a person sees of a mesh whose node's program dies, and whose authority is away, with the real programs.
@Suite(
    "Bad days of a mesh", .serialized,
    .enabled(if: OtherMachine.hasMesh, "root, all programs, kubectl"),
    .timeLimit(.minutes(10)))
struct MeshBadDayTests {
    private static let objects = Shop.namespace + Shop.strict + Shop.server("cart")

    private static let route = """
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: cart, namespace: shop}
        spec:
          parentRefs: [{group: "", kind: Service, name: cart, port: 80}]
          rules:
          - filters: [{type: RequestRedirect, requestRedirect: {hostname: elsewhere, statusCode: 302}}]
        """

    private let cluster: MeshedMachine

    init() throws { cluster = try MeshedMachine() }

    private func areListed(_ status: String, _ pods: [String]) -> Bool {
        pods.allSatisfy { pod in
            status.split(separator: "\n").contains { $0.contains("\(pod).shop") || $0.contains("shop/\(pod)") }
        }
    }

    private func proxies() throws -> String { try cluster.weft("proxy", "status").text }

    private func processes(_ pod: String) throws -> String {
        try cluster.field(
            ".status.initContainerStatuses[*].containerID} {.status.initContainerStatuses[*].restartCount", of: pod)
    }

    @Test(
        "weft-node killed beneath pods of the mesh: every request is answered, and their proxies hear of what comes after"
    )
    func nodeKilled() throws {
        try cluster.apply(Self.objects)
        try cluster.waitReady("cart")
        try cluster.apply(Shop.client("web"))
        try cluster.waitReady("web")
        try cluster.eventually("it is answered by mutual TLS") {
            try cluster.lines(of: "web").joined(separator: " ")
        } _: {
            $0.hasSuffix("200 200 200")
        }
        try cluster.eventually("both proxies are connected", proxies) { areListed($0, ["web", "cart"]) }
        let before = try (web: processes("web"), cart: processes("cart"))
        let known = try cluster.lines(of: "web").count

        let file = "\(cluster.machine.cluster)/run/node-1.pid"
        let node = try #require(Int32(try Files.readText(file, limit: 64).prefix { $0.isNumber }))
        kill(node, SIGKILL)
        try cluster.eventually("its program is started again") {
            try Files.readText(file, limit: 64)
        } _: { text in
            Int32(text.prefix { $0.isNumber }).map { $0 != node } ?? false
        }
        // A route that comes now reaches them through sockets that came back.
        try cluster.eventually("requests went on") {
            try "\(cluster.lines(of: "web").count)"
        } _: {
            (Int($0) ?? 0) > known + 20
        }
        let meanwhile = try cluster.lines(of: "web").dropFirst(known)
        #expect(known > 0 && meanwhile.count > 20)
        #expect(meanwhile.allSatisfy { $0 == "200" }, "\(meanwhile.filter { $0 != "200" })")
        try cluster.eventually("both proxies are connected again", proxies) { areListed($0, ["web", "cart"]) }
        try cluster.apply(Self.route)
        try cluster.eventually("the route is obeyed") {
            try cluster.lastLine(of: "web")
        } _: {
            $0 == "302"
        }
        #expect(try processes("web") == before.web && processes("cart") == before.cart)
        // And a pod that comes later has its certificate from the new process.
        try cluster.apply(Shop.client("later"))
        try cluster.waitReady("later")
        try cluster.eventually("the later one is answered") {
            try cluster.lastLine(of: "later")
        } _: {
            $0 == "302"
        }
    }

    @Test(
        "an authority that is away when a pod starts: the pod waits, its events say for what, and it goes on by itself")
    func authorityAway() throws {
        try cluster.apply(Self.objects)
        try cluster.waitReady("cart")
        // Connections that stand are cut as well.
        try cluster.onNode(
            """
            nft 'add table inet away; add chain inet away in { type filter hook input priority -200; };
            add rule inet away in tcp dport 15012 reject with tcp reset'
            """)
        try cluster.apply(Shop.client("web"))
        try cluster.eventually("its events say why") {
            try cluster.describe("web")
        } _: {
            $0.contains("MeshCertificateMissing") && $0.contains("waits for its certificate")
        }
        #expect(
            try cluster.field(".status.containerStatuses[0].started", of: "web") != "true")
        try cluster.onNode("nft delete table inet away")
        try cluster.waitReady("web")
        try cluster.eventually("it is answered") {
            try cluster.lastLine(of: "web")
        } _: {
            $0 == "200"
        }
        #expect(try cluster.describe("web").contains("MeshCertificateIssued"))
    }

    @Test("a sidecar that is killed: its own pod alone suffers, is told as any container's end, and is back by itself")
    func sidecarKilled() throws {
        try cluster.apply(Self.objects + Shop.server("stock"))
        try cluster.waitReady("cart", "stock")
        try cluster.apply(Shop.client("web") + Shop.client("clerk", of: "stock"))
        try cluster.waitReady("web", "clerk")
        for pod in ["web", "clerk"] {
            try cluster.eventually("\(pod) is answered") {
                try cluster.lastLine(of: pod)
            } _: {
                $0 == "200"
            }
        }
        let before = try cluster.lines(of: "web").count
        let known = try cluster.lines(of: "clerk").count
        for (killed, round) in [("cart", "1"), ("web", "1"), ("cart", "2")] {
            kill(try cluster.sidecar(of: killed), SIGKILL)
            try cluster.eventually("the sidecar of \(killed) is back") {
                try cluster.field(
                    ".status.initContainerStatuses[0].restartCount} {.status.initContainerStatuses[0].ready",
                    of: killed)
            } _: {
                $0 == "\(round) true"
            }
            let count = try cluster.lines(of: "web").count
            try cluster.eventually("it is answered again") {
                try cluster.lines(of: "web").dropFirst(count).suffix(10)
            } _: {
                $0.count == 10 && $0.allSatisfy { $0 == "200" }
            }
        }
        let seen = Set(try cluster.lines(of: "web").dropFirst(before))
        // 000 is its own sidecar's absence, 503 that of the server's.
        #expect(seen.isSubset(of: ["200", "503", "000"]), "\(seen)")
        let others = try cluster.lines(of: "clerk").dropFirst(known)
        #expect(others.count > 10 && others.allSatisfy { $0 == "200" }, "\(others.filter { $0 != "200" })")
        let ends =
            ".status.initContainerStatuses[0].lastState.terminated.exitCode} {.status.containerStatuses[0].restartCount"
        #expect(try cluster.field(ends, of: "cart") == "137 0", "the application itself is left alone")
        let words = try cluster.describe("cart")
        #expect(words.contains("weft-proxy") && words.contains("137"))
    }

    @Test("a Service without endpoints: requests are answered with 503 at once, streams are closed, and it is said why")
    func noEndpoints() throws {
        let stream = Shop.service("store").replacing("name: http, port: 80", with: "name: tcp, port: 80")
        try cluster.apply(Shop.namespace + Shop.service("cart") + stream)
        let asks = #"curl -s -m 30 -w " %{http_code} %{exitcode}\n" http://$"#
        try cluster.apply(
            Shop.client("web")
                + Shop.pod("body", "while true; do \(asks)CART_SERVICE_HOST/; sleep 0.2; done")
                + Shop.pod("teller", "while true; do \(asks)STORE_SERVICE_HOST/; sleep 0.2; done"))
        try cluster.waitReady("web", "body", "teller")
        try cluster.eventually("requests are answered") {
            try cluster.lastLine(of: "body")
        } _: {
            $0.hasSuffix("503 0")
        }
        let tap = try cluster.weft(
            "tap", "shop/web", "--direction", "outbound", "--limit", "1", "--for", "30", "-o", "json")
        #expect(tap.text.contains(#""flags":"UH""#), "\(tap.text)")
        let metrics = try cluster.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/mesh/shop/web/stats/prometheus")
        let series = metrics.split(separator: "\n").filter {
            $0.hasPrefix("istio_requests_total{") && $0.contains(#"destination_service_name="cart""#)
        }
        #expect(series.contains { $0.contains(#"response_flags="UH""#) }, "\(series)")
        try cluster.eventually("the stream is closed") {
            try cluster.lastLine(of: "teller")
        } _: {
            $0.contains("000") && !$0.hasSuffix(" 28")
        }
        for server in ["cart", "store"] {
            let why = try cluster.weft("why", "shop/web", "->", "shop/\(server):80")
            #expect(why.status == 1 && why.text.contains("Service shop/\(server) has no endpoint"), "\(why.text)")
        }
        // A pod that comes heals it.
        try cluster.apply(Shop.backend("cart") + Shop.backend("store"))
        try cluster.waitReady("cart", "store")
        try cluster.eventually("requests go well") {
            try cluster.lastLine(of: "web")
        } _: {
            $0 == "200"
        }
        try cluster.eventually("streams go well") {
            try cluster.lastLine(of: "teller")
        } _: {
            $0.hasSuffix("200 0")
        }
        try cluster.eventually("why says so") {
            try cluster.weft("why", "shop/web", "->", "shop/cart:80")
        } _: {
            $0.succeeded
        }
    }
}
