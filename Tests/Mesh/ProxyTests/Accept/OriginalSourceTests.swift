import Bytes
import Reactor
import Testing

@testable import Proxy

/// TPROXY and the client's address, with the rules that Envoy's documentation gives for `original_src`.
@Suite(
    "Connections that are taken and given on as they were", .timeLimit(.minutes(1)),
    .enabled(if: NetworkNamespaceFile.isAvailable))
struct OriginalSourceTests {
    private static let types = "type.googleapis.com/envoy.extensions.filters"
    private static let mark: UInt32 = 1337

    /// The clients' addresses are nobody's in the proxy's namespace but for a route that takes what is marked. They are behind a router,
    /// which is the other end of a veth pair.
    private static let network = """
        ip link set lo up
        ip link add wire type veth peer name wire netns CLIENTS
        ip addr add 10.9.0.2/24 dev wire
        ip addr add fd09::2/64 dev wire nodad
        ip link set wire up
        for i in 1 3; do
          nsenter --net=CLIENTS ip addr add 10.9.0.$i/24 dev wire
          nsenter --net=CLIENTS ip addr add fd09::$i/64 dev wire nodad
        done
        nsenter --net=CLIENTS ip link set wire up
        ip route add default via 10.9.0.1
        ip -6 route add default via fd09::1
        for family in -4 -6; do
          ip $family rule add fwmark 1337 lookup 133
          ip $family route add local default dev lo table 133
        done
        nft -f - <<'END'
        table inet t {
          chain prerouting {
            type filter hook prerouting priority mangle;
            meta mark 1337 ct mark set 1337 accept
            iifname "wire" tcp dport 80-89 tproxy to :15006 accept
          }
          chain output {
            type route hook output priority mangle;
            meta l4proto tcp ct mark 1337 meta mark set 1337
          }
        }
        END
        """

    private static func http(_ name: String, _ filters: String, _ route: String) -> String {
        """
        { filters: [{ name: h, typed_config: { "@type": \(types).network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: \(name),
            http_filters: [\(filters){ name: r, typed_config: { "@type": \(types).http.router.v3.Router } }],
            route_config: { virtual_hosts: [{ name: v, domains: ["*"], routes: [{ match: { prefix: / }, \(route) }] }] } } }] }
        """
    }

    private static let answers = http(
        "app", "",
        "direct_response: { status: 200 }, response_headers_to_add: [{ header: { key: peer, value: \"%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%\" } }]"
    )

    /// A listener that takes everything, and an app on 80 to 89 of both families.
    private static func config(listenerFilter: String, httpFilter: String = "", chain: String? = nil) -> String {
        let apps = ["10.9.0.2", "fd09::2"].flatMap { address in
            (80...81).map { port in
                """
                  - { name: "app-\(address)-\(port)", address: { socket_address: { address: "\(address)", port_value: \(port) } }, filter_chains: [\(answers)] }

                """
            }
        }
        return """
            static_resources:
              listeners:
              - name: inbound
                address: { socket_address: { address: "::", port_value: 15006, ipv4_compat: true } }
                transparent: true
                listener_filters:
                - { name: d, typed_config: { "@type": \(types).listener.original_dst.v3.OriginalDst } }
            \(listenerFilter)
                filter_chains: [\(chain ?? http("in", httpFilter, "route: { cluster: out }"))]
            \(apps.joined())
              clusters:
              - { name: out, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, upstream_bind_config: { source_address: { address: 127.0.0.6, port_value: 0 } } }
            """
    }

    private static let listenerFilter =
        "    - { name: s, typed_config: { \"@type\": \(types).listener.original_src.v3.OriginalSrc, mark: 1337 } }"

    /// A client machine of two addresses a family.
    private struct Clients {
        let loop: EventLoop

        func connect(from source: String, to target: String) async throws -> RawClient {
            let (from, to) = (try #require(IPAddress(source)), try #require(SocketAddress(target)))
            return RawClient(try await StreamConnection.connect(to: to, on: loop, from: .ip(from, 0)))
        }

        /// Whom the app saw.
        func ask(_ client: RawClient, _ more: String = "") async throws -> String {
            try await client.send("GET / HTTP/1.1\r\nhost: app\r\n\(more)\r\n")
            let response = try await client.response()
            guard response.status == 200 else { return "\(response.status) \(response.body)" }
            return response["peer"] ?? "nobody"
        }
    }

    private func run(
        _ config: String, _ body: @escaping @Sendable (Clients) async throws -> Void
    ) async throws {
        let (proxy, outside) = (try NetworkNamespaceFile(), try NetworkNamespaceFile())
        let group = try EventLoopGroup(count: 1, name: "clients")
        do {
            let script = Self.network.replacing("netns CLIENTS", with: "netns \(outside.path)")
                .replacing("net=CLIENTS", with: "net=\(outside.path)")
            try await proxy.run(script, on: group.all[0])
            try await group.all[0].perform { try outside.enter() }
            try await ProxyBench.run(config, workers: 2, namespace: proxy) { _ in
                try await body(Clients(loop: group.all[0]))
            }
        } catch {
            await group.shutdown()
            throw error
        }
        await group.shutdown()
    }

    private static let rows = [
        ("10.9.0.1", "10.9.0.2:80"), ("10.9.0.3", "10.9.0.2:80"), ("10.9.0.1", "10.9.0.2:81"),
        ("fd09::1", "[fd09::2]:80"), ("fd09::3", "[fd09::2]:81"),
    ]

    /// An address without its port.
    private static func host(_ peer: String) -> String {
        SocketAddress(peer)?.address.map { "\($0)" } ?? peer
    }

    @Test("HTTP: the app sees each client by its own address, and no client's connection serves another")
    func http() async throws {
        try await run(Self.config(listenerFilter: Self.listenerFilter)) { clients in
            var open: [(String, RawClient, String)] = []
            for (source, target) in Self.rows {
                let client = try await clients.connect(from: source, to: target)
                let peer = try await clients.ask(client)
                #expect(Self.host(peer) == source, "\(source) to \(target): \(peer)")
                open.append((source, client, peer))
            }
            // In turn, over connections that are there.
            for (source, client, before) in open + open {
                let peer = try await clients.ask(client)
                #expect(peer == before, "\(source)")
            }
            #expect(Set(open.map(\.2)).count == open.count)
        }
    }

    @Test("TCP: the app sees each client by its own address, and answers reach it whole")
    func tcp() async throws {
        let chain =
            "{ filters: [{ name: t, typed_config: { \"@type\": \(Self.types).network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: out } }] }"
        try await run(Self.config(listenerFilter: Self.listenerFilter, chain: chain)) { clients in
            for (source, target) in Self.rows + Self.rows {
                let client = try await clients.connect(from: source, to: target)
                let peer = try await clients.ask(client)
                #expect(Self.host(peer) == source, "\(source) to \(target): \(peer)")
            }
        }
    }

    @Test("HTTP's own filter goes by x-forwarded-for where that is trusted, and else by the connection")
    func httpFilter() async throws {
        let filter =
            "{ name: s, typed_config: { \"@type\": \(Self.types).http.original_src.v3.OriginalSrc, mark: 1337 } }, "
        try await run(Self.config(listenerFilter: "", httpFilter: filter)) { clients in
            let client = try await clients.connect(from: "10.9.0.1", to: "10.9.0.2:80")
            for (more, seen) in [
                ("", "10.9.0.1"), ("x-forwarded-for: 10.9.0.3\r\n", "10.9.0.3"),
                ("x-forwarded-for: 198.51.100.7\r\n", "198.51.100.7"), ("", "10.9.0.1"),
            ] {
                let peer = try await clients.ask(client, more)
                #expect(Self.host(peer) == seen, "\(more): \(peer)")
            }
        }
    }

    @Test("without the filter, the app sees the address that the cluster is bound to")
    func plain() async throws {
        try await run(Self.config(listenerFilter: "")) { clients in
            let client = try await clients.connect(from: "10.9.0.1", to: "10.9.0.2:80")
            #expect(Self.host(try await clients.ask(client)) == "127.0.0.6")
        }
    }
}
