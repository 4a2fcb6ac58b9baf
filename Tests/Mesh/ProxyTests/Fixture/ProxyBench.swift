import Bytes
import Reactor
import XDS

@testable import Proxy

/// A real proxy in this process, made from Envoy configuration, with scripted upstreams behind it and raw clients before it.
///
/// In the configuration `$0`, `$1` … are the ports of the upstreams; listeners say port 0 and are asked for what they got.
final class ProxyBench: Sendable {
    let group: EventLoopGroup
    let server: ProxyServer
    let upstreams: [ScriptedUpstream]

    /// Runs `body` beside a proxy and takes it down, whatever happens.
    static func run(
        _ configuration: String, upstreams scripts: [ScriptedUpstream.Script] = [], workers: Int = 1,
        options: ServerOptions = ServerOptions(), namespace: NetworkNamespaceFile? = nil,
        _ body: (ProxyBench) async throws -> Void
    ) async throws {
        let group = try EventLoopGroup(count: workers, name: "bench")
        if let namespace { for loop in group.all { try await loop.perform { try namespace.enter() } } }
        var upstreams: [ScriptedUpstream] = []
        for script in scripts { upstreams.append(try await ScriptedUpstream(on: group.all[0], script)) }
        let text = Self.filled(configuration, upstreams)
        let server = try ProxyServer(group, options)
        let bench = ProxyBench(group, server, upstreams)
        do {
            try await server.load(try Bootstrap.read([ConfigText(name: "test.yaml", text: text)]))
            try await body(bench)
        } catch {
            await bench.close()
            throw error
        }
        await bench.close()
    }

    private init(_ group: EventLoopGroup, _ server: ProxyServer, _ upstreams: [ScriptedUpstream]) {
        self.group = group
        self.server = server
        self.upstreams = upstreams
    }

    private func close() async {
        await server.close()
        for upstream in upstreams { upstream.close() }
        await group.shutdown()
    }

    /// The first of the proxy's workers.
    var worker: ProxyWorker { server.workers[0] }

    /// Takes another configuration of the same form, whose changes become those of the running proxy.
    func reload(_ configuration: String) async throws {
        try await server.load(
            try Bootstrap.read([ConfigText(name: "test.yaml", text: Self.filled(configuration, upstreams))]))
    }

    private static func filled(_ configuration: String, _ upstreams: [ScriptedUpstream]) -> String {
        var text = configuration
        for (index, upstream) in upstreams.enumerated().reversed() {
            text = text.split(separator: "$\(index)", omittingEmptySubsequences: false).joined(
                separator: "\(upstream.port)")
        }
        return text
    }

    func addresses(of listener: String) async -> [SocketAddress] { await server.addresses(of: listener) }

    /// Where a listener listens.
    func address(of listener: String = "main") async throws -> SocketAddress {
        guard let address = await server.addresses(of: listener).first else {
            throw Unexpected("no listener \(listener)")
        }
        return address
    }

    /// A counter or gauge of a cluster, by its name below `cluster.NAME.`; 0 when there is none yet.
    func stat(_ cluster: String, _ name: String) async -> Int64 {
        await server.clusterStats(cluster).first { $0.name == name }?.value ?? 0
    }

    /// Waits until a cluster's counter or gauge has a value.
    func until(_ cluster: String, _ name: String, is value: Int64) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            let found = await stat(cluster, name)
            if found == value { return }
            guard ContinuousClock.now < deadline else { throw Unexpected("\(name) is \(found), not \(value)") }
            try await group.all[0].sleep(for: .milliseconds(2))
        }
    }

    /// Waits until something holds.
    func until(_ holds: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while try await !holds() {
            guard ContinuousClock.now < deadline else { throw Unexpected("it did not come to hold") }
            try await group.all[0].sleep(for: .milliseconds(5))
        }
    }

    /// What the proxy has counted under a name; nil where it counts nothing.
    func counter(_ name: String) async -> UInt64? { await server.counter(name) }

    func client(_ listener: String = "main") async throws -> RawClient {
        RawClient(try await StreamConnection.connect(to: try await address(of: listener), on: group.all[0]))
    }

    /// One request on a connection of its own, and the whole answer.
    func exchange(_ request: String, _ listener: String = "main") async throws -> RawResponse {
        let client = try await client(listener)
        try await client.send(request)
        return try await client.response(toHead: request.hasPrefix("HEAD "))
    }

    /// A listener `main` with one connection manager, and clusters `c0`, `c1` … of one host each for `$0`, `$1` …
    ///
    /// - Parameters:
    ///   - routes: YAML of `routes`, a list, indented by nothing.
    ///   - filters: YAML of `http_filters` before the router, a list.
    ///   - manager: more fields of the connection manager.
    ///   - cluster: more fields of each cluster.
    static func http(
        routes: String = "- match: { prefix: / }\n  route: { cluster: c0 }", filters: String = "",
        manager: String = "", cluster: String = "", clusters count: Int = 1, domains: String = "[\"*\"]"
    ) -> String {
        """
        static_resources:
          listeners:
          - name: main
            address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
            filter_chains:
            - filters:
              - name: hcm
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                  stat_prefix: test
        \(indent(manager, 10))
                  route_config:
                    name: local
                    virtual_hosts:
                    - name: all
                      domains: \(domains)
                      routes:
        \(indent(routes, 14))
                  http_filters:
        \(indent(filters, 10))
                  - name: router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          clusters:
        \((0..<count).map { Self.cluster("c\($0)", "$\($0)", cluster) }.joined(separator: "\n"))
        """
    }

    private static func cluster(_ name: String, _ port: String, _ more: String) -> String {
        """
          - name: \(name)
            type: STATIC
            connect_timeout: 5s
        \(indent(more, 4))
            load_assignment:
              cluster_name: \(name)
              endpoints:
              - lb_endpoints:
                - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) } } }
        """
    }

    private static func indent(_ text: String, _ count: Int) -> String {
        text.split(separator: "\n").map { String(repeating: " ", count: count) + $0 }.joined(separator: "\n")
    }
}

/// What a test did not expect.
struct Unexpected: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
