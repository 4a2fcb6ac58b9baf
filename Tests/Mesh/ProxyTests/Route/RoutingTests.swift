import Testing

@testable import Proxy

@Suite("The way of a request")
struct RoutingTests {
    private static func many(_ count: Int) -> String {
        (0..<count).map { index in
            """
            - match: { \(index.isMultiple(of: 3) ? "path: /p\(index)" : index % 3 == 1 ? "prefix: /p\(index)/" : "safe_regex: { regex: \"/p\(index)x+\" }") }
              direct_response: { status: 200, body: { inline_string: "r\(index)" } }
            """
        }.joined(separator: "\n")
    }

    @Test("is the first of many routes that matches, however it is found")
    func index() async throws {
        let routes = Self.many(60) + "\n- match: { prefix: / }\n  direct_response: { status: 404 }"
        try await ProxyBench.run(ProxyBench.http(routes: routes), upstreams: [ScriptedUpstream.echo]) { bench in
            for (path, body) in [
                ("/p0", "r0"), ("/p3?q", "r3"), ("/p1/x", "r1"), ("/p2xx", "r2"), ("/p58/", "r58"), ("/p0/", ""),
                ("/p59xxx", "r59"), ("/none", ""),
            ] {
                let answer = try await bench.exchange("GET \(path) HTTP/1.1\r\nHost: h\r\n\r\n")
                #expect(answer.body == body, "\(path)")
            }
        }
    }

    @Test("shares a route's requests among clusters by weight, and by a field's number where that decides")
    func weights() async throws {
        let routes = """
            - match: { prefix: /by }
              route: { weighted_clusters: { header_name: x-n, clusters: [{ name: c0, weight: 30 }, { name: c1, weight: 70 }] } }
            - match: { prefix: / }
              route: { weighted_clusters: { clusters: [{ name: c0, weight: 30 }, { name: c1, weight: 70 }] } }
            """
        let upstreams = [ScriptedUpstream.says("zero"), ScriptedUpstream.says("one")]
        try await ProxyBench.run(ProxyBench.http(routes: routes, clusters: 2), upstreams: upstreams) { bench in
            let client = try await bench.client()
            for (number, body) in [(0, "zero"), (29, "zero"), (30, "one"), (99, "one"), (100, "zero")] {
                try await client.send("GET /by HTTP/1.1\r\nHost: h\r\nx-n: \(number)\r\n\r\n")
                let answer = try await client.response()
                #expect(answer.body == body)
            }
            var ones = 0
            for _ in 0..<400 {
                try await client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                if try await client.response().body == "one" { ones += 1 }
            }
            // Six standard deviations: 280 ± 55.
            #expect((225...335).contains(ones))
        }
    }

    @Test("goes also to a mirror, whose answer nobody waits for")
    func mirror() async throws {
        let routes = """
            - match: { prefix: / }
              route: { cluster: c0, request_mirror_policies: [{ cluster: c1 }, { cluster: c2, runtime_fraction: { default_value: { numerator: 0 } } }] }
            """
        let silent: ScriptedUpstream.Script = { _, _ in .silence }
        let upstreams = [ScriptedUpstream.says("real"), silent, ScriptedUpstream.echo]
        try await ProxyBench.run(ProxyBench.http(routes: routes, clusters: 3), upstreams: upstreams) { bench in
            let answer = try await bench.exchange("POST /a HTTP/1.1\r\nHost: h:81\r\nContent-Length: 3\r\n\r\nabc")
            #expect(answer.body == "real")
            let deadline = ContinuousClock.now + .seconds(60)
            while bench.upstreams[1].requests.isEmpty, ContinuousClock.now < deadline { await Task.yield() }
            let copy = bench.upstreams[1].requests.first ?? ""
            #expect(copy.hasPrefix("POST /a HTTP/1.1\r\nhost: h-shadow:81\r\n"))
            #expect(copy.hasSuffix("\r\n\r\nabc"))
            #expect(bench.upstreams[2].requests.isEmpty)
        }
    }

    @Test("by a tree of matchers")
    func tree() async throws {
        let matcher = """
            matcher_tree:
              input: { name: h, typed_config: { "@type": type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x } }
              exact_match_map:
                map:
                  one: { action: { name: r, typed_config: { "@type": type.googleapis.com/envoy.config.route.v3.Route, match: { prefix: / }, direct_response: { status: 201 } } } }
            on_no_match: { action: { name: r, typed_config: { "@type": type.googleapis.com/envoy.config.route.v3.Route, match: { prefix: / }, direct_response: { status: 202 } } } }
            """
        let indented = matcher.split(separator: "\n").map { "                " + $0 }.joined(separator: "\n")
        let config = ProxyBench.http(routes: "[]").components("routes:\n              []").joined(
            separator: "matcher:\n\(indented)")
        try await ProxyBench.run(config, upstreams: [ScriptedUpstream.echo]) { bench in
            let one = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\nx: one\r\n\r\n")
            let two = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\nx: two\r\n\r\n")
            #expect([one.status, two.status] == [201, 202])
        }
    }
}
