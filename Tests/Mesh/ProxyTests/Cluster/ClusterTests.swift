import Testing
import XDS

@testable import Proxy

@Suite("A cluster")
struct ClusterTests {
    /// A proxy with one cluster that is written out, and the address of upstream `$0` in it and so on.
    private func run(
        _ cluster: String, _ upstreams: [ScriptedUpstream.Script], routes: String? = nil,
        _ body: (ProxyBench) async throws -> Void
    ) async throws {
        let head = ProxyBench.http(
            routes: routes ?? "- match: { prefix: / }\n  route: { cluster: c }", clusters: 0)
        try await ProxyBench.run(head + "\n" + cluster, upstreams: upstreams, body)
    }

    private func host(_ number: Int, _ more: String = "") -> String {
        "{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: $\(number) } } }\(more) }"
    }

    private let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    @Test("sends requests to its hosts by their weights")
    func weights() async throws {
        let cluster = """
              - name: c
                load_assignment:
                  cluster_name: c
                  endpoints:
                  - lb_endpoints:
                    - \(host(0, ", load_balancing_weight: 3"))
                    - \(host(1, ", load_balancing_weight: 1"))
            """
        try await run(cluster, [ScriptedUpstream.says("a"), ScriptedUpstream.says("b")]) { bench in
            var counts = ["a": 0, "b": 0]
            for _ in 0..<40 { counts[try await bench.exchange(get).body, default: 0] += 1 }
            #expect(counts == ["a": 30, "b": 10])
            let requests = await bench.stat("c", "upstream_rq_total")
            #expect(requests == 40)
            let active = await bench.stat("c", "upstream_rq_active")
            #expect(active == 0)
        }
    }

    @Test(
        "sends requests to the next priority when the first is unhealthy, and to nobody where all are and panic is off")
    func priorities() async throws {
        func cluster(_ second: String) -> String {
            """
              - name: c
                common_lb_config: { healthy_panic_threshold: { value: 0 } }
                load_balancing_policy:
                  policies:
                  - typed_extension_config:
                      name: lr
                      typed_config:
                        "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest
                load_assignment:
                  cluster_name: c
                  endpoints:
                  - lb_endpoints: [ \(host(0, ", health_status: UNHEALTHY")) ]
                  - { priority: 1, lb_endpoints: [ \(host(1, ", health_status: \(second)")) ] }
            """
        }
        let upstreams = [ScriptedUpstream.says("a"), ScriptedUpstream.says("b")]
        try await run(cluster("HEALTHY"), upstreams) { bench in
            for _ in 0..<5 {
                let answer = try await bench.exchange(get)
                #expect(answer.body == "b")
            }
        }
        try await run(cluster("DRAINING"), upstreams) { bench in
            let answer = try await bench.exchange(get)
            #expect(answer.status == 503)
            #expect(answer.body == "no healthy upstream")
        }
    }

    @Test("refuses what would wait beyond its circuit breakers, and takes the next when there is room")
    func circuitBreakers() async throws {
        let cluster = """
              - name: c
                circuit_breakers: { thresholds: [ { max_connections: 1, max_pending_requests: 1 } ] }
                load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ \(host(0)) ] } ] }
            """
        let script: ScriptedUpstream.Script = { request, _ in
            request.hasPrefix("GET /wait")
                ? .silence : .answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        }
        try await run(cluster, [script]) { bench in
            let first = try await bench.client()
            try await first.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
            try await bench.until("c", "upstream_rq_active", is: 1)
            let second = try await bench.client()
            try await second.send(get)
            try await bench.until("c", "upstream_rq_pending_active", is: 1)
            let third = try await bench.exchange(get)
            #expect(third.status == 503)
            #expect(third.body.hasSuffix("reset reason: overflow"))
            let overflows = await bench.stat("c", "upstream_rq_pending_overflow")
            #expect(overflows == 1)
            first.connection.close()
            let answer = try await second.response()
            #expect(answer.body == "ok")
            try await bench.until("c", "upstream_rq_pending_active", is: 0)
        }
    }

    @Test("takes a host out that keeps failing, on all workers")
    func outliers() async throws {
        let cluster = """
              - name: c
                outlier_detection: { consecutive_5xx: 3, max_ejection_percent: 100, interval: 600s }
                load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ \(host(0)), \(host(1)) ] } ] }
            """
        let bad: ScriptedUpstream.Script = { _, _ in .answer("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n") }
        try await run(cluster, [ScriptedUpstream.says("good"), bad]) { bench in
            for _ in 0..<6 { _ = try await bench.exchange(get) }
            try await bench.until("c", "outlier_detection.ejections_active", is: 1)
            for _ in 0..<6 {
                let answer = try await bench.exchange(get)
                #expect(answer.status == 200)
            }
            #expect(bench.upstreams[1].requests.count == 3)
        }
    }

    @Test("whose host refuses connections says so, and counts it")
    func refusedConnections() async throws {
        let cluster = """
              - name: c
                load_assignment:
                  cluster_name: c
                  endpoints:
                  - lb_endpoints:
                    - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 1 } } }
            """
        try await run(cluster, []) { bench in
            let answer = try await bench.exchange(get)
            #expect(answer.status == 503)
            let failures = await bench.stat("c", "upstream_cx_connect_fail")
            #expect(failures == 1)
            let ejected = await bench.stat("c", "upstream_rq_pending_failure_eject")
            #expect(ejected == 1)
            let requests = await bench.stat("c", "upstream_rq_total")
            #expect(requests == 0)
        }
    }

    @Test("lets a connection go after so many requests")
    func maximumRequests() async throws {
        let cluster = """
              - name: c
                typed_extension_protocol_options:
                  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                    explicit_http_config: { http_protocol_options: {} }
                    common_http_protocol_options: { max_requests_per_connection: 2 }
                load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ \(host(0)) ] } ] }
            """
        try await run(cluster, [ScriptedUpstream.says("a")]) { bench in
            for _ in 0..<4 { _ = try await bench.exchange(get) }
            #expect(bench.upstreams[0].connections == 2)
            let reached = await bench.stat("c", "upstream_cx_max_requests")
            #expect(reached == 2)
        }
    }

    @Test("lets an idle connection go, and one that is old")
    func connectionTimes() async throws {
        for (field, counter) in [
            ("idle_timeout", "upstream_cx_idle_timeout"),
            ("max_connection_duration", "upstream_cx_max_duration_reached"),
        ] {
            let cluster = """
                  - name: c
                    common_http_protocol_options: { \(field): 0.05s }
                    load_assignment: { cluster_name: c, endpoints: [ { lb_endpoints: [ \(host(0)) ] } ] }
                """
            try await run(cluster, [ScriptedUpstream.says("a")]) { bench in
                _ = try await bench.exchange(get)
                try await bench.until("c", counter, is: 1)
                try await bench.until("c", "upstream_cx_active", is: 0)
                let answer = try await bench.exchange(get)
                #expect(answer.body == "a")
            }
        }
    }

    static let refused: [(String, String)] = [
        (
            "lb_policy: RING_HASH, ring_hash_lb_config: { minimum_ring_size: 9, maximum_ring_size: 8 }",
            "minimum_ring_size"
        ),
        ("lb_policy: MAGLEV, maglev_lb_config: { table_size: 100 }", "prime"),
        ("preconnect_policy: { predictive_preconnect_ratio: 2 }", "predictive_preconnect_ratio"),
        ("outlier_detection: { max_ejection_time: 1s, base_ejection_time: 2s }", "max_ejection_time"),
        ("load_balancing_policy: { policies: [] }", "policies"),
        ("type: EDS", "eds_cluster_config"),
        ("type: STRICT_DNS", "load_assignment"),
        (
            "type: EDS, eds_cluster_config: { eds_config: { ads: {}, resource_api_version: V3 } }",
            "the bootstrap has no ads_config"
        ),
    ]

    @Test("is refused with the reason where its configuration cannot be", arguments: refused)
    func refusals(row: (String, String)) async throws {
        let text = "static_resources: { clusters: [ { name: c, \(row.0) } ] }"
        let bootstrap = try Bootstrap.read([ConfigText(name: "test.yaml", text: text)])
        var reason = ""
        do { try ProxyServer.validate(bootstrap) } catch { reason = "\(error)" }
        #expect(reason.contains(row.1), "\(reason)")
    }
}
