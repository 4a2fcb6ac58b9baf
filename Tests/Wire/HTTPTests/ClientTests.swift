import Bytes
import Glibc
import Reactor
import TLS
import Testing

@testable import HTTP

/// A server that says exactly what a test tells it to: one script for each connection, on a thread.
final class ScriptedServer: Sendable {
    let port: UInt16
    private let fd: CInt
    let accepted = Tally()

    init(_ scripts: [@Sendable (RawPeer) -> Void]) throws {
        fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let fd = fd
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(fd, $0, length) == 0 && listen(fd, 16) == 0 && getsockname(fd, $0, &length) == 0
            }
        }
        guard bound else { throw Problem("listen") }
        port = UInt16(bigEndian: address.sin_port)
        Task { [self] in
            try? await blocking {
                for script in scripts {
                    let connection = accept(fd, nil, nil)
                    guard connection >= 0 else { return }
                    self.accepted.add(1)
                    script(RawPeer(adopting: connection))
                }
            }
        }
    }

    deinit { close(fd) }
}

func withClient(_ port: UInt16, limits: HTTPClientLimits = .standard, _ body: (HTTPClient) async throws -> Void)
    async throws
{
    let group = try EventLoopGroup(count: 1, name: "client")
    let client = HTTPClient(on: group.next, endpoint: HTTPEndpoint(host: "127.0.0.1", port: port), limits: limits)
    let result: Result<Void, any Error>
    do {
        try await body(client)
        result = .success(())
    } catch { result = .failure(error) }
    client.close()
    await group.shutdown()
    try result.get()
}

@Suite("HTTP client")
struct ClientTests {
    @Test("requests share a kept connection, and each gets its own answer")
    func keepAlive() async throws {
        try await withServer { server in
            let client = server.client()
            for index in 0..<50 {
                let response = try await client.request("POST", "/echo", body: Array("body \(index)".utf8))
                #expect(response.text == "body \(index)")
                #expect(response.headers["x-length"] == "\(response.body.count)")
            }
            #expect(await server.server.counters().connections == 1)
            let seen1 = try await client.request("GET", "/empty").status
            #expect(seen1 == 204)
            let seen2 = try await client.request("HEAD", "/stream").body
            #expect(seen2 == [])
        }
    }

    @Test("many requests at once use many connections, up to the limit")
    func concurrency() async throws {
        var limits = HTTPClientLimits()
        limits.connections = 8
        try await withServer { server in
            let client = server.client(limits: limits)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                for index in 0..<200 {
                    tasks.addTask {
                        let response = try await client.request("POST", "/echo", body: Array("\(index)".utf8))
                        #expect(response.text == "\(index)")
                    }
                }
                try await tasks.waitForAll()
            }
            #expect(await server.server.counters().connections <= 8)
        }
    }

    @Test("a request that waits for a connection can time out, and the next gets its turn")
    func waitingTimesOut() async throws {
        var limits = HTTPClientLimits()
        limits.connections = 1
        let proceed = Flag()
        try await withServer(handler: { request, response in
            while request.path == "/slow", !proceed.isSet { try? await response.loop.sleep(for: .milliseconds(5)) }
            await response.send(status: 200)
        }) { server in
            let client = server.client(limits: limits)
            async let slow = client.request("GET", "/slow")
            try await eventually("the first", on: server.group.next) {
                await server.server.counters().requests
            } until: {
                $0 == 1
            }
            let error = await #expect(throws: HTTPError.self) {
                try await client.request("GET", "/waits", timeout: .milliseconds(100))
            }
            #expect(error?.kind == .timeout)
            proceed.set()
            #expect(try await slow.isSuccess)
            let after = try await client.request("GET", "/after")
            #expect(after.isSuccess)
        }
    }

    @Test("a big body crosses both ways whole")
    func bigBody() async throws {
        try await withServer { server in
            let body = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
            let response = try await server.client().request("POST", "/echo", body: body)
            #expect(response.body == body)
        }
    }

    @Test("a stream is read as it comes, trailers and all")
    func streaming() async throws {
        try await withServer { server in
            let stream = try await server.client().stream("GET", "/stream?n=1000&trailers=1")
            #expect(stream.status == 200)
            let body = try await stream.collect(limit: 1 << 20)
            #expect(String(decoding: body, as: UTF8.self).split(separator: "\n").count == 1000)
            #expect(await stream.trailers()["x-end"] == "yes")
            #expect(try await stream.next() == nil)
        }
    }

    @Test("a stream that nobody reads holds the server up, and letting go of it ends the exchange")
    func abandonedStream() async throws {
        let written = Tally()
        let failed = Flag()
        try await withServer(handler: { _, response in
            do {
                try await response.start(status: 200)
                while true {
                    try await response.write([UInt8](repeating: 1, count: 64 << 10))
                    written.add(64 << 10)
                }
            } catch { failed.set() }
        }) { server in
            do {
                let stream = try await server.client().stream("GET", "/")
                var last = -1
                for _ in 0..<40 where last != written.value {
                    last = written.value
                    try await server.group.next.sleep(for: .milliseconds(50))
                }
                #expect(written.value < 32 << 20)
                #expect(try await stream.next()?.isEmpty == false)
            }
            try await eventually("the handler's end", on: server.group.next) {
                failed.isSet
            } until: {
                $0
            }
        }
    }

    @Test("a request whose task is cancelled ends at once")
    func cancellation() async throws {
        try await withServer(handler: { _, response in
            try? await response.loop.sleep(for: .seconds(20))
            await response.send(status: 200)
        }) { server in
            let client = server.client()
            let start = ContinuousClock.now
            let task = Task { try await client.request("GET", "/", timeout: nil) }
            try await eventually("the request", on: server.group.next) {
                await server.server.counters().requests
            } until: {
                $0 == 1
            }
            task.cancel()
            await #expect(throws: (any Error).self) { try await task.value }
            await #expect(throws: HTTPError.self) { try await client.request("GET", "/", timeout: .milliseconds(100)) }
            await #expect(throws: HTTPError.self) {
                try await client.stream("GET", "/", headTimeout: .milliseconds(100))
            }
            #expect(ContinuousClock.now - start < .seconds(15))
        }
    }

    @Test("a kept connection that died is not an error where the request can be repeated")
    func deadConnection() async throws {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        func server() throws -> ScriptedServer {
            try ScriptedServer([
                { peer in
                    _ = peer.receive(until: "\r\n\r\n")
                    peer.send(answer)
                    // The next request is read and never answered: the worst way to die.
                    _ = peer.receive(until: "\r\n\r\n")
                },
                { peer in
                    _ = peer.receive(until: "\r\n\r\n")
                    peer.send(answer)
                    _ = peer.receive()
                },
            ])
        }
        let repeatable = try server()
        try await withClient(repeatable.port) { client in
            let seen3 = try await client.request("GET", "/1").text
            #expect(seen3 == "ok")
            let seen4 = try await client.request("GET", "/2").text
            #expect(seen4 == "ok")
            #expect(repeatable.accepted.value == 2)
        }
        let unrepeatable = try server()
        try await withClient(unrepeatable.port) { client in
            let seen5 = try await client.request("POST", "/1", body: [1]).text
            #expect(seen5 == "ok")
            let error = await #expect(throws: HTTPError.self) { try await client.request("POST", "/2", body: [1]) }
            #expect(error?.isRetrySafe == false)
            #expect(error?.kind == .closed)
        }
    }

    @Test("a connection that the server has closed while it was idle is not used again")
    func closedWhileIdle() async throws {
        let server = try ScriptedServer([
            { peer in
                _ = peer.receive(until: "\r\n\r\n")
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            },
            { peer in
                _ = peer.receive(until: "\r\n\r\n")
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nyo")
                _ = peer.receive()
            },
        ])
        try await withClient(server.port) { client in
            let seen6 = try await client.request("POST", "/", body: [1]).text
            #expect(seen6 == "ok")
            try await Task.sleep(for: .milliseconds(50))
            let seen7 = try await client.request("POST", "/", body: [1]).text
            #expect(seen7 == "yo")
        }
    }

    struct Answer: Sendable, CustomTestStringConvertible {
        var wire: String
        /// The body, or nil if it must fail.
        var body: String?
        var testDescription: String { wire.debugDescription }
    }

    @Test(
        "answers are read as the RFC says, and cut or crooked ones are errors",
        arguments: [
            Answer(wire: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", body: "abc"),
            Answer(wire: "HTTP/1.1 200 OK\r\n\r\nuntil the end", body: "until the end"),
            Answer(wire: "HTTP/1.0 200 OK\r\n\r\n", body: ""),
            Answer(
                wire: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
                body: ""),
            Answer(
                wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n", body: "abc"),
            Answer(wire: "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", body: nil),
            Answer(wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", body: nil),
            Answer(wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", body: nil),
            Answer(wire: "HTTP/1.1 200 OK\r\nContent-Len", body: nil),
            Answer(wire: "", body: nil),
            Answer(wire: "SSH-2.0-OpenSSH_9\r\n", body: nil),
            Answer(wire: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", body: nil),
            Answer(wire: "HTTP/1.1 200 OK\r\nX: \(String(repeating: "a", count: 70000))\r\n\r\n", body: nil),
        ])
    func answers(_ answer: Answer) async throws {
        let server = try ScriptedServer([
            { peer in
                _ = peer.receive(until: "\r\n\r\n")
                peer.send(answer.wire)
            }
        ])
        try await withClient(server.port) { client in
            if let body = answer.body {
                let seen8 = try await client.request("GET", "/").text
                #expect(seen8 == body)
            } else {
                let error = await #expect(throws: HTTPError.self) {
                    try await client.request("GET", "/", timeout: .seconds(60))
                }
                #expect(error?.kind == .closed || error?.kind == .malformed, "\(String(describing: error))")
            }
        }
    }

    @Test("a response over the limit is an error, not memory")
    func bodyLimit() async throws {
        var limits = HTTPClientLimits()
        limits.bodyBytes = 100
        try await withServer { server in
            let error = await #expect(throws: HTTPError.self) {
                try await server.client(limits: limits).request(
                    "POST", "/echo", body: [UInt8](repeating: 1, count: 101))
            }
            #expect(error?.kind == .limit)
        }
    }

    @Test("a server that is not there, and a name that does not exist, are named in the error")
    func unreachable() async throws {
        let unused = try ScriptedServer([])
        let port = unused.port
        let group = try EventLoopGroup(count: 1, name: "client")
        for (endpoint, part) in [
            (HTTPEndpoint(host: "127.0.0.1", port: 1), "127.0.0.1:1"),
            (HTTPEndpoint(unixPath: "/nowhere.sock"), "/nowhere.sock"),
            (HTTPEndpoint(host: "no-such-name.invalid", port: port), "no-such-name.invalid"),
        ] {
            let client = HTTPClient(on: group.next, endpoint: endpoint)
            let error = await #expect(throws: HTTPError.self) { try await client.request("GET", "/") }
            #expect(error?.kind == .connect)
            #expect(error?.message.contains(part) == true, "\(String(describing: error))")
            client.close()
        }
        await group.shutdown()
    }

    @Test("a Unix socket is spoken to like any other")
    func unixSocket() async throws {
        let path = "/tmp/weft-http-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
        defer { unlink(path) }
        try await withServer(address: .unix(path: path)) { server in
            let client = HTTPClient(on: server.group.next, endpoint: HTTPEndpoint(unixPath: path))
            let seen9 = try await client.request("GET", "/over-unix").text.hasPrefix("GET /over-unix")
            #expect(seen9)
        }
    }

    @Test("an upgraded connection carries WebSocket messages both ways")
    func webSocket() async throws {
        try await withServer { server in
            let (headers, expected) = WebSocketHandshake.ask(protocols: [])
            let stream = try await server.client().upgrade("GET", "/websocket", protocol: "websocket", headers: headers)
            #expect(stream.status == 101)
            #expect(stream.headers["sec-websocket-accept"] == expected)
            let encoder = WebSocketEncoder(.client)
            var decoder = WebSocketDecoder(.client)
            var pending: [UInt8] = []
            for count in [0, 5, 70_000] {
                let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
                var wire: [UInt8] = []
                encoder.binary(payload, into: &wire)
                try await stream.write(wire)
                var message: WebSocketDecoder.Message?
                while message == nil {
                    pending += try #require(try await stream.next(timeout: .seconds(60)))
                    var consumed = 0
                    message = try pending.withUnsafeBytes { try decoder.next($0, consumed: &consumed) }
                    pending.removeFirst(consumed)
                }
                #expect(message == .binary(payload))
            }
            var bye: [UInt8] = []
            encoder.close(code: 1000, into: &bye)
            try await stream.write(bye)
            let last = try await stream.collect(limit: 100, timeout: .seconds(60))
            #expect(last == [0x88, 2, 3, 232])
            // A plain request for it is refused in words.
            let seen10 = try await server.client().request("GET", "/websocket").status
            #expect(seen10 == 400)
        }
    }

    @Test(
        "endpoints are read from URLs and written back",
        arguments: [
            ("http://a", "http://a"), ("https://a:443/", "https://a"),
            ("https://10.0.0.1:6443", "https://10.0.0.1:6443"),
            ("http://[::1]:80/base/", "http://[::1]/base"), ("unix:///run/x.sock", "unix:/run/x.sock"),
            ("ftp://a", nil), ("http://", nil), ("http://u@a", nil), ("http://a:x", nil), ("http://a?x", nil),
            ("http://[::1", nil),
        ] as [(String, String?)])
    func endpoints(_ url: String, _ expected: String?) {
        #expect(HTTPEndpoint(url)?.description == expected)
    }
}
