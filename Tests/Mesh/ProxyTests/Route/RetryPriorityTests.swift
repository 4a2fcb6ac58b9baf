import Testing

@testable import Proxy

@Suite("Retries at other priorities")
struct RetryPriorityTests {
    private static func cluster(_ policy: String) -> String {
        let route = """
            - match: { prefix: / }
              route: { cluster: c, retry_policy: { retry_on: 5xx, num_retries: 2, retry_back_off: { base_interval: 0.001s }\(policy) } }
            """
        func host(_ port: String) -> String {
            "lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) } } } } ]"
        }
        return ProxyBench.http(routes: route, clusters: 0) + """

              - name: c
                load_assignment:
                  cluster_name: c
                  endpoints: [ { \(host("$0")) }, { priority: 1, \(host("$1")) } ]
            """
    }

    private static let previous = """
        , retry_priority: { name: p, typed_config: { "@type":
        type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig,
        update_frequency: 1 } }
        """

    private static let fails: ScriptedUpstream.Script = { _, _ in
        .answer("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
    }

    @Test("go where nobody has failed yet, and without the policy to the first again")
    func previousPriorities() async throws {
        let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
        for (policy, status, tries) in [(Self.previous, 200, (1, 1)), ("", 503, (3, 0))] {
            try await ProxyBench.run(
                Self.cluster(policy), upstreams: [Self.fails, ScriptedUpstream.says("second")]
            ) { bench in
                let answer = try await bench.exchange(get)
                #expect(answer.status == status)
                #expect(bench.upstreams[0].requests.count == tries.0)
                #expect(bench.upstreams[1].requests.count == tries.1)
            }
        }
    }

    @Test("go to no host of metadata that are omitted")
    func omittedMetadata() async throws {
        func host(_ port: String, _ more: String = "") -> String {
            "{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) } } }\(more) }"
        }
        let bad = ", metadata: { filter_metadata: { envoy.lb: { stage: [bad, worse], zone: z } } }"
        let text =
            ProxyBench.http(
                routes: """
                    - match: { prefix: / }
                      route:
                        cluster: c
                        retry_policy:
                          retry_on: 5xx
                          num_retries: 3
                          retry_back_off: { base_interval: 0.001s }
                          host_selection_retry_max_attempts: 20
                          retry_host_predicate:
                          - name: p
                            typed_config:
                              "@type": type.googleapis.com/envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig
                              metadata_match: { filter_metadata: { envoy.lb: { stage: bad } } }
                    """, clusters: 0) + """

                  - name: c
                    load_assignment:
                      cluster_name: c
                      endpoints: [ { lb_endpoints: [ \(host("$0")), \(host("$1", bad)) ] } ]
                """
        try await ProxyBench.run(text, upstreams: [Self.fails, Self.fails]) { bench in
            let answer = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(answer.status == 503)
            // The first try alone may have been there.
            #expect(bench.upstreams[1].requests.count <= 1)
            #expect(bench.upstreams[0].requests.count >= 3)
        }
    }

    @Test("begin anew when every priority has failed")
    func allTried() async throws {
        try await ProxyBench.run(Self.cluster(Self.previous), upstreams: [Self.fails, Self.fails]) { bench in
            let answer = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(answer.status == 503)
            #expect(bench.upstreams[0].requests.count == 2)
            #expect(bench.upstreams[1].requests.count == 1)
        }
    }
}
