import Bytes
import HTTP
import Reactor
import Synchronization
import TestSupport
import Testing

@testable import Proxy

/// Clusters, listeners and endpoints from files that are replaced again and again under load.
@Suite("Reloading under load", .timeLimit(.minutes(3)))
struct ReloadTests {
    private static let type = "type.googleapis.com/envoy"

    private struct Files {
        let folder: ScratchFolder
        let ports: [UInt16]

        func write(_ name: String, _ text: String) throws {
            try Reactor.Files.writeAtomically("\(folder.path)/\(name)", text)
        }

        func source(_ name: String) -> String { "{ path_config_source: { path: \(folder.path)/\(name) } }" }

        var bootstrap: String {
            "dynamic_resources: { cds_config: \(source("cds")), lds_config: \(source("lds")) }\n"
        }

        /// Everything is another in each round: hosts, the cluster's settings, the chain; and of the listener, in turn, nothing,
        /// its buffers, its queue or its turns.
        func write(round: Int) throws {
            let hosts = [round, round + 1].map { number in
                "{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(ports[number % ports.count]) } } } }"
            }
            let endpoints = """
                { resources: [ { "@type": \(type).config.endpoint.v3.ClusterLoadAssignment, cluster_name: c,
                  endpoints: [ { lb_endpoints: [ \(hosts.joined(separator: ", ")) ] } ] } ] }
                """
            let clusters = """
                { resources: [ { "@type": \(type).config.cluster.v3.Cluster, name: c, type: EDS,
                  connect_timeout: \(10 + round)s, eds_cluster_config: { eds_config: \(source("eds")) } } ] }
                """
            let change = [
                "", "per_connection_buffer_limit_bytes: \(1_000_000 + round),", "tcp_backlog_size: \(200 + round),",
                "max_connections_to_accept_per_socket_event: \(10 + round),",
            ]
            let listeners = """
                { resources: [ { "@type": \(type).config.listener.v3.Listener, name: main,
                  \(change[round % change.count])
                  address: { socket_address: { address: 127.0.0.1, port_value: 0 } },
                  filter_chains: [ { filters: [ { name: hcm, typed_config: {
                    "@type": \(type).extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
                    stat_prefix: t, route_config: { name: r, virtual_hosts: [ { name: v, domains: ["*"],
                      response_headers_to_add: [ { header: { key: x-round, value: "\(round)" } } ],
                      routes: [ { match: { prefix: / }, route: { cluster: c } } ] } ] },
                    http_filters: [ { name: router, typed_config: {
                      "@type": \(type).extensions.filters.http.router.v3.Router } } ] } } ] } ] } ] }
                """
            try write("eds", endpoints)
            try write("cds", clusters)
            try write("lds", listeners)
        }

        private var type: String { ReloadTests.type }
    }

    /// What clients saw.
    private final class Seen: Sendable {
        let failures = Mutex<[String]>([])
        let answers = Mutex(0)
        /// The round of each client's last answer.
        let rounds = Mutex<[Int: Int]>([:])
        let isOver = Mutex(false)
    }

    /// Asks without a pause, by requests that nobody may repeat.
    private static func ask(_ client: HTTPClient, _ number: Int, _ seen: Seen) async {
        while !seen.isOver.withLock({ $0 }) {
            do {
                let answer = try await client.request("POST", "/", body: Array("hello".utf8), timeout: .seconds(60))
                let round = answer.headers["x-round"].flatMap { Int($0) } ?? -1
                if answer.status == 200, answer.text == "hello" {
                    seen.answers.withLock { $0 += 1 }
                    seen.rounds.withLock { $0[number] = round }
                } else {
                    seen.failures.withLock { $0.append("\(number): \(answer.status) \(answer.headers) \(answer.text)") }
                }
            } catch { seen.failures.withLock { $0.append("\(number): \(error)") } }
        }
    }

    @Test("no request fails, whatever changes", arguments: [false, true])
    func lossless(drainsAtOnce: Bool) async throws {
        let group = try EventLoopGroup(count: 1, name: "peers")
        let loop = group.all[0]
        var upstreams: [HTTPServer] = []
        var ports: [UInt16] = []
        for _ in 0..<3 {
            let server = HTTPServer(
                group: group, address: .ip(.loopbackV4, 0),
                handler: HTTPClosureHandler { request, response in
                    try? await loop.sleep(for: .milliseconds(3))
                    await response.send(status: 200, body: request.body)
                })
            ports.append(try await server.start().port?.rawValue ?? 0)
            upstreams.append(server)
        }
        let files = Files(folder: try ScratchFolder(), ports: ports)
        var options = ServerOptions()
        options.drainTime = .seconds(8)
        options.drainsAtOnce = drainsAtOnce
        try files.write(round: 0)
        let seen = Seen()
        try await ProxyBench.run(files.bootstrap, workers: 2, options: options) { bench in
            var endpoint = try #require(HTTPEndpoint(try await bench.address()))
            var clients: [HTTPClient] = []
            for dialect in [HTTPEndpoint.Dialect.http1, .http2] {
                endpoint.dialect = dialect
                for _ in 0..<4 { clients.append(HTTPClient(on: loop, endpoint: endpoint)) }
            }
            let fresh = endpoint
            let all = clients
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                defer { seen.isOver.withLock { $0 = true } }
                for (number, client) in all.enumerated() {
                    for _ in 0..<3 { tasks.addTask { await Self.ask(client, number, seen) } }
                }
                for round in 1...14 {
                    let before = seen.answers.withLock { $0 }
                    try files.write(round: round)
                    try await bench.until {
                        let client = HTTPClient(on: loop, endpoint: fresh)
                        let answer = try await client.request("GET", "/", timeout: .seconds(60))
                        return answer.headers["x-round"] == "\(round)"
                    }
                    try await bench.until { seen.answers.withLock { $0 } > before + 24 }
                }
                // Everybody has gone to the last one of his own accord, told by the proxy.
                try await bench.until {
                    seen.rounds.withLock { $0.count == all.count && $0.values.allSatisfy { $0 == 14 } }
                }
                seen.isOver.withLock { $0 = true }
                try await tasks.waitForAll()
            }
            for client in all { client.close() }
            #expect(bench.server.problems.count == 0)
        }
        let failures = seen.failures.withLock { $0 }
        #expect(failures.isEmpty, "\(failures.count) of \(seen.answers.withLock { $0 }): \(failures.prefix(5))")
        for server in upstreams { await server.drain(deadline: .zero) }
        await group.shutdown()
    }

    @Test("a listener whose socket is made otherwise keeps the port that the kernel chose")
    func otherSocket() async throws {
        func text(_ options: String) -> String {
            ProxyBench.http(routes: "- match: { prefix: / }\n  direct_response: { status: 200 }", clusters: 0)
                .split(separator: "- name: main\n", omittingEmptySubsequences: false)
                .joined(separator: "- name: main\n    \(options)\n")
        }
        try await ProxyBench.run(text(""), workers: 2) { bench in
            let address = try await bench.address()
            // SO_SNDBUF
            try await bench.reload(text("socket_options: [ { level: 1, name: 7, int_value: 100000 } ]"))
            let next = try await bench.address()
            #expect(next == address)
            let answer = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(answer.status == 200)
        }
    }
}
