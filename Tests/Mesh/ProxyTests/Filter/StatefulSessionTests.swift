import Bytes
import Testing

@testable import Proxy

@Suite("Stateful sessions")
struct StatefulSessionTests {
    private static let type = "type.googleapis.com/envoy.extensions"

    private static func configuration(_ state: String, strict: Bool = false) -> String {
        let session = "\(type).filters.http.stateful_session.v3"
        return ProxyBench.http(
            routes: """
                - match: { prefix: /free }
                  route: { cluster: both }
                  typed_per_filter_config: { envoy.filters.http.stateful_session: { "@type": \(session).StatefulSessionPerRoute, disabled: true } }
                - match: { prefix: / }
                  route: { cluster: both }
                """,
            filters: """
                - name: envoy.filters.http.stateful_session
                  typed_config: { "@type": \(session).StatefulSession, strict: \(strict), session_state: { name: state, typed_config: { \(state) } } }
                """, clusters: 2) + """

                  - name: both
                    load_assignment:
                      cluster_name: both
                      endpoints:
                      - lb_endpoints:
                        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: $0 } } }
                        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: $1 } } }
                """
    }

    private static func cookie(_ fields: String) -> String {
        "\"@type\": \(type).http.stateful_session.cookie.v3.CookieBasedSessionState, cookie: { name: home, \(fields) }"
    }
    private static let header =
        "\"@type\": \(type).http.stateful_session.header.v3.HeaderBasedSessionState, name: x-home"

    private static let two: [ScriptedUpstream.Script] = [ScriptedUpstream.says("0"), ScriptedUpstream.says("1")]

    private static func get(_ bench: ProxyBench, _ path: String, _ field: String = "") async throws -> RawResponse {
        try await bench.exchange("GET \(path) HTTP/1.1\r\nhost: a\r\n\(field.isEmpty ? "" : field + "\r\n")\r\n")
    }

    /// The cookie as Envoy makes it: a message of the address and, where it ends, of when.
    private static func value(_ address: String, expires: [UInt8] = []) -> String {
        Base64.encode([0x0A, UInt8(address.utf8.count)] + Array(address.utf8) + expires)
    }

    @Test("who comes with the cookie comes to the host that it names, and gets no other")
    func cookieStays() async throws {
        try await ProxyBench.run(Self.configuration(Self.cookie("path: /, ttl: 60s")), upstreams: Self.two) { bench in
            let first = try await Self.get(bench, "/")
            let set = try #require(first["set-cookie"])
            #expect(set.hasPrefix("home=\""))
            #expect(set.hasSuffix("\"; Max-Age=60; Path=/; HttpOnly"))
            let pair = try #require(set.split(separator: ";").first)
            let bytes = try #require(Base64.decode(pair.dropFirst(6).dropLast()))
            let port = bench.upstreams[first.body == "0" ? 0 : 1].port
            let address = "127.0.0.1:\(port)"
            #expect(bytes.starts(with: [0x0A, UInt8(address.utf8.count)] + Array(address.utf8) + [0x10]))
            for _ in 0..<6 {
                let next = try await Self.get(bench, "/", "cookie: other=1; \(pair)")
                #expect(next.body == first.body)
                #expect(next["set-cookie"] == nil)
            }
        }
    }

    @Test(
        "a cookie that has ended, or names nobody, is as good as none; where sessions are strict it must name somebody")
    func cookieOfNobody() async throws {
        let nobody = Self.value("127.0.0.1:1")
        let ended = Self.value("127.0.0.1:1", expires: [0x10, 1])
        for strict in [false, true] {
            try await ProxyBench.run(
                Self.configuration(Self.cookie("path: /"), strict: strict), upstreams: Self.two
            ) { bench in
                let lost = try await Self.get(bench, "/", "cookie: home=\"\(nobody)\"")
                #expect(lost.status == (strict ? 503 : 200))
                let late = try await Self.get(bench, "/", "cookie: home=\"\(ended)\"")
                #expect(late.status == 200)
                #expect(late["set-cookie"]?.hasSuffix("\"; Path=/; HttpOnly") == true)
                let nonsense = try await Self.get(bench, "/", "cookie: home=&&&")
                #expect(nonsense.status == 200)
            }
        }
    }

    @Test("a cookie of a path is for that path, and a route can do without")
    func paths() async throws {
        try await ProxyBench.run(Self.configuration(Self.cookie("path: /a")), upstreams: Self.two) { bench in
            for (path, isSet) in [("/a", true), ("/a/b", true), ("/a?b", true), ("/ab", false), ("/", false)] {
                let answer = try await Self.get(bench, path)
                #expect((answer["set-cookie"] != nil) == isSet, "\(path)")
            }
        }
        try await ProxyBench.run(Self.configuration(Self.cookie("path: /")), upstreams: Self.two) { bench in
            let answer = try await Self.get(bench, "/free")
            #expect(answer["set-cookie"] == nil)
        }
    }

    @Test("who comes with the header comes to the host that it names")
    func header() async throws {
        try await ProxyBench.run(Self.configuration(Self.header, strict: true), upstreams: Self.two) { bench in
            for (index, upstream) in bench.upstreams.enumerated() {
                let value = Base64.encode("127.0.0.1:\(upstream.port)".utf8)
                for _ in 0..<4 {
                    let answer = try await Self.get(bench, "/", "x-home: \(value)")
                    #expect(answer.body == "\(index)")
                }
            }
            let first = try await Self.get(bench, "/")
            let port = bench.upstreams[first.body == "0" ? 0 : 1].port
            #expect(first["x-home"] == Base64.encode("127.0.0.1:\(port)".utf8))
            let lost = try await Self.get(bench, "/", "x-home: \(Base64.encode("127.0.0.1:1".utf8))")
            #expect(lost.status == 503)
        }
    }
}
