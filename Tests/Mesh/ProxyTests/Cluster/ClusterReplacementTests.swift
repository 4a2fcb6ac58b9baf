import Bytes
import Reactor
import Synchronization
import Testing
import XDS

@testable import Proxy

/// Requests and connections that are under way while another cluster comes in the place of theirs.
@Suite("A cluster in another's place", .timeLimit(.minutes(3)))
struct ClusterReplacementTests {
    /// Held by nobody here.
    private final class Traces: Sendable {
        struct Trace: @unchecked Sendable {
            weak let state: ClusterState?
            weak let settings: ClusterSettings?
        }
        let all = Mutex<[Trace]>([])

        func note(_ bench: ProxyBench) async throws {
            let worker = bench.worker
            let trace = try await worker.loop.perform {
                let state = worker.cluster(named: "c0")
                return Trace(state: state, settings: state?.settings)
            }
            all.withLock { $0.append(trace) }
        }

        /// Of how many something is still there.
        var remaining: Int { all.withLock { all in all.count { $0.state != nil || $0.settings != nil } } }
    }

    private static let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n"

    private static func configuration(_ hosts: [String], retry: String = "", cluster: String = "") -> String {
        let route = """
            - match: { prefix: / }
              route:
                cluster: c0
                timeout: 100s
                retry_policy: { retry_on: "5xx", num_retries: 1000000\(retry) }
            """
        let host = "- endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: $0 } } }"
        return ProxyBench.http(routes: route, cluster: cluster).replacing(
            host, with: hosts.map { host.replacing("$0", with: $0) }.joined(separator: "\n        "))
    }

    /// Says nothing to the first, and to everybody that he shall try elsewhere once somebody asks after that.
    private static let fails: ScriptedUpstream.Script = { _, number in
        let failure = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
        return switch number {
        case 0: .silence
        case 1: .answerOthers(failure)
        default: .answer(failure)
        }
    }

    /// Another request for the upstream, past the proxy.
    private static func ask(_ upstream: ScriptedUpstream, _ bench: ProxyBench) async throws {
        let address = SocketAddress.ip(.loopbackV4, Port(upstream.port))
        let client = try await StreamConnection.connect(to: address, on: bench.group.all[0])
        try await client.write(Array(Self.get.utf8))
    }

    @Test("a request is tried again in the new one, at a host where it was not, and the old one is let go")
    func retried() async throws {
        let avoids = """
            , host_selection_retry_max_attempts: 100, retry_host_predicate: [{ name: p, typed_config: {
              "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate } }]
            """.split(separator: "\n").joined(separator: " ")
        let traces = Traces()
        let upstreams = [Self.fails, ScriptedUpstream.says("new")]
        try await ProxyBench.run(Self.configuration(["$0"], retry: avoids), upstreams: upstreams) { bench in
            let client = try await bench.client()
            try await client.send(Self.get)
            try await bench.until { bench.upstreams[0].requests.count == 1 }
            try await traces.note(bench)
            // The host of before is the second now.
            let after = Self.configuration(
                ["$1", "$0"], retry: avoids, cluster: "per_connection_buffer_limit_bytes: 9000")
            try await bench.reload(after)
            try await Self.ask(bench.upstreams[0], bench)
            let answer = try await client.response()
            #expect(answer.status == 200)
            #expect(answer.body == "new")
            #expect(bench.upstreams[0].requests.count == 2)
            try await bench.until { traces.remaining == 0 }
            let worker = bench.worker
            let retries = try await worker.loop.perform { worker.cluster(named: "c0")?.breakers.count(.retries) }
            #expect(retries == 0)
        }
    }

    @Test("a request whose cluster is gone when it is to be tried again is told that there is nobody")
    func removed() async throws {
        let traces = Traces()
        try await ProxyBench.run(Self.configuration(["$0"]), upstreams: [Self.fails]) { bench in
            let client = try await bench.client()
            try await client.send(Self.get)
            try await bench.until { bench.upstreams[0].requests.count == 1 }
            try await traces.note(bench)
            var update = ResourceUpdate(kind: .cluster)
            update.removed = ["c0"]
            try await bench.server.apply(update)
            try await Self.ask(bench.upstreams[0], bench)
            let answer = try await client.response()
            #expect(answer.status == 503)
            #expect(answer.body == "no healthy upstream")
            try await bench.until { traces.remaining == 0 }
        }
    }

    @Test("a TCP client whose upstream refuses is connected to the host of the new one")
    func tcp() async throws {
        try await PlainUpstream.run { upstream in
            let tcp = ", max_connect_attempts: 1000000, backoff_options: { base_interval: 0.001s, max_interval: 0.01s }"
            let before = TCPProxyTests.configuration(PlainUpstream.refusingPort, tcp: tcp)
            try await ProxyBench.run(before) { bench in
                let client = try await bench.client().connection
                try await bench.until { await bench.stat("c", "upstream_cx_connect_fail") > 0 }
                try await bench.reload(
                    TCPProxyTests.configuration(
                        upstream.port, tcp: tcp, cluster: "per_connection_buffer_limit_bytes: 9000"))
                try await upstream.next().send("here")
                #expect(try await client.text(4) == "here")
            }
        }
    }

    private static let upstream = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

    @Test(
        "none is kept of many whose hosts are all dead, with requests that wait for a host",
        arguments: [
            "", "outlier_detection: { consecutive_5xx: 2, interval: 0.01s, base_ejection_time: 0.01s }",
            "health_checks: [{ timeout: 1s, interval: 0.01s, unhealthy_threshold: 1, healthy_threshold: 1, http_health_check: { path: / } }]",
            """
            typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
            "@type": \(upstream), explicit_http_config: { http2_protocol_options: {} } } }
            """,
            """
            transport_socket: { name: tls, typed_config: { \
            "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: a } }
            """,
        ])
    func dead(cluster: String) async throws {
        func configuration(_ round: Int) -> String {
            Self.configuration(
                ["1", "2"], retry: ", retry_back_off: { base_interval: 0.001s, max_interval: 0.004s }",
                cluster: "per_connection_buffer_limit_bytes: \(9000 + round)\n\(cluster)")
        }
        let traces = Traces()
        try await ProxyBench.run(configuration(0)) { bench in
            var clients: [RawClient] = []
            for _ in 0..<8 {
                let client = try await bench.client()
                try await client.send(Self.get)
                clients.append(client)
            }
            for round in 1...20 {
                let before = await bench.stat("c0", "upstream_rq_retry")
                try await bench.until { await bench.stat("c0", "upstream_rq_retry") > before + 8 }
                try await traces.note(bench)
                try await bench.reload(configuration(round))
            }
            try await bench.until { traces.remaining == 0 }
            for client in clients { client.connection.close() }
        }
    }
}
