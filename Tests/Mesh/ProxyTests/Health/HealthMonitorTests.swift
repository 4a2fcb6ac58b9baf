import Bytes
import Reactor
import Synchronization
import Testing

@testable import Proxy

@Suite("Active health checks")
struct HealthMonitorTests {
    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    private func run(
        _ check: String, _ upstreams: [ScriptedUpstream.Script], _ body: (ProxyBench) async throws -> Void
    ) async throws {
        let hosts = upstreams.indices.map { number in
            "{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: $\(number) } } } }"
        }
        let cluster = """

              - name: c
                common_lb_config: { healthy_panic_threshold: { value: 0 } }
                health_checks:
                - timeout: 5s
                  interval: 0.02s
                  no_traffic_interval: 0.02s
                  healthy_threshold: 1
                  unhealthy_threshold: 1
                  \(check)
                load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ \(hosts.joined(separator: ", ")) ] } ] }
            """
        let head = ProxyBench.http(routes: "- match: { prefix: / }\n  route: { cluster: c }", clusters: 0)
        try await ProxyBench.run(head + cluster, upstreams: upstreams, body)
    }

    @Test("take a host out that says no, bring it back, and are over once before the first request")
    func http() async throws {
        let isWell = Mutex(true)
        let script: ScriptedUpstream.Script = { request, _ in
            let ok = !request.hasPrefix("GET /health") || isWell.withLock { $0 }
            return .answer("HTTP/1.1 \(ok ? "200 OK" : "503 No")\r\ncontent-length: 1\r\n\r\nx")
        }
        try await run("http_health_check: { path: /health, host: probe }", [script]) { bench in
            let first = try await bench.exchange(get)
            #expect(first.status == 200)
            let asked = bench.upstreams[0].requests.first ?? ""
            #expect(asked.hasPrefix("GET /health HTTP/1.1\r\n"))
            #expect(asked.lowercased().contains("host: probe\r\n"))
            isWell.withLock { $0 = false }
            try await bench.until("c", "membership_healthy", is: 0)
            try await bench.until { try await bench.exchange(get).status == 503 }
            isWell.withLock { $0 = true }
            try await bench.until { try await bench.exchange(get).status == 200 }
            let attempts = await bench.stat("c", "health_check.attempt")
            #expect(attempts >= 3)
        }
    }

    @Test(
        "leave from the address that the cluster's connections leave from",
        arguments: ["tcp_health_check: {}", "http_health_check: { path: / }"])
    func source(check: String) async throws {
        let group = try EventLoopGroup(count: 1, name: "probed")
        let loop = group.all[0]
        let peers = Mutex<[String]>([])
        let probed = try await loop.perform {
            try Listener(.ip(.loopbackV4, 0), on: loop) { socket in
                peers.withLock { $0.append(socket.peer.address.map { "\($0)" } ?? "") }
                socket.close()
            }
        }
        let port = try #require(probed.address.port?.rawValue)
        let cluster = """

              - name: c
                upstream_bind_config: { source_address: { address: 127.0.0.9, port_value: 0 } }
                health_checks:
                - { timeout: 5s, interval: 1s, healthy_threshold: 1, unhealthy_threshold: 1, \(check) }
                load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ { endpoint: { address: {
                  socket_address: { address: 127.0.0.1, port_value: \(port) } } } } ] } ] }
            """
        let head = ProxyBench.http(routes: "- match: { prefix: / }\n  route: { cluster: c }", clusters: 0)
        try await ProxyBench.run(head + cluster) { bench in
            try await bench.until { !peers.withLock(\.isEmpty) }
            let seen = peers.withLock { Set($0) }
            #expect(seen == ["127.0.0.9"])
        }
        try await loop.perform { probed.close() }
        await group.shutdown()
    }

    @Test("over TCP ask for what is to come back")
    func tcp() async throws {
        // "GET / HTTP/1.1\r\n\r\n", and "OK".
        let check = """
            tcp_health_check: { send: { text: 474554202f20485454502f312e310d0a0d0a }, receive: [ { text: 4f4b } ] }
            """
        let good: ScriptedUpstream.Script = { _, _ in .answer("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na") }
        let bad: ScriptedUpstream.Script = { _, _ in .answerAndClose("HTTP/1.1 200 No\r\ncontent-length: 1\r\n\r\nb") }
        try await run(check, [good, bad]) { bench in
            let healthy = await bench.stat("c", "membership_healthy")
            #expect(healthy == 1)
            for _ in 0..<4 {
                let answer = try await bench.exchange(get)
                #expect(answer.body == "a")
            }
        }
    }
}
