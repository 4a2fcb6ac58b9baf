import Reactor
import Testing

@testable import Proxy

@Suite("The last request of a connection", .timeLimit(.minutes(1)))
struct LastRequestTests {
    /// The peer has closed both ways: what it is sent is refused. One that still reads takes it without end.
    private func isRefused(_ client: RawClient) async -> Bool {
        do {
            try await client.send("x")
            return false
        } catch {
            return true
        }
    }

    @Test("nothing is awaited of a client that has said it wants no more", arguments: ["1.1", "1.0"])
    func saidByClient(version: String) async throws {
        let manager = "delayed_close_timeout: 3600s\nhttp_protocol_options: { accept_http_10: true }"
        try await ProxyBench.run(ProxyBench.http(manager: manager), upstreams: [ScriptedUpstream.says("a")]) { bench in
            let client = try await bench.client()
            let close = version == "1.0" ? "" : "connection: close\r\n"
            try await client.send("GET / HTTP/\(version)\r\nhost: a\r\n\(close)\r\n")
            let answer = RawResponse(try await client.everything())
            #expect(answer.status == 200 && answer.body == "a")
            try await bench.until { await isRefused(client) }
        }
    }

    @Test("what a client has sent behind its last request does not cost it the answer")
    func sentBehind() async throws {
        try await ProxyBench.run(ProxyBench.http(), upstreams: [ScriptedUpstream.says("a")]) { bench in
            let client = try await bench.client()
            let more = String(repeating: "x", count: 1 << 20)
            try await client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" + more)
            let answer = RawResponse(try await client.everything())
            #expect(answer.status == 200 && answer.body == "a")
        }
    }
}
