import Testing

@testable import Proxy

@Suite("Spans on their way to a collector")
struct SpanExportTests {
    private static func tracing(_ more: String = "", service: String = http) -> String {
        """
        tracing:
          provider:
            name: otel
            typed_config:
              "@type": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig
              service_name: a
              \(more)
              \(service)
        """
    }
    private static let http = "http_service: { http_uri: { uri: http://c/v1/traces, cluster: c1, timeout: 60s } }"

    private func sent(_ bench: ProxyBench) async -> [String: Int64] {
        let samples = await bench.server.stats().samples.filter { $0.leaf.hasPrefix("tracing.opentelemetry.") }
        return Dictionary(samples.map { ($0.leaf.split(separator: ".").last.map(String.init) ?? "", $0.value) }) { $1 }
    }

    @Test("spans gather while the collector has not answered, and those above the limit are dropped and counted")
    func bounded() async throws {
        let configuration = ProxyBench.http(manager: Self.tracing("max_cache_size: 7"), clusters: 2)
        try await ProxyBench.run(
            configuration, upstreams: [ScriptedUpstream.says("a"), { _, _ in .silence }]
        ) { bench in
            let client = try await bench.client()
            // Five are a batch; seven more wait for its answer.
            for _ in 0..<20 {
                try await client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                #expect(try await client.response().status == 200)
            }
            try await bench.until { await sent(bench)["spans_dropped"] == 8 }
            #expect(await sent(bench)["spans_sent"] == 5)
            #expect(bench.upstreams[1].requests.count <= 1)
        }
    }

    @Test("what waited while the collector was asked goes with the next request")
    func gathered() async throws {
        let configuration = ProxyBench.http(manager: Self.tracing(), clusters: 2)
        try await ProxyBench.run(
            configuration,
            upstreams: [
                ScriptedUpstream.says("a"), { _, _ in .answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") },
            ]
        ) { bench in
            let client = try await bench.client()
            for _ in 0..<20 {
                try await client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                #expect(try await client.response().status == 200)
            }
            try await bench.until { await sent(bench)["spans_sent"] == 20 }
            #expect(await sent(bench)["spans_dropped"] == 0)
            let request = try #require(bench.upstreams[1].requests.first)
            #expect(request.hasPrefix("POST /v1/traces HTTP/1.1\r\n"))
            #expect(request.contains("content-type: application/x-protobuf\r\n"))
        }
    }

    @Test(
        "spans that wait for others are sent before the proxy goes, and a silent collector holds it no longer than it may"
    )
    func flushed() async throws {
        let configuration = ProxyBench.http(manager: Self.tracing(), clusters: 2)
        let answer: ScriptedUpstream.Script = { _, _ in .answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") }
        let silent: ScriptedUpstream.Script = { _, _ in .silence }
        for (collector, deadline) in [(answer, Duration.seconds(60)), (silent, .milliseconds(200))] {
            try await ProxyBench.run(
                configuration, upstreams: [ScriptedUpstream.says("a"), collector], workers: 2
            ) { bench in
                for _ in 0..<3 { _ = try await bench.exchange("GET / HTTP/1.1\r\nhost: a\r\n\r\n") }
                #expect(bench.upstreams[1].requests.isEmpty)
                let left = await bench.server.drain(within: deadline)
                #expect(left == 0)
                #expect(await sent(bench)["spans_sent"] == 3)
                if deadline > .seconds(1) { #expect(!bench.upstreams[1].requests.isEmpty) }
            }
        }
    }

    @Test(
        "what is not supported is refused by name",
        arguments: [
            (
                "resource_detectors: [{ name: d, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.tracers.opentelemetry.resource_detectors.v3.DynatraceResourceDetectorConfig } }]",
                "DynatraceResourceDetectorConfig is not supported"
            ),
            (
                "sampler: { name: s, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.tracers.opentelemetry.samplers.v3.DynatraceSamplerConfig, tenant: a, cluster_id: 1 } }",
                "DynatraceSamplerConfig is not supported"
            ),
            ("grpc_service: { envoy_grpc: { cluster_name: c1 } }", "either a grpc_service or an http_service"),
        ])
    func refused(_ more: String, _ reason: String) async throws {
        do {
            try await ProxyBench.run(
                ProxyBench.http(manager: Self.tracing(more), clusters: 2),
                upstreams: [ScriptedUpstream.says("a"), ScriptedUpstream.says("b")]
            ) { _ in }
            Issue.record("it was accepted")
        } catch {
            #expect("\(error)".contains(reason), "\(error)")
        }
    }
}
