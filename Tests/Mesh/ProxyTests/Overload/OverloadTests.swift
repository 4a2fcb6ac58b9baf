import Glibc
import Reactor
import Testing
import XDS

@testable import Proxy

@Suite("Overload", .timeLimit(.minutes(1)))
struct OverloadTests {
    private static let monitors = "type.googleapis.com/envoy.extensions.resource_monitors"
    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    /// A proxy whose heap, of which some is always in use, may be this large.
    private static func manager(_ heap: UInt64, _ actions: [String], connections: Int? = nil) -> String {
        let own = connections.map {
            ", { name: envoy.resource_monitors.global_downstream_max_connections, typed_config: { \"@type\": \(monitors).downstream_connections.v3.DownstreamConnectionsConfig, max_active_downstream_connections: \($0) } }"
        }
        return """
            overload_manager:
              refresh_interval: 0.01s
              resource_monitors: [ { name: heap, typed_config: { "@type": \(monitors).fixed_heap.v3.FixedHeapConfig, max_heap_size_bytes: \(heap) } }\(own ?? "") ]
              actions: [ \(actions.map { "{ name: envoy.overload_actions.\($0), triggers: [ { name: heap, threshold: { value: 0.9 } } ] }" }.joined(separator: ", ")) ]

            """
    }

    private static let plenty: UInt64 = 1 << 50

    @Test("requests are refused, and connections end after their answer, while memory is short")
    func requests() async throws {
        let http = ProxyBench.http()
        let short = Self.manager(1, ["stop_accepting_requests"])
        try await ProxyBench.run(short + http, upstreams: [ScriptedUpstream.says("well")]) { bench in
            try await bench.until { try await bench.exchange(get).status == 503 }
            #expect(try await bench.exchange(get).body == "envoy overloaded")
            try await bench.reload(Self.manager(1, ["disable_http_keepalive"]) + http)
            try await bench.until { try await bench.exchange(get).text.contains("connection: close") }
            #expect(try await bench.exchange(get).body == "well")
            try await bench.reload(Self.manager(Self.plenty, ["stop_accepting_requests"]) + http)
            try await bench.until { try await !bench.exchange(get).text.contains("connection: close") }
            let stats = await bench.server.stats().samples
            #expect(stats.contains { $0.name == "http.test.downstream_rq_overload_close" && $0.value >= 1 })
            #expect(stats.contains { $0.name == "http.test.downstream_cx_overload_disable_keepalive" && $0.value >= 1 })
            #expect(stats.contains { $0.name == "overload.heap.pressure" && $0.value == 0 })
        }
    }

    @Test("connections wait in the kernel while memory is short, but for a listener that is to serve as ever")
    func accepting() async throws {
        let http = ProxyBench.http()
        let short = Self.manager(1, ["stop_accepting_connections", "shrink_heap"])
        try await ProxyBench.run(http, upstreams: [ScriptedUpstream.says("well")]) { bench in
            try await bench.reload(short + http)
            try await bench.until {
                try await bench.group.all[0].perform { bench.worker.overload.stopsAccepting }
            }
            let client = try await bench.client()
            try await client.send(get)
            try await bench.until {
                await bench.server.stats().samples.contains {
                    $0.name == "overload.envoy.overload_actions.shrink_heap.shrink_count" && $0.value >= 1
                }
            }
            #expect(bench.upstreams[0].requests.isEmpty)
            try await bench.reload(Self.manager(Self.plenty, []) + http)
            #expect(try await client.response().body == "well")
            let exempt = http.replacing("  - name: main\n", with: "  - name: main\n    bypass_overload_manager: true\n")
            try await bench.reload(short + exempt)
            #expect(try await bench.exchange(get).body == "well")
        }
    }

    @Test("connections beyond the limit are closed and counted, and one more is taken for each that goes")
    func limit() async throws {
        let text = Self.manager(Self.plenty, [], connections: 2) + ProxyBench.http()
        try await ProxyBench.run(text, upstreams: [ScriptedUpstream.says("well")], workers: 2) { bench in
            let kept = [try await bench.client(), try await bench.client()]
            for client in kept {
                try await client.send(get)
                #expect(try await client.response().body == "well")
            }
            await #expect(throws: (any Error).self) { try await bench.exchange(get) }
            let counted = await bench.server.stats().samples.contains {
                $0.name.hasSuffix("downstream_global_cx_overflow") && $0.value > 0
            }
            #expect(counted)
            kept[0].connection.close()
            try await bench.until { (try? await bench.exchange(get).body) == "well" }
        }
    }

    @Test("levels rise between two thresholds, and the highest trigger counts")
    func levels() {
        var settings = OverloadSettings()
        settings.actions = [
            (
                .stopAcceptingRequests,
                [
                    .init(monitor: "a", range: 0.5...0.9), .init(monitor: "b", range: 0.8...0.8),
                ]
            )
        ]
        for (a, b, level) in [
            (0.4, 0.1, 0.0), (0.7, 0.1, 0.5), (0.9, 0.1, 1.0), (0.5, 0.79, 0.0), (0.5, 0.8, 1.0), (2, 0, 1),
        ] {
            let found = settings.levels(["a": a, "b": b])[.stopAcceptingRequests] ?? -1
            #expect(abs(found - level) < 1e-9, "\(a) \(b)")
        }
    }

    @Test(
        "what is not built is refused by name",
        arguments: [
            (
                "resource_monitors: [ { name: a, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.resource_monitors.cpu_utilization.v3.CpuUtilizationConfig } } ]",
                "cpu_utilization"
            ),
            (
                "actions: [ { name: envoy.overload_actions.reset_high_memory_stream, triggers: [ { name: h, threshold: { value: 1 } } ] } ]",
                "reset_high_memory_stream"
            ),
            (
                "actions: [ { name: envoy.overload_actions.reduce_timeouts, triggers: [ { name: h, threshold: { value: 1 } } ] } ]",
                "reduce_timeouts"
            ),
            (
                "actions: [ { name: envoy.overload_actions.shrink_heap, triggers: [ { name: nobody, threshold: { value: 1 } } ] } ]",
                "nobody"
            ),
            (
                "loadshed_points: [ { name: envoy.load_shed_points.tcp_listener_accept, triggers: [ { name: h, threshold: { value: 1 } } ] } ]",
                "loadshed_points"
            ),
        ])
    func refusals(_ fields: String, _ reason: String) async throws {
        let heap =
            "{ name: h, typed_config: { \"@type\": \(Self.monitors).fixed_heap.v3.FixedHeapConfig, max_heap_size_bytes: 1 } }"
        let text = fields.hasPrefix("resource") ? fields : "resource_monitors: [ \(heap) ], \(fields)"
        var found = ""
        do {
            try await ProxyBench.run("overload_manager: { \(text) }\n" + ProxyBench.http(clusters: 0)) { _ in }
        } catch { found = "\(error)" }
        #expect(found.contains(reason), "\(found)")
    }
}
