import JSON
import TestSupport
import Testing

@testable import Proxy

/// Lines of access logs on a stream to a server that is nobody's relative: Python's gRPC, and Google's library for the messages.
@Suite(
    "access logs that go to a service",
    .enabled(if: PythonServices.library != nil, "PyPI's grpcio and xds-protos cannot be installed"))
struct LogServiceTests {
    private static func manager(bytes: Int = 1) -> String {
        """
        access_log:
        - name: envoy.access_loggers.http_grpc
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig
            common_config:
              log_name: judged
              transport_api_version: V3
              buffer_size_bytes: \(bytes)
              buffer_flush_interval: 0.01s
              grpc_service: { envoy_grpc: { cluster_name: grpc } }
              custom_tags: [{ tag: tag, request_header: { name: x-tag } }]
            additional_request_headers_to_log: [x-a, x-none]
            additional_response_headers_to_log: [content-type]
        """
    }

    private static func run(
        _ manager: String, _ body: (ProxyBench, PythonServices) async throws -> Void
    ) async throws {
        try await PythonServices.run("logs.py") { services in
            let configuration = ProxyBench.http(manager: manager) + "\n" + services.cluster("grpc")
            try await ProxyBench.run(configuration, upstreams: [ScriptedUpstream.says("hello")]) { bench in
                try await body(bench, services)
            }
        }
    }

    private static func entries(_ services: PythonServices) throws -> [JSONValue] {
        try services.requests().flatMap { $0["http_logs"]?["log_entry"]?.array ?? [] }
    }

    @Test("an entry says what the request was, and the first of a stream whose it is")
    func entry() async throws {
        try await Self.run(Self.manager()) { bench, services in
            let got = try await bench.exchange(
                "GET /p?q=1 HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-a: 2\r\nx-tag: t\r\nuser-agent: u\r\n\r\n")
            #expect(got.status == 200)
            try await bench.until { try Self.entries(services).count == 1 }
            let first = try #require(try services.requests().first)
            #expect(first["identifier"]?["log_name"]?.string == "judged")
            #expect(first["identifier"]?["node"]?["user_agent_name"]?.string == "weft-proxy")
            let entry = try #require(try Self.entries(services).first)
            #expect(entry["protocol_version"]?.string == "HTTP11")
            let request = entry["request"]
            #expect(request?["request_method"]?.string == "GET")
            #expect(request?["path"]?.string == "/p?q=1")
            #expect(request?["authority"]?.string == "a")
            #expect(request?["user_agent"]?.string == "u")
            #expect(request?["request_headers"]?["x-a"]?.string == "1,2")
            #expect(request?["request_headers"]?.object?.count == 1)
            let response = entry["response"]
            #expect(response?["response_code"]?.int == 200)
            #expect(response?["response_body_bytes"]?.string == "5")
            #expect(response?["response_code_details"]?.string == "via_upstream")
            let common = entry["common_properties"]
            #expect(common?["custom_tags"]?["tag"]?.string == "t")
            #expect(common?["access_log_type"]?.string == "DownstreamEnd")
            #expect(common?["upstream_cluster"]?.string == "c0")
            #expect(common?["upstream_request_attempt_count"]?.int == 1)
            let client = common?["downstream_remote_address"]?["socket_address"]?["address"]?.string
            #expect(client == "127.0.0.1")
            for moment in ["start_time", "duration", "time_to_last_rx_byte", "time_to_first_upstream_rx_byte"] {
                #expect(common?[moment] != nil, "\(moment)")
            }
        }
    }

    @Test("lines wait for each other, and go on the stream that is there")
    func gathered() async throws {
        try await Self.run(Self.manager(bytes: 1 << 20)) { bench, services in
            for _ in 0..<10 {
                let got = try await bench.exchange("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                #expect(got.status == 200)
            }
            try await bench.until { try Self.entries(services).count == 10 }
            let identified = try services.requests().filter { $0["identifier"] != nil }
            #expect(identified.count == 1)
            let samples = await bench.server.stats().samples
            let written = samples.first { $0.leaf == "access_logs.grpc_access_log.logs_written" }
            #expect(written?.value == 10)
        }
    }

    @Test("lines for a service that is not there are dropped and counted")
    func dropped() async throws {
        let nobody = """
              - name: grpc
                connect_timeout: 5s
                load_assignment:
                  cluster_name: grpc
                  endpoints:
                  - lb_endpoints:
                    - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 1 } } }
            """
        try await ProxyBench.run(
            ProxyBench.http(manager: Self.manager()) + "\n" + nobody, upstreams: [ScriptedUpstream.says("a")]
        ) { bench in
            for _ in 0..<3 {
                let got = try await bench.exchange("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                #expect(got.status == 200)
            }
            try await bench.until {
                let samples = await bench.server.stats().samples
                return samples.contains { $0.leaf == "access_logs.grpc_access_log.logs_dropped" && $0.value > 0 }
            }
        }
    }
}
