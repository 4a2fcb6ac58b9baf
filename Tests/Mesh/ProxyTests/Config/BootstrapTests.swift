import Testing

@testable import Proxy

@Suite("A bootstrap's own settings")
struct BootstrapTests {
    private static let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    @Test(
        "what is not supported is refused by its name",
        arguments: [
            ("flags_path: /flags", "flags_path"), ("header_prefix: x-own", "header_prefix"),
            ("stats_sinks: [ { name: s } ]", "stats_sinks"),
            ("enable_dispatcher_stats: true", "enable_dispatcher_stats"),
            ("watchdogs: { main_thread_watchdog: { miss_timeout: 1s } }", "watchdogs"),
            ("cluster_manager: { local_cluster_name: nobody }", "local cluster 'nobody' must be defined"),
            ("cluster_manager: { outlier_detection: { event_log_path: /x } }", "outlier_detection"),
            ("stats_config: { stats_tags: [ { tag_name: a, regex: b } ] }", "only fixed_value is supported"),
            ("admin: { access_log_path: /tmp/log }", "access_log_path"),
        ])
    func refused(text: String, reason: String) async throws {
        let error = await #expect(throws: (any Error).self) { try await ProxyBench.run(text) { _ in } }
        #expect("\(String(describing: error))".contains(reason), "\(String(describing: error))")
    }

    @Test("what means nothing here is passed over")
    func passedOver() async throws {
        let text = """
            node: { id: n, cluster: c, metadata: { a: b }, user_agent_name: envoy, locality: { region: r } }
            stats_flush_interval: 5s
            deferred_stat_options: { enable_deferred_creation_stats: true }
            admin: { access_log_path: /dev/null }
            """
        try await ProxyBench.run(text) { _ in }
    }

    @Test("statistics are those of the matcher, and carry the fixed labels")
    func stats() async throws {
        let text =
            ProxyBench.http() + """

                stats_config:
                  stats_tags: [ { tag_name: site.name, fixed_value: "here" } ]
                  stats_matcher: { inclusion_list: { patterns: [ { prefix: cluster.c0.upstream_rq_ } ] } }
                """
        try await ProxyBench.run(text, upstreams: [ScriptedUpstream.says("a")]) { bench in
            _ = try await bench.exchange(Self.get)
            let report = await bench.server.stats()
            #expect(!report.samples.isEmpty)
            let others = report.samples.filter { !$0.name.hasPrefix("cluster.c0.upstream_rq_") }
            #expect(others.isEmpty)
            var page = StatPage()
            page.format = .prometheus
            let told = page.render(report)
            #expect(told.contains("envoy_cluster_upstream_rq_total{envoy_cluster_name=\"c0\",site_name=\"here\"} 1\n"))
        }
    }

    @Test("requests stay in the zone of the proxy's own cluster, as that stands")
    func zones() async throws {
        func endpoints(_ name: String, _ zones: [(zone: String, port: String)]) -> String {
            let all = zones.map { zone, port in
                "{ locality: { zone: \(zone) }, lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) } } } } ] }"
            }
            return "{ cluster_name: \(name), endpoints: [ \(all.joined(separator: ", ")) ] }"
        }
        func text(_ zone: String) -> String {
            let clusters = """

                  - name: me
                    load_assignment: \(endpoints("me", [("a", "1"), ("b", "2")]))
                  - name: c
                    common_lb_config: { zone_aware_lb_config: { min_cluster_size: 1 } }
                    load_assignment: \(endpoints("c", [("a", "$0"), ("b", "$1")]))
                node: { locality: { zone: \(zone) } }
                cluster_manager: { local_cluster_name: me }
                """
            return ProxyBench.http(routes: "- match: { prefix: / }\n  route: { cluster: c }", clusters: 0) + clusters
        }
        for (zone, body) in [("a", "near"), ("b", "far")] {
            try await ProxyBench.run(
                text(zone), upstreams: [ScriptedUpstream.says("near"), ScriptedUpstream.says("far")]
            ) { bench in
                for _ in 0..<6 {
                    let answer = try await bench.exchange(Self.get)
                    #expect(answer.body == body)
                }
            }
        }
    }
}
