import Bytes
import Glibc
import Reactor
import TLS
import Testing

@testable import HTTP

@Suite("HTTP/1 server")
struct ServerTests {
    @Test(
        "malformed requests get their status and a closed connection", arguments: requestTable.filter { $0.isRefused })
    func malformed(_ row: RequestCase) async throws {
        guard case .refused(let status) = row.outcome else { return }
        try await withServer { server in
            let wire = row.wire.unicodeScalars.map { UInt8($0.value) }
            let answer = try await blocking {
                let peer = try RawPeer(port: server.port)
                peer.send(wire)
                return peer.receiveAll()
            }
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
            #expect(answer.contains("connection: close\r\n"))
            try await eventually("open connections", on: server.group.next) {
                await server.server.openConnections()
            } until: {
                $0 == 0
            }
            #expect(await server.server.counters().violations == 1)
        }
    }

    @Test("requests sent ahead are answered in order on one connection")
    func pipelining() async throws {
        try await withServer { server in
            var requests = ""
            for index in 0..<100 {
                requests += "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n" + String(10000 + index)
            }
            requests += "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
            let answer = try await exchange(server.port, requests)
            let bodies = answer.split(separator: "\r\n\r\n").dropFirst().map { $0.prefix(5) }
            #expect(Array(bodies.prefix(100)) == (0..<100).map { Substring(String(10000 + $0)) })
            #expect(answer.contains("GET / HTTP/1.1 h\n"))
            let counters = await server.server.counters()
            #expect(counters.connections == 1)
            #expect(counters.requests == 101)
        }
    }

    @Test("a request may come in single bytes")
    func bytewise() async throws {
        try await withServer { server in
            let answer = try await blocking {
                let peer = try RawPeer(port: server.port)
                for byte
                    in "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
                    .utf8
                {
                    peer.send([byte])
                    usleep(200)
                }
                return peer.receiveAll()
            }
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(answer.hasSuffix("\r\n\r\nabcde"))
        }
    }

    @Test("answers without a body have none, and the connection goes on")
    func bodiless() async throws {
        try await withServer { server in
            let answer = try await exchange(
                server.port,
                """
                HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\nGET /empty HTTP/1.1\r\nHost: h\r\n\r\n\
                GET /unchanged HTTP/1.1\r\nHost: h\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n\
                GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n
                """)
            let parts = answer.components("\r\n\r\n")
            try #require(parts.count == 6, "\(answer)")
            #expect(parts[0].hasPrefix("HTTP/1.1 200 OK"))
            #expect(parts[0].contains("content-length: 0"))
            #expect(parts[1].hasPrefix("HTTP/1.1 204 No Content"))
            #expect(!parts[1].contains("content-length"))
            #expect(parts[2].hasPrefix("HTTP/1.1 304 Not Modified"))
            #expect(parts[3].contains("transfer-encoding: chunked"))
            #expect(parts[5] == "GET /last HTTP/1.1 h\n")
        }
    }

    @Test("HTTP/1.0 is closed after one answer unless it asks to stay, and never gets chunks")
    func http10() async throws {
        try await withServer { server in
            let plain = try await exchange(server.port, "GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n")
            #expect(plain.components("HTTP/1.1 200").count == 2)
            let kept = try await exchange(
                server.port, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
            #expect(kept.components("HTTP/1.1 200").count == 3)
            #expect(kept.contains("connection: keep-alive"))
            let streamed = try await exchange(server.port, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            #expect(!streamed.contains("chunked"))
            #expect(streamed.hasSuffix("\r\n\r\npiece 0\npiece 1\npiece 2\n"))
        }
    }

    @Test("a client that has closed its side still gets its answer")
    func halfClosed() async throws {
        try await withServer { server in
            let answer = try await exchange(server.port, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", halfClose: true)
            #expect(answer.hasSuffix("GET / HTTP/1.1 h\n"))
            let streamed = try await exchange(server.port, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n", halfClose: true)
            #expect(streamed.hasSuffix("piece 2\n\r\n0\r\n\r\n"))
            // Half a request is no request.
            #expect(try await exchange(server.port, "GET / HTTP/1.1\r\nHo", halfClose: true) == "")
            #expect(
                try await exchange(
                    server.port, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc", halfClose: true)
                    == "")
        }
    }

    @Test("a body over the limit is refused, whether its length is announced or not")
    func bodyLimit() async throws {
        var limits = HTTPLimits()
        limits.bodyBytes = 1000
        try await withServer(limits: limits) { server in
            let exact = String(repeating: "x", count: 1000)
            let fits = try await exchange(
                server.port,
                "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n\(exact)")
            #expect(fits.hasSuffix(exact))
            let announced = try await exchange(
                server.port, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n")
            #expect(announced.hasPrefix("HTTP/1.1 413 "))
            #expect(announced.contains("connection: close"))
            let chunked = try await exchange(
                server.port,
                "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n\(exact)\r\n1\r\nx\r\n0\r\n\r\n"
            )
            #expect(chunked.hasPrefix("HTTP/1.1 413 "))
            #expect(await server.server.counters().oversizedBodies == 2)
        }
    }

    @Test("the client is told to go on only when its body is wanted")
    func expectContinue() async throws {
        var limits = HTTPLimits()
        limits.bodyBytes = 1000
        try await withServer(limits: limits) { server in
            let (first, second) = try await blocking {
                let peer = try RawPeer(port: server.port)
                peer.send(
                    "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
                )
                let first = peer.receive(until: "\r\n\r\n")
                peer.send("abc")
                return (first, peer.receiveAll())
            }
            #expect(first == "HTTP/1.1 100 Continue\r\n\r\n")
            #expect(second.hasSuffix("abc"))
            let refused = try await exchange(
                server.port, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3000\r\nExpect: 100-continue\r\n\r\n")
            #expect(refused.hasPrefix("HTTP/1.1 413 "))
        }
    }

    @Test("slow clients are cut off with a reason at each stage")
    func slowClients() async throws {
        var limits = HTTPLimits()
        limits.headerTimeout = .milliseconds(150)
        limits.bodyTimeout = .milliseconds(150)
        limits.idleTimeout = .milliseconds(150)
        try await withServer(limits: limits) { server in
            #expect(try await exchange(server.port, "GET / HT").hasPrefix("HTTP/1.1 408 "))
            #expect(
                try await exchange(server.port, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")
                    .hasPrefix("HTTP/1.1 408 "))
            // A head that comes in drops does not set the clock back.
            let start = ContinuousClock.now
            let dripping = try await blocking {
                let peer = try RawPeer(port: server.port)
                for byte in "GET / HTTP/1.1\r\nHost: h\r\nX: \(String(repeating: "a", count: 100))".utf8 {
                    peer.send([byte])
                    usleep(10_000)
                }
                return peer.receiveAll()
            }
            #expect(dripping.hasPrefix("HTTP/1.1 408 ") || dripping.isEmpty)
            #expect(ContinuousClock.now - start < .seconds(30))
            // A connection without a request, before and after one, is closed without a word.
            #expect(try await exchange(server.port, "") == "")
            #expect(
                try await exchange(server.port, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").hasSuffix("GET / HTTP/1.1 h\n"))
            #expect(await server.server.counters().timeouts >= 3)
        }
    }

    @Test("a client that reads slowly holds up its handler, and memory stays bounded")
    func backPressure() async throws {
        let written = Tally()
        let isDone = Flag()
        let total = 64 << 20
        try await withServer(handler: { _, response in
            do {
                try await response.start(status: 200, length: total)
                let block = [UInt8](repeating: 7, count: 64 << 10)
                for _ in 0..<total / block.count {
                    try await response.write(block)
                    written.add(block.count)
                }
                await response.finish()
                isDone.set()
            } catch {}
        }) { server in
            let peer = try RawPeer(port: server.port, receiveBuffer: 64 << 10)
            peer.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            try await eventually("bytes written", on: server.group.next) {
                written.value
            } until: {
                $0 > 0
            }
            // The kernel buffers some megabytes; ours are at most the high-water mark and one block.
            var last = -1
            for _ in 0..<20 where last != written.value {
                last = written.value
                try await server.group.next.sleep(for: .milliseconds(50))
            }
            #expect(written.value < 16 << 20)
            let received = try await blocking {
                var count = 0
                while let bytes = peer.receive(1 << 20), !bytes.isEmpty { count += bytes.count }
                return count
            }
            #expect(received > total)
            #expect(isDone.isSet)
        }
    }

    @Test("a client that takes nothing at all is cut after the write time-out")
    func stuckReader() async throws {
        var limits = HTTPLimits()
        limits.writeTimeout = .milliseconds(200)
        let failed = Flag()
        try await withServer(
            limits: limits,
            handler: { _, response in
                do {
                    try await response.start(status: 200)
                    while true { try await response.write([UInt8](repeating: 7, count: 64 << 10)) }
                } catch { failed.set() }
            }
        ) { server in
            let peer = try RawPeer(port: server.port, receiveBuffer: 4096)
            peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            try await eventually("handler's failure", on: server.group.next) {
                failed.isSet
            } until: {
                $0
            }
            #expect(await server.server.openConnections() == 0)
            #expect(await server.server.counters().timeouts == 1)
        }
    }

    @Test("a handler learns that its client is gone, by its write and by onClose")
    func clientGone() async throws {
        let closed = Flag()
        let failed = Flag()
        try await withServer(handler: { _, response in
            response.onClose { closed.set() }
            do {
                try await response.start(status: 200)
                while true {
                    try await response.write(Array("tick\n".utf8))
                    try await response.loop.sleep(for: .milliseconds(5))
                }
            } catch { failed.set() }
        }) { server in
            try await blocking {
                let peer = try RawPeer(port: server.port)
                peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                _ = peer.receive(until: "tick")
            }
            try await eventually("handler's failure", on: server.group.next) {
                failed.isSet
            } until: {
                $0
            }
            #expect(closed.isSet)
        }
    }

    @Test("a handler that answers nothing is answered for, and a body of another length cuts the connection")
    func forgetful() async throws {
        try await withServer { server in
            let answer = try await exchange(server.port, "GET /silent HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 500 "))
        }
        try await withServer(handler: { _, response in
            try? await response.start(status: 200, length: 2)
            try? await response.write(Array("too long".utf8))
        }) { server in
            let client = server.client()
            await #expect(throws: HTTPError.self) { try await client.request("GET", "/") }
        }
        try await withServer(handler: { _, response in
            try? await response.start(status: 200, length: 10)
            try? await response.write(Array("short".utf8))
        }) { server in
            let client = server.client()
            await #expect(throws: HTTPError.self) { try await client.request("GET", "/") }
        }
    }

    @Test("draining finishes what is under way, closes what is idle and takes nothing new")
    func drain() async throws {
        let entered = Flag()
        let proceed = Flag()
        let group = try EventLoopGroup(count: 1, name: "drain")
        let server = HTTPServer(
            group: group, address: .ip(.loopbackV4, 0),
            handler: HTTPClosureHandler { _, response in
                entered.set()
                while !proceed.isSet { try? await response.loop.sleep(for: .milliseconds(5)) }
                await response.send(status: 200, text: "finished")
            })
        let port = try await server.start().port?.rawValue ?? 0
        let idle = try RawPeer(port: port)
        let busy = try RawPeer(port: port)
        busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        try await eventually("the handler", on: group.next) {
            entered.isSet
        } until: {
            $0
        }
        async let drained: Void = server.drain(deadline: .seconds(5))
        let (idleAnswer, answer) = try await blocking {
            let idleAnswer = idle.receiveAll()
            proceed.set()
            return (idleAnswer, busy.receiveAll())
        }
        await drained
        #expect(idleAnswer == "")
        #expect(answer.hasSuffix("finished"))
        #expect(answer.contains("connection: close"))
        #expect(throws: Problem.self) { try RawPeer(port: port) }
        await group.shutdown()
    }

    @Test("connections beyond the limit wait until one closes")
    func connectionLimit() async throws {
        var limits = HTTPLimits()
        limits.connections = 2
        let group = try EventLoopGroup(count: 1, name: "limit")
        let server = HTTPServer(
            group: group, address: .ip(.loopbackV4, 0), limits: limits, handler: HTTPClosureHandler(TestHandler.handle))
        let port = try await server.start().port?.rawValue ?? 0
        var holders: [RawPeer] = [try RawPeer(port: port), try RawPeer(port: port)]
        try await eventually("connections", on: group.next) {
            await server.openConnections()
        } until: {
            $0 == 2
        }
        let third = try RawPeer(port: port)
        third.send("GET /third HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        try await group.next.sleep(for: .milliseconds(50))
        #expect(await server.openConnections() == 2)
        holders.removeLast()
        #expect(try await blocking { third.receiveAll() }.contains("/third"))
        holders.removeAll()
        await server.drain(deadline: .milliseconds(100))
        await group.shutdown()
    }

    @Test("the hot face answers without tasks, and sees bodies as they come")
    func hotService() async throws {
        final class Sum: HTTPService {
            func head(_ head: MessageHead, of exchange: HTTPExchange) { exchange.context = Total() }
            func body(_ bytes: UnsafeRawBufferPointer, of exchange: HTTPExchange) {
                (exchange.context as? Total)?.value += bytes.reduce(0) { $0 + Int($1) }
            }
            func end(_ exchange: HTTPExchange, trailers: HTTPHeaders) {
                let total = (exchange.context as? Total)?.value ?? -1
                exchange.respond(200, body: Array("\(total)".utf8))
            }
            func drained(_ exchange: HTTPExchange) {}
            func closed(_ exchange: HTTPExchange) {}
            func peerStoppedSending(_ exchange: HTTPExchange) {}
            final class Total { var value = 0 }
        }
        let group = try EventLoopGroup(count: 1, name: "hot")
        let server = HTTPServer(group: group, address: .ip(.loopbackV4, 0)) { _ in Sum() }
        let port = try await server.start().port?.rawValue ?? 0
        let answer = try await exchange(
            port,
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n\u{1}\u{2}\u{3}GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        )
        #expect(answer.components("\r\n\r\n").count == 3)
        #expect(answer.contains("\r\n\r\n6HTTP/1.1 200 OK"))
        #expect(answer.hasSuffix("\r\n\r\n0"))
        await server.drain(deadline: .milliseconds(100))
        await group.shutdown()
    }

    @Test("random requests never stop the server", arguments: [UInt64(11), 12])
    func fuzz(seed: UInt64) async throws {
        try await withServer { server in
            let pieces = requestTable.map(\.wire)
            try await blocking {
                var random = SplitMix(seed)
                for _ in 0..<300 {
                    let peer = try RawPeer(port: server.port)
                    var wire: [UInt8] = []
                    for _ in 0..<Int.random(in: 1...3, using: &random) {
                        wire += Array((pieces.randomElement(using: &random) ?? "").utf8)
                    }
                    for _ in 0..<Int.random(in: 0...2, using: &random) {
                        wire[Int.random(in: 0..<wire.count, using: &random)] = .random(in: 0...255, using: &random)
                    }
                    peer.send(wire)
                }
            }
            let client = server.client()
            let seen1 = try await client.request("GET", "/alive").isSuccess
            #expect(seen1)
        }
    }
}

extension RequestCase {
    var isRefused: Bool {
        if case .refused = outcome { true } else { false }
    }
}

extension String {
    /// The parts between a separator, empty ones too.
    func components(_ separator: String) -> [String] {
        var parts: [[UInt8]] = [[]]
        let marker = Array(separator.utf8)
        let bytes = Array(utf8)
        var at = 0
        while at < bytes.count {
            if bytes[at...].starts(with: marker) {
                parts.append([])
                at += marker.count
            } else {
                parts[parts.count - 1].append(bytes[at])
                at += 1
            }
        }
        return parts.map { String(decoding: $0, as: UTF8.self) }
    }
}
