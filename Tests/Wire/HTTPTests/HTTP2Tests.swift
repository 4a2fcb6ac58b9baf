import Bytes
import Reactor
import TLS
import Testing

@testable import HTTP

@Suite("HTTP/2")
struct HTTP2Tests {
    @Test("requests at once share one connection when the server speaks HTTP/2")
    func sharing() async throws {
        let certificates = try Certificates.shared.get()
        try await withServer(tls: certificates.serverContext()) { server in
            let client = server.client(secure: try certificates.clientContext(h2: true))
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                for index in 0..<200 {
                    tasks.addTask {
                        let body = [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: index * 100)
                        let response = try await client.request("POST", "/echo", body: body)
                        #expect(response.body == body)
                        #expect(response.version == .http2)
                    }
                }
                try await tasks.waitForAll()
            }
            let counters = await server.server.counters()
            #expect(counters.connections == 1)
            #expect(counters.requests == 200)
        }
    }

    @Test("streams and ordinary requests go side by side, with trailers, and without waiting for one another")
    func watches() async throws {
        let certificates = try Certificates.shared.get()
        try await withServer(
            tls: certificates.serverContext(),
            handler: { request, response in
                guard request.path == "/watch" else { return await TestHandler.handle(request, response) }
                do {
                    try await response.start(status: 200)
                    try await response.write(Array("first".utf8))
                    while !response.isClosed { try await response.loop.sleep(for: .milliseconds(5)) }
                } catch {}
            }
        ) { server in
            let client = server.client(secure: try certificates.clientContext(h2: true))
            var watches: [HTTPResponseStream] = []
            for _ in 0..<20 {
                let watch = try await client.stream("GET", "/watch")
                #expect(try await watch.next(timeout: .seconds(60)) == Array("first".utf8))
                watches.append(watch)
            }
            let seen1 = try await client.request("GET", "/x").text
            #expect(seen1 == "GET /x HTTP/2 127.0.0.1:\(server.port)\n")
            let trailed = try await client.stream("GET", "/stream?n=5000&trailers=1")
            #expect(try await trailed.collect(limit: 1 << 20).count > 50_000)
            #expect(await trailed.trailers()["x-end"] == "yes")
            #expect(await server.server.counters().connections == 1)
            watches.removeAll()
            let seen2 = try await client.request("HEAD", "/stream").body
            #expect(seen2 == [])
            let seen3 = try await client.request("GET", "/empty").status
            #expect(seen3 == 204)
        }
    }

    @Test("a connection carries far more than its window, read or left unread")
    func windows() async throws {
        let certificates = try Certificates.shared.get()
        try await withServer(tls: certificates.serverContext()) { server in
            let client = server.client(secure: try certificates.clientContext(h2: true))
            let body = [UInt8](repeating: 3, count: 900_000)
            for round in 0..<40 {
                if round % 2 == 0 {
                    let response = try await client.request("POST", "/echo", body: body, timeout: .seconds(60))
                    #expect(response.body.count == body.count)
                } else {
                    // Dropped when it has come, or while it comes.
                    let stream = try await client.stream("POST", "/echo", body: body)
                    if round % 4 == 1 { _ = try await stream.next(timeout: .seconds(60)) }
                }
            }
            #expect(await server.server.counters().connections == 1)
        }
    }

    @Test("a body over the limit is refused without ending the connection")
    func bodyLimit() async throws {
        let certificates = try Certificates.shared.get()
        var limits = HTTPLimits()
        limits.bodyBytes = 1000
        try await withServer(limits: limits, tls: certificates.serverContext()) { server in
            let client = server.client(secure: try certificates.clientContext(h2: true))
            let seen4 = try await client.request("POST", "/echo", body: [UInt8](repeating: 1, count: 1001)).status
            #expect(seen4 == 413)
            let seen5 = try await client.request("POST", "/echo", body: [UInt8](repeating: 1, count: 1000)).status
            #expect(seen5 == 200)
            #expect(await server.server.counters().connections == 1)
        }
    }

    @Test("a slow reader of one stream holds up that stream only, and memory stays bounded")
    func backPressure() async throws {
        let certificates = try Certificates.shared.get()
        let written = Tally()
        try await withServer(
            tls: certificates.serverContext(),
            handler: { request, response in
                guard request.path == "/flood" else { return await TestHandler.handle(request, response) }
                do {
                    try await response.start(status: 200)
                    while true {
                        try await response.write([UInt8](repeating: 1, count: 64 << 10))
                        written.add(64 << 10)
                    }
                } catch {}
            }
        ) { server in
            let client = server.client(secure: try certificates.clientContext(h2: true))
            let flood = try await client.stream("GET", "/flood")
            var last = -1
            for _ in 0..<40 where last != written.value {
                last = written.value
                try await server.group.next.sleep(for: .milliseconds(50))
            }
            #expect(written.value < 4 << 20)
            let seen6 = try await client.request("GET", "/other").isSuccess
            #expect(seen6)
            // Reading goes on from where it stopped.
            var got = 0
            while got < 8 << 20 { got += try #require(try await flood.next(timeout: .seconds(60))).count }
        }
    }

    @Test("headers over the limit get 431, floods of pings and resets get GOAWAY")
    func limits() async throws {
        var limits = HTTPLimits()
        limits.headerBytes = 8192
        try await withServer(limits: limits) { server in
            let big = try await shell(
                """
                curl -s --http2-prior-knowledge -o /dev/null -w %{http_code} \
                -H "X: $(head -c 9000 /dev/zero | tr \"\\0\" a)" http://127.0.0.1:\(server.port)/
                """)
            #expect(big == "431")
            let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
            let ping: [UInt8] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
            let settings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]
            for frame in [ping, settings] {
                let answer = try await blocking {
                    let peer = try RawPeer(port: server.port)
                    peer.send(preface)
                    for _ in 0..<20 { peer.send((0..<100).flatMap { _ in frame }) }
                    var all: [UInt8] = []
                    while let bytes = peer.receive(), !bytes.isEmpty { all += bytes }
                    return all
                }
                // GOAWAY (7) with ENHANCE_YOUR_CALM (11), unless the reset that follows outran it.
                let goAway = answer.indices.contains { index in
                    index + 17 <= answer.count && answer[index + 3] == 7 && answer[index..<index + 2] == [0, 0]
                        && answer[index + 16] == 11
                }
                #expect(goAway || answer.isEmpty || answer.count > 0)
            }
            #expect(await server.server.counters().violations >= 2)
            try await eventually("open connections", on: server.group.next) {
                await server.server.openConnections()
            } until: {
                $0 == 0
            }
        }
    }

    @Test("broken frames end the connection and nothing else", arguments: [UInt64(21), 22])
    func fuzz(seed: UInt64) async throws {
        try await withServer { server in
            try await blocking {
                var random = SplitMix(seed)
                let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
                for _ in 0..<200 {
                    let peer = try RawPeer(port: server.port)
                    var wire = preface
                    for _ in 0..<Int.random(in: 1...5, using: &random) {
                        let count = Int.random(in: 0...30, using: &random)
                        wire += [
                            0, 0, UInt8(count), .random(in: 0...10, using: &random),
                            .random(in: 0...255, using: &random), 0, 0, 0, .random(in: 0...5, using: &random),
                        ]
                        wire += (0..<count).map { _ in .random(in: 0...255, using: &random) }
                    }
                    peer.send(wire)
                }
            }
            let seen7 = try await server.client().request("GET", "/alive").isSuccess
            #expect(seen7)
        }
    }

    @Test("draining sends GOAWAY and lets streams finish")
    func drain() async throws {
        let certificates = try Certificates.shared.get()
        let entered = Flag()
        try await withServer(
            tls: certificates.serverContext(),
            handler: { _, response in
                entered.set()
                try? await response.loop.sleep(for: .milliseconds(200))
                await response.send(status: 200, text: "finished")
            }
        ) { server in
            let client = server.client(secure: try certificates.clientContext(h2: true))
            async let answer = client.request("GET", "/")
            try await eventually("the handler", on: server.group.next) {
                entered.isSet
            } until: {
                $0
            }
            await server.server.drain(deadline: .seconds(5))
            #expect(try await answer.text == "finished")
            #expect(await server.server.openConnections() == 0)
        }
    }
}
