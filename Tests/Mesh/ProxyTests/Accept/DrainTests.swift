import Bytes
import HTTP
import Reactor
import Synchronization
import Testing

@testable import Proxy

@Suite("Going down")
struct DrainTests {
    private static let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n"

    /// Asks one request after the other until the proxy takes no connection any more.
    ///
    /// - Returns: How many were answered.
    private func ask(_ address: SocketAddress, on loop: EventLoop, _ load: Load) async throws -> Int {
        var count = 0
        while true {
            guard let connection = try? await StreamConnection.connect(to: address, on: loop) else { return count }
            let client = RawClient(connection)
            var isNew = true
            while true {
                let response: RawResponse
                do {
                    try await client.send(Self.request)
                    response = try await client.response()
                } catch {
                    // The kernel resets what nobody had accepted when the listener closed; that is as good as refused.
                    guard isNew, (try? await StreamConnection.connect(to: address, on: loop)) == nil else {
                        throw error
                    }
                    return count
                }
                isNew = false
                guard response.status == 200 else { throw Unexpected("\(response)") }
                count += 1
                load.answered.withLock { $0 += 1 }
                if response["connection"] == "close" { break }
            }
        }
    }

    @Test("no request fails while the proxy drains under load, and nothing is left")
    func lossless() async throws {
        try await ProxyBench.run(ProxyBench.http(), upstreams: [ScriptedUpstream.says("a")], workers: 2) { bench in
            let address = try await bench.address()
            let load = Load()
            let (left, counts) = try await withThrowingTaskGroup(of: Int.self) { group -> (Int, [Int]) in
                for _ in 0..<8 {
                    group.addTask { try await ask(address, on: bench.group.all[0], load) }
                }
                try await bench.until { load.answered.withLock { $0 } > 200 }
                let left = await bench.server.drain(within: .seconds(60))
                var counts: [Int] = []
                for try await count in group { counts.append(count) }
                return (left, counts)
            }
            #expect(left == 0)
            #expect(counts.count == 8)
        }
    }

    /// Asks over HTTP/2, several at once, by requests that nobody may repeat, until the proxy takes no connection any more.
    private func askHTTP2(_ client: HTTPClient, _ load: Load) async throws {
        while true {
            do {
                let answer = try await client.request("POST", "/", body: Array("hello".utf8), timeout: .seconds(60))
                guard answer.status == 200, answer.text == "hello" else { throw Unexpected("\(answer)") }
                load.answered.withLock { $0 += 1 }
            } catch let error as HTTPError where error.kind == .connect { return }
        }
    }

    @Test("no stream of HTTP/2 is lost while the proxy drains under load")
    func losslessHTTP2() async throws {
        let peers = try EventLoopGroup(count: 1, name: "peers")
        let loop = peers.all[0]
        let upstream = HTTPServer(
            group: peers, address: .ip(.loopbackV4, 0),
            handler: HTTPClosureHandler { request, response in
                try? await loop.sleep(for: .milliseconds(5))
                await response.send(status: 200, body: request.body)
            })
        let port = try await upstream.start().port?.rawValue ?? 0
        let text = ProxyBench.http().split(separator: "$0", omittingEmptySubsequences: false).joined(
            separator: "\(port)")
        try await ProxyBench.run(text, workers: 2) { bench in
            var endpoint = try #require(HTTPEndpoint(try await bench.address()))
            endpoint.dialect = .http2
            let load = Load()
            let left = try await withThrowingTaskGroup(of: Void.self) { [endpoint] group in
                for _ in 0..<8 {
                    let client = HTTPClient(on: loop, endpoint: endpoint)
                    for _ in 0..<4 { group.addTask { try await askHTTP2(client, load) } }
                }
                try await bench.until { load.answered.withLock { $0 } > 400 }
                let left = await bench.server.drain(within: .seconds(60))
                try await group.waitForAll()
                return left
            }
            #expect(left == 0)
        }
        await upstream.drain(deadline: .zero)
        await peers.shutdown()
    }

    @Test("connections without a request are closed, whether they carried one or not")
    func idle() async throws {
        try await ProxyBench.run(ProxyBench.http(), upstreams: [ScriptedUpstream.says("a")]) { bench in
            let idle = try await bench.client()
            try await idle.send(Self.request)
            _ = try await idle.response()
            let fresh = try await bench.client()
            let left = await bench.server.drain(within: .seconds(60))
            #expect(left == 0)
            let rest = try await idle.everything() + fresh.everything()
            #expect(rest == "")
        }
    }

    @Test("the deadline holds for a request that nobody answers")
    func deadline() async throws {
        try await ProxyBench.run(ProxyBench.http(), upstreams: [{ _, _ in .silence }]) { bench in
            let client = try await bench.client()
            try await client.send(Self.request)
            try await bench.until { bench.upstreams[0].requests.count == 1 }
            let left = await bench.server.drain(within: .milliseconds(50))
            #expect(left == 1)
        }
    }

    @Test("listeners that drain and stay ask each connection to go, and take new ones")
    func stays() async throws {
        try await ProxyBench.run(ProxyBench.http(), upstreams: [ScriptedUpstream.says("a")]) { bench in
            let client = try await bench.client()
            try await client.send(Self.request)
            let before = try await client.response()
            #expect(before["connection"] == nil)
            await bench.server.drainListeners(graceful: true, keepsListeners: true, inboundOnly: false)
            try await client.send(Self.request)
            let after = try await client.response()
            #expect(after["connection"] == "close")
            let another = try await bench.exchange(Self.request)
            #expect(another["connection"] == "close")
        }
    }
}

/// Clients that ask one request after the other, as those see who watch them.
final class Load: Sendable {
    let answered = Mutex(0)
    let stops = Mutex(false)
    var isOver: Bool { stops.withLock { $0 } }
}
