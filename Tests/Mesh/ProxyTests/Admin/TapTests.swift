import Bytes
import HTTP
import JSON
import Reactor
import Testing

@testable import Proxy

@Suite("Requests told as they end")
struct TapTests {
    private static let routes = """
        - match: { prefix: / }
          route: { cluster: c0 }
        """

    /// A proxy whose admin port is served on a loop of its own; its listener has connections come in.
    private func run(_ body: (ProxyBench, HTTPClient) async throws -> Void) async throws {
        let upstream: ScriptedUpstream.Script = { request, _ in
            request.hasPrefix("GET /bad")
                ? .answer("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
                : .answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        }
        let configuration = ProxyBench.http(routes: Self.routes, clusters: 1)
        try await ProxyBench.run(configuration, upstreams: [upstream]) { bench in
            let group = try EventLoopGroup(count: 1, name: "admin")
            let (_, address) = try await AdminServer(bench.server) {}.start(
                at: .ip(.loopbackV4, 0, scope: 0), on: group)
            let client = HTTPClient(on: group.next, endpoint: HTTPEndpoint(address)!)
            do { try await body(bench, client) } catch {
                await group.shutdown()
                throw error
            }
            client.close()
            await group.shutdown()
        }
    }

    private func ask(_ bench: ProxyBench, _ path: String, _ method: String = "GET") async throws {
        _ = try await bench.exchange(
            "\(method) \(path) HTTP/1.1\r\nhost: shop\r\nx-request-id: r\(path)\r\nconnection: close\r\n\r\n")
    }

    private func taps(_ bench: ProxyBench) async -> Int {
        let worker = bench.worker
        return (try? await worker.loop.perform { worker.watch.taps.count }) ?? -1
    }

    private func until(_ what: String, _ holds: () async -> Bool) async throws {
        for _ in 0..<6000 {
            if await holds() { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("not within a minute: \(what)")
    }

    @Test("each request is a line, those that are not asked for are none, and a reader who goes leaves nothing")
    func lines() async throws {
        try await run { bench, client in
            let stream = try await client.stream("GET", "/tap?status=5xx&path=/bad&method=GET&host=sho")
            #expect(stream.status == 200)
            try await until("the tap is open") { await taps(bench) == 1 }
            try await ask(bench, "/good")
            try await ask(bench, "/bad/1", "POST")
            try await ask(bench, "/bad/2?x")
            var bytes: [UInt8] = []
            while !bytes.contains(UInt8(ascii: "\n")), let more = try await stream.next(timeout: .seconds(60)) {
                bytes += more
            }
            let lines = bytes.split(separator: UInt8(ascii: "\n"))
            let line = try JSONValue.parse(Array(try #require(lines.first)))
            #expect(lines.count == 1)
            #expect(line["path"] == "/bad/2?x" && line["method"] == "GET" && line["host"] == "shop")
            #expect(line["status"] == 503 && line["direction"] == "outbound" && line["cluster"] == "c0")
            #expect(line["id"] == "r/bad/2?x" && line["attempts"] == 1 && line["tls"] == false, "\(line)")
            let time = line["time"]?.string.flatMap { Timestamp(rfc3339: $0) }
            #expect(time.map { abs($0.seconds - Timestamp.now().seconds) < 120 } == true)
            #expect((line["durationMs"]?.double ?? -1) >= 0 && line["peer"] == nil)
            #expect(line["upstream"]?.string == "127.0.0.1:\(bench.upstreams[0].port)")
            stream.cancel()
            try await until("the tap is gone") { await taps(bench) == 0 }
        }
    }

    @Test("what is asked for wrongly is refused with the words for it, and so are too many readers")
    func refused() async throws {
        try await run { bench, client in
            for query in ["status=abc", "direction=up", "min_ms=-1", "color=red"] {
                let answer = try await client.request("GET", "/tap?\(query)")
                #expect(answer.status == 400 && answer.text.contains("usage: /tap"), "\(query)")
            }
            var open: [HTTPResponseStream] = []
            for _ in 0..<AdminServer.tapLimit { open.append(try await client.stream("GET", "/tap")) }
            let one = try await client.stream("GET", "/tap")
            #expect(one.status == 429)
            for stream in open { stream.cancel() }
            try await until("all are gone") { await taps(bench) == 0 }
        }
    }

    @Test("a reader who does not read is told what was missed, and holds no more than the limit")
    func bounded() throws {
        let tap = Tap(try TapFilter([]))
        #expect(tap.drain().isEmpty)
        for text in ["status=5xx", "failed", "peer=x"] {
            let parts = text.split(separator: "=").map(String.init)
            #expect(try TapFilter([(parts[0], parts.count > 1 ? parts[1] : "")]) != TapFilter([]))
        }
    }
}
