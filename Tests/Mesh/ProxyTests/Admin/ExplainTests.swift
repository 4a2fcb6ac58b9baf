import Testing

@testable import Proxy

@Suite("What happened to a request")
struct ExplainTests {
    private static let routes = """
        - name: refused
          match: { prefix: /refused, headers: [{ name: x-a, present_match: true }] }
          route: { cluster: c1 }
        - match: { path: /retried }
          route: { cluster: c0, retry_policy: { retry_on: 5xx, num_retries: 2 } }
        - match: { prefix: /one }
          route: { cluster: c0 }
        """

    private func explain(_ bench: ProxyBench, _ query: String) async -> AdminAnswer {
        await AdminServer(bench.server) {}.answer(AdminRequest(method: "GET", target: "/explain?\(query)"))
    }

    private func ask(_ bench: ProxyBench, _ path: String, _ id: String, gets status: Int) async throws {
        let answer = try await bench.exchange(
            "GET \(path) HTTP/1.1\r\nhost: a\r\nx-a: b\r\nx-request-id: \(id)\r\nconnection: close\r\n\r\n")
        #expect(answer.status == status)
    }

    private func run(_ body: (ProxyBench) async throws -> Void) async throws {
        let upstream: ScriptedUpstream.Script = { request, number in
            request.hasPrefix("GET /retried") && number < 2
                ? .answer("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
                : .answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        }
        let configuration = ProxyBench.http(routes: Self.routes, clusters: 2).split(separator: "$1").joined(
            separator: "\(PlainUpstream.refusingPort)")
        try await ProxyBench.run(configuration, upstreams: [upstream], body)
    }

    @Test("a request that went well is told with its way")
    func well() async throws {
        try await run { bench in
            try await ask(bench, "/one?two", "here-it-is", gets: 200)
            let answer = await explain(bench, "id=here-it-is")
            #expect(answer.status == 200)
            for words in [
                "GET a/one?two\n", "by listener \"main\"",
                "Virtual host \"all\", a route without a name matched by prefix \"/one\"",
                "it leads to cluster \"c0\"", "Attempt 1, after ", "127.0.0.1:\(bench.upstreams[0].port)",
                "status 200 came after ", "The client got 200", "2 bytes of body", "Details: via_upstream",
            ] {
                #expect(answer.body.contains(words), "no \(words) in \(answer.body)")
            }
            #expect(!answer.body.contains("What to look at"))
        }
    }

    @Test("attempts are told one by one, with what ended each")
    func retried() async throws {
        try await run { bench in
            try await ask(bench, "/retried", "again", gets: 200)
            let text = await explain(bench, "id=again").body
            #expect(text.contains("matched by path \"/retried\""))
            #expect(text.contains("Attempt 1") && text.contains("Attempt 2") && text.contains("Attempt 3"))
            #expect(text.contains("status 503 came after"))
            #expect(text.contains("tried again."))
        }
    }

    @Test("a request that failed is told with its reason and with what to look at")
    func failed() async throws {
        try await run { bench in
            try await ask(bench, "/refused", "not-taken", gets: 503)
            let text = await explain(bench, "id=not-taken").body
            for words in [
                "route \"refused\" matched by prefix \"/refused\", headers x-a", "got no connection",
                "remote connection failure", "The client got 503 from this proxy", "flags: UpstreamConnectionFailure",
                "What to look at:\n- whether something listens at 127.0.0.1:1",
            ] {
                #expect(text.contains(words), "no \(words) in \(text)")
            }
            try await ask(bench, "/nowhere", "lost", gets: 404)
            let lost = await explain(bench, "id=lost").body
            #expect(lost.contains("No route matched"))
            let last = await explain(bench, "failed").body.split(separator: "\n").dropFirst()
            #expect(last.count == 2)
            #expect(last.first?.hasSuffix("404 NR route_not_found GET a/nowhere lost") == true)
            #expect(last.last?.contains(" 503 UF ") == true)
        }
    }

    @Test("requests that go well do not wash away one that failed, and push out each other")
    func bounded() async throws {
        try await run { bench in
            try await ask(bench, "/nowhere", "lost", gets: 404)
            let client = try await bench.client()
            for number in 0...RequestMemory.standardSize {
                try await client.send("GET /one HTTP/1.1\r\nhost: a\r\nx-request-id: r\(number)\r\n\r\n")
                _ = try await client.response()
            }
            for (id, status) in [("lost", 200), ("r0", 404), ("r1", 200), ("r\(RequestMemory.standardSize)", 200)] {
                let answer = await explain(bench, "id=\(id)")
                #expect(answer.status == status, "\(id)")
            }
            let lines = await explain(bench, "count=3").body.split(separator: "\n")
            #expect(lines.count == 4)
        }
    }
}
