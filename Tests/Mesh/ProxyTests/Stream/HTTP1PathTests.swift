import Testing

@testable import Proxy

@Suite("A request over HTTP/1")
struct HTTP1PathTests {
    @Test("goes to its cluster and comes back, and both connections are kept")
    func keepAlive() async throws {
        try await ProxyBench.run(ProxyBench.http(), upstreams: [ScriptedUpstream.echo]) { bench in
            let client = try await bench.client()
            for index in 0..<3 {
                try await client.send("GET /\(index) HTTP/1.1\r\nHost: example.com\r\nX-Thing: a b\r\n\r\n")
                let answer = try await client.response()
                #expect(answer.status == 200)
                #expect(answer.body.hasPrefix("GET /\(index) HTTP/1.1\r\nhost: example.com\r\n"))
                #expect(answer.body.contains("x-thing: a b\r\n"))
                #expect(answer["server"] == "envoy")
            }
            #expect(bench.upstreams[0].connections == 1)
        }
    }

    @Test("with a body of known length, in chunks, and in pieces that come late")
    func bodies() async throws {
        try await ProxyBench.run(ProxyBench.http(), upstreams: [ScriptedUpstream.echo]) { bench in
            let known = try await bench.exchange("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
            #expect(known.body.hasSuffix("\r\n\r\nhello"))
            let client = try await bench.client()
            try await client.send("POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
            try await client.send("lo\r\n3\r\n you\r\n")
            try await client.send("\r\n0\r\n\r\n")
            _ = client
            let chunked = try await bench.exchange(
                "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            #expect(chunked.body.contains("transfer-encoding: chunked\r\n"))
            #expect(chunked.body.hasSuffix("5\r\nhello\r\n0\r\n\r\n"))
        }
    }

    @Test("of several sent ahead, each gets its answer in order")
    func pipelined() async throws {
        try await ProxyBench.run(ProxyBench.http(), upstreams: [ScriptedUpstream.echo]) { bench in
            let client = try await bench.client()
            let requests = (0..<5).map {
                "GET /p\($0) HTTP/1.1\r\nHost: h\r\n\($0 == 4 ? "Connection: close\r\n" : "")\r\n"
            }
            try await client.send(requests.joined())
            let text = try await client.everything()
            let order = (0..<5).map { text.components("GET /p\($0) ").count - 1 }
            #expect(order == [1, 1, 1, 1, 1])
            let places = (0..<5).map { text.components("GET /p\($0) ")[0].utf8.count }
            #expect(places == places.sorted())
        }
    }

    @Test("an answer without a length ends with its connection and reaches the client in chunks")
    func untilClose() async throws {
        let script: ScriptedUpstream.Script = { _, _ in .answerAndClose("HTTP/1.1 200 OK\r\n\r\nall of it") }
        try await ProxyBench.run(ProxyBench.http(), upstreams: [script]) { bench in
            let answer = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(answer["transfer-encoding"] == "chunked")
            #expect(answer.body == "9\r\nall of it\r\n0\r\n\r\n")
        }
    }

    static let statuses: [(String, Int)] = [
        ("GET /none HTTP/1.1\r\nHost: h\r\n\r\n", 404), ("GET / HTTP/1.0\r\n\r\n", 426),
        ("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400),
    ]

    @Test("that nobody can serve is refused", arguments: statuses)
    func refused(row: (String, Int)) async throws {
        let routes = "- match: { path: / }\n  route: { cluster: c0 }"
        try await ProxyBench.run(ProxyBench.http(routes: routes), upstreams: [ScriptedUpstream.echo]) { bench in
            let answer = try await bench.exchange(row.0)
            #expect(answer.status == row.1, "\(answer)")
            #expect(bench.upstreams[0].requests.isEmpty)
        }
    }

    @Test("to an upstream that is not there is answered with 503")
    func noUpstream() async throws {
        try await ProxyBench.run(ProxyBench.http().components("$0").joined(separator: "1")) { bench in
            let answer = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(answer.status == 503)
            #expect(answer.body.hasPrefix("upstream connect error or disconnect/reset before headers."))
        }
    }

    @Test("whose kept upstream connection has died goes over another one")
    func deadConnection() async throws {
        let script: ScriptedUpstream.Script = { _, number in
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            return number == 0 ? .answerAndClose(answer) : .answer(answer)
        }
        try await ProxyBench.run(ProxyBench.http(), upstreams: [script]) { bench in
            for _ in 0..<3 {
                let answer = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                #expect(answer.status == 200)
            }
        }
    }

    @Test("a direct response needs no upstream")
    func direct() async throws {
        let routes = "- match: { prefix: / }\n  direct_response: { status: 418, body: { inline_string: tea } }"
        try await ProxyBench.run(ProxyBench.http(routes: routes, clusters: 0)) { bench in
            let answer = try await bench.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(answer.status == 418 && answer.body == "tea")
            let head = try await bench.exchange("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
            #expect(head.status == 418 && head.body == "" && head["content-length"] == "3")
        }
    }

    @Test("large bodies pass in both directions with bounded memory, also to a client that reads late")
    func large() async throws {
        let body = String(repeating: "0123456789abcdef", count: 1 << 18)
        try await ProxyBench.run(ProxyBench.http(), upstreams: [ScriptedUpstream.says(body)]) { bench in
            let answer = try await bench.exchange(
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
            let (isWhole, sent) = (answer.body == body, bench.upstreams[0].requests.first?.utf8.count ?? 0)
            #expect(isWhole, "\(answer.body.utf8.count) bytes came")
            #expect(sent > body.utf8.count)
        }
    }
}
