import Bytes
import Reactor
import Testing

@testable import Proxy

@Suite(
    "Connections that netfilter redirected", .timeLimit(.minutes(1)), .enabled(if: NetworkNamespaceFile.isAvailable))
struct RedirectionTests {
    private static let types = "type.googleapis.com/envoy.extensions.filters"

    private static func says(_ text: String, _ match: String = "") -> String {
        "{ \(match) filters: [{ name: d, typed_config: { \"@type\": \(types).network.direct_response.v3.Config, response: { inline_string: \(text) } } }] }"
    }

    private static func listener(_ name: String, _ address: String, _ port: Int, _ more: String, _ chains: [String])
        -> String
    {
        "  - { name: \(name), address: { socket_address: { address: \"\(address)\", port_value: \(port) } }, \(more) filter_chains: [\(chains.joined(separator: ", "))] }\n"
    }

    /// Everything that goes out to a port below 100 comes to 15001.
    private static let redirection = """
        ip link set lo up
        ip route add local 192.0.2.0/24 dev lo
        ip -6 route add local 2001:db8::/64 dev lo
        nft -f - <<'END'
        table inet t {
          chain output { type nat hook output priority -100; tcp dport < 100 redirect to :15001; }
        }
        END
        """

    private func run(
        _ listeners: String, clusters: String = "", _ rows: [(target: String, answer: String)]
    ) async throws {
        let namespace = try NetworkNamespaceFile()
        let group = try EventLoopGroup(count: 1, name: "setup")
        do { try await namespace.run(Self.redirection, on: group.all[0]) } catch {
            await group.shutdown()
            throw error
        }
        await group.shutdown()
        let text = "static_resources:\n  listeners:\n" + listeners + clusters
        try await ProxyBench.run(text, workers: 2, namespace: namespace) { bench in
            for (target, answer) in rows {
                let address = try #require(SocketAddress(target))
                // Both workers, sooner or later.
                for _ in 0..<4 {
                    let client = try await StreamConnection.connect(to: address, on: bench.group.all[0])
                    #expect(try await client.rest() == answer, "\(target)")
                }
            }
        }
    }

    @Test("they go on to the listener of their first destination, which need not be bound")
    func handedOver() async throws {
        let inspector =
            "listener_filters: [{ name: h, filter_disabled: { any_match: true }, typed_config: { \"@type\": \(Self.types).listener.http_inspector.v3.HttpInspector } }],"
        let listeners =
            Self.listener("front", "0.0.0.0", 15001, "use_original_dst: true,", [Self.says("front")])
            + Self.listener("front6", "::", 15001, "use_original_dst: true,", [Self.says("front6")])
            + Self.listener("exact", "192.0.2.7", 80, "bind_to_port: false, \(inspector)", [Self.says("exact")])
            + Self.listener("wild", "0.0.0.0", 81, "bind_to_port: false,", [Self.says("wild")])
            + Self.listener("six", "::", 82, "bind_to_port: false,", [Self.says("six")])
        try await run(
            listeners,
            [
                ("192.0.2.7:80", "exact"), ("192.0.2.8:80", "front"), ("192.0.2.8:81", "wild"),
                ("192.0.2.8:82", "front"), ("[2001:db8::1]:82", "six"), ("[2001:db8::1]:81", "front6"),
                ("127.0.0.1:15001", "front"),
            ])
    }

    @Test("chains are chosen by the first destination, with the original_dst filter")
    func chains() async throws {
        let filter =
            "listener_filters: [{ name: o, typed_config: { \"@type\": \(Self.types).listener.original_dst.v3.OriginalDst } }],"
        func match(_ text: String) -> String { "filter_chain_match: { \(text) }," }
        let chains = [
            Self.says("port", match("destination_port: 80")),
            Self.says("prefix", match("prefix_ranges: [{ address_prefix: 192.0.2.8, prefix_len: 32 }]")),
            Self.says("rest"),
        ]
        try await run(
            Self.listener("front", "0.0.0.0", 15001, filter, chains),
            [("192.0.2.7:80", "port"), ("192.0.2.8:81", "prefix"), ("192.0.2.9:81", "rest")])
    }

    @Test("they are carried to where they were going, by a cluster of original destinations")
    func carried() async throws {
        let proxy =
            "{ filters: [{ name: p, typed_config: { \"@type\": \(Self.types).network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: out } }] }"
        // Another port than that which is redirected: the proxy's own connections are of the same host.
        let cluster =
            "  clusters:\n  - { name: out, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: { upstream_port_override: 8080 } }"
        try await run(
            Self.listener("front", "0.0.0.0", 15001, "use_original_dst: true,", [proxy])
                + Self.listener("first", "192.0.2.7", 8080, "", [Self.says("first")])
                + Self.listener("second", "192.0.2.8", 8080, "", [Self.says("second")]), clusters: cluster,
            [("192.0.2.7:80", "first"), ("192.0.2.8:81", "second"), ("127.0.0.1:15001", "")])
    }

    @Test("freebind and transparent sockets listen where no interface is")
    func foreignAddresses() async throws {
        try await run(
            Self.listener("free", "198.51.100.1", 15002, "freebind: true,", [Self.says("free")])
                + Self.listener("transparent", "198.51.100.2", 15002, "transparent: true,", [Self.says("transparent")])
                + Self.listener("front", "0.0.0.0", 15001, "", [Self.says("front")]),
            [("127.0.0.1:80", "front")])
        await #expect(throws: ListenerRefusal.self) {
            try await self.run(Self.listener("main", "198.51.100.1", 15002, "", [Self.says("x")]), [])
        }
    }
}
