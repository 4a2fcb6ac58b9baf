import Testing
import XDS

@testable import Proxy

@Suite("A cluster without hosts of its own", .timeLimit(.minutes(1)))
struct ForeignHostTests {
    private func get(_ more: String = "") -> String { "GET / HTTP/1.1\r\nHost: h\r\n\(more)\r\n" }

    @Test("forgets an original destination that nobody used for its cleanup interval, and one in use not")
    func cleanup() async throws {
        let cluster = """
              - name: c
                type: ORIGINAL_DST
                lb_policy: CLUSTER_PROVIDED
                cleanup_interval: 0.02s
                original_dst_lb_config: { use_http_header: true }
            """
        let head = ProxyBench.http(routes: "- match: { prefix: / }\n  route: { cluster: c }", clusters: 0)
        let closing: ScriptedUpstream.Script = { _, _ in
            .answerAndClose("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\na")
        }
        let upstreams = [closing, ScriptedUpstream.says("b")]
        try await ProxyBench.run(head + "\n" + cluster, upstreams: upstreams) { bench in
            for (number, body) in ["a", "b"].enumerated() {
                let field = "x-envoy-original-dst-host: 127.0.0.1:\(bench.upstreams[number].port)\r\n"
                let answer = try await bench.exchange(get(field))
                #expect(answer.body == body)
            }
            // The connection to the second is kept, so its host stays.
            try await bench.until("c", "membership_total", is: 1)
            let connections = await bench.stat("c", "upstream_cx_active")
            #expect(connections == 1)
            let field = "x-envoy-original-dst-host: 127.0.0.1:\(bench.upstreams[0].port)\r\n"
            #expect(try await bench.exchange(get(field)).body == "a")
        }
    }

    @Test("goes to an aggregate's next member when the hosts of the first become unhealthy, and back")
    func aggregate() async throws {
        func configuration(_ health: String) -> String {
            func cluster(_ name: String, _ number: Int, _ health: String) -> String {
                """
                  - name: \(name)
                    load_assignment:
                      cluster_name: \(name)
                      endpoints:
                      - lb_endpoints:
                        - { health_status: \(health), endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: $\(number) } } } }
                """
            }
            let aggregate = """
                  - name: c
                    lb_policy: CLUSTER_PROVIDED
                    cluster_type:
                      name: a
                      typed_config:
                        "@type": type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig
                        clusters: [first, second]
                """
            return ProxyBench.http(routes: "- match: { prefix: / }\n  route: { cluster: c }", clusters: 0)
                + "\n" + cluster("first", 0, health) + "\n" + cluster("second", 1, "HEALTHY") + "\n" + aggregate
        }
        let upstreams = [ScriptedUpstream.says("a"), ScriptedUpstream.says("b")]
        try await ProxyBench.run(configuration("HEALTHY"), upstreams: upstreams) { bench in
            for (health, body) in [("HEALTHY", "a"), ("UNHEALTHY", "b"), ("HEALTHY", "a")] {
                try await bench.reload(configuration(health))
                for _ in 0..<4 {
                    let answer = try await bench.exchange(get())
                    #expect(answer.body == body)
                }
            }
        }
    }
}
