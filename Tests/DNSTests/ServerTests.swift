import Bytes
import ClusterAPI
import DNSMessage
import Glibc
import JSON
import Reactor
import Telemetry
import Testing

@testable import ClusterDNS

/// A name server on loopback: the Corefile's first port, on a free one.
private final class RunningServer: Sendable {
    let loop: EventLoop
    let end: IPEndpoint
    private let server: LoopServer
    private let listener: Listener
    private let socket: DatagramSocket

    /// On `loop`.
    init(_ corefile: String, zone: ClusterZone?, on loop: EventLoop) throws {
        let config = try ServerConfig(corefile: corefile, file: "Corefile") { _ in "" }
        self.loop = loop
        let server = LoopServer(config.blocks, on: loop, log: Log.shared)
        if let zone { server.setZone(zone, block: 0) }
        self.server = server
        var options = ListenerOptions()
        options.stream.inputLimit = 2 + 65_535 + 16_384
        var attempts = 0
        while true {
            let socket = try DatagramSocket(.ip(.loopbackV4, 0), on: loop, handler: server)
            guard let end = socket.address.endpoint else { throw SystemError(errno: EINVAL, call: "bind") }
            do {
                listener = try Listener(socket.address, on: loop, options: options) { stream in
                    stream.handler = StreamSession(server, stream)
                }
                self.end = end
                self.socket = socket
                return
            } catch {
                // The port is somebody's for TCP: take another one for both.
                socket.close()
                attempts += 1
                guard attempts < 50 else { throw error }
            }
        }
    }

    func counters() async throws -> LoopServer.Counters { try await loop.perform { self.server.counters } }

    /// What dig says, without its comments.
    func dig(_ words: String...) async throws -> String {
        let arguments = ["dig", "@127.0.0.1", "-p", "\(end.port)", "+time=5", "+tries=1"] + words
        return try await ChildProcess.run(.init(arguments), on: loop, timeout: .seconds(30)).text
    }
}

private func withServer<R: Sendable>(
    _ corefile: String = ".:53 {\n kubernetes cluster.local in-addr.arpa ip6.arpa\n}\n",
    zone: ClusterZone? = ZoneTests.shop,
    _ body: @Sendable (RunningServer, EventLoopGroup) async throws -> R
) async throws -> R {
    let group = try EventLoopGroup(count: 2, name: "dns")
    do {
        let result = try await withTaskExecutorPreference(group.all[0]) {
            let server = try await group.all[1].perform {
                try RunningServer(corefile, zone: zone, on: group.all[1])
            }
            return try await body(server, group)
        }
        await group.shutdown()
        return result
    } catch {
        await group.shutdown()
        throw error
    }
}

/// An upstream server that answers every A question with one address, or keeps silent, or lies first.
private final class Upstream: DatagramHandler, @unchecked Sendable {
    enum Manner { case answers, isSilent, liesFirst }

    // Touched on its loop only.
    private(set) var questions = 0
    private let manner: Manner
    private let ttl: UInt32

    init(_ manner: Manner, ttl: UInt32 = 100) { (self.manner, self.ttl) = (manner, ttl) }

    static func start(_ manner: Manner, ttl: UInt32 = 100, on loop: EventLoop) async throws -> (Upstream, IPEndpoint) {
        try await loop.perform {
            let upstream = Upstream(manner, ttl: ttl)
            let socket = try DatagramSocket(.ip(.loopbackV4, 0), on: loop, handler: upstream)
            guard let end = socket.address.endpoint else { throw SystemError(errno: EINVAL, call: "bind") }
            return (upstream, end)
        }
    }

    override func datagramDidArrive(_ socket: DatagramSocket, _ datagram: Datagram) {
        questions += 1
        guard manner != .isSilent, let query = try? DNSQuery(datagram.bytes) else { return }
        if manner == .liesFirst {
            var lie = answer(query, datagram.bytes, IPAddress(v4: 6, 6, 6, 6))
            lie[1] ^= 1
            _ = lie.withUnsafeBytes { socket.send($0, to: datagram.source) }
        }
        _ = answer(query, datagram.bytes, IPAddress(v4: 192, 0, 2, 1)).withUnsafeBytes {
            socket.send($0, to: datagram.source)
        }
    }

    private func answer(_ query: DNSQuery, _ message: UnsafeRawBufferPointer, _ address: IPAddress) -> [UInt8] {
        var content = DNSAnswerWriter.Content(code: .noError)
        content.answers.append(address, ttl: ttl)
        var writer = DNSAnswerWriter()
        writer.write(query, message, content, limit: 4096)
        return writer.bytes
    }
}

@Suite struct ServerTests {
    @Test(
        "dig gets cluster names over UDP and over TCP", arguments: ["+notcp", "+tcp"])
    func names(transport: String) async throws {
        try await withServer { server, _ in
            func short(_ name: String, _ type: String) async throws -> [String] {
                try await server.dig("+short", transport, name, type).split(separator: "\n").map(String.init).sorted()
            }
            let reply1 = try await short("cart.shop.svc.cluster.local", "A")
            #expect(reply1 == ["10.96.1.1"])
            let reply2 = try await short("CART.Shop.SVC.cluster.LOCAL", "AAAA")
            #expect(reply2 == ["fd00::1"])
            #expect(
                try await short("_http._tcp.cart.shop.svc.cluster.local", "SRV") == [
                    "0 100 80 cart.shop.svc.cluster.local."
                ])
            let reply3 = try await short("db.shop.svc.cluster.local", "A")
            #expect(reply3 == ["10.244.0.7", "10.244.1.8"])
            let reply4 = try await short("db-0.db.shop.svc.cluster.local", "A")
            #expect(reply4 == ["10.244.0.7"])
            let reply5 = try await short("10-244-1-8.db.shop.svc.cluster.local", "A")
            #expect(reply5 == ["10.244.1.8"])
            let reply6 = try await short("1.1.96.10.in-addr.arpa", "PTR")
            #expect(reply6 == ["cart.shop.svc.cluster.local."])
            let reply7 = try await short("7.0.244.10.in-addr.arpa", "PTR")
            #expect(reply7 == ["db-0.db.shop.svc.cluster.local."])
            let reply8 = try await short("dns-version.cluster.local", "TXT")
            #expect(reply8 == ["\"1.1.0\""])
            let reply9 = try await short("alias.shop.svc.cluster.local", "A")
            #expect(reply9.contains("10.96.1.1"))
        }
    }

    @Test("an unknown name is NXDOMAIN and a wrong type is NODATA, both with the zone's SOA; foreign names are refused")
    func absence() async throws {
        try await withServer { server, _ in
            let unknown = try await server.dig("nothing.shop.svc.cluster.local", "A")
            #expect(unknown.contains("status: NXDOMAIN"))
            #expect(unknown.contains("hostmaster.cluster.local."))
            let noData = try await server.dig("cart.shop.svc.cluster.local", "TXT")
            #expect(noData.contains("status: NOERROR") && noData.contains("ANSWER: 0") && noData.contains("SOA"))
            #expect(noData.contains("flags: qr aa rd"))
            let reply10 = try await server.dig("example.org", "A")
            #expect(reply10.contains("status: REFUSED"))
            #expect(
                try await server.dig("+edns=1", "+noednsneg", "cart.shop.svc.cluster.local").contains("status: BADVERS")
            )
            let reply11 = try await server.dig("cart.shop.svc.cluster.local", "CH", "A")
            #expect(reply11.contains("status: REFUSED"))
        }
    }

    @Test("what does not fit into a datagram is marked, and whole over TCP")
    func truncation() async throws {
        let zone = ZoneTests.zone { builder in
            builder.set(ZoneTests.headless)
            let endpoints = (0..<200).map { ZoneTests.endpoint("10.244.\($0 / 100).\($0 % 100 + 1)") }
            builder.set(ZoneTests.slice("db-1", of: "db", endpoints))
        }
        try await withServer(zone: zone) { server, _ in
            let name = "db.shop.svc.cluster.local"
            let cut = try await server.dig("+ignore", "+noedns", name, "A")
            #expect(cut.contains("flags: qr aa tc rd"))
            let whole = try await server.dig("+short", name, "A")
            #expect(whole.split(separator: "\n").count == 200)
            let counters = try await server.counters()
            #expect(counters.truncated >= 2)
        }
    }

    @Test("a hundred questions in one piece on one TCP connection are all answered, also when they trickle in")
    func pipelining() async throws {
        try await withServer { server, group in
            let name = try #require(DNSName("cart.shop.svc.cluster.local"))
            var stream: [UInt8] = []
            for id in 0..<100 {
                var message = ForwardedQuestion(name, .a).message
                (message[0], message[1]) = (UInt8(id >> 8), UInt8(truncatingIfNeeded: id))
                stream += [UInt8(message.count >> 8), UInt8(truncatingIfNeeded: message.count)] + message
            }
            for piece in [stream.count, 7] {
                let connection = try await StreamConnection.connect(to: SocketAddress(server.end), on: group.all[0])
                for start in Swift.stride(from: 0, to: stream.count, by: piece) {
                    try await connection.write(Array(stream[start..<min(start + piece, stream.count)]))
                }
                var ids: Set<Int> = []
                for _ in 0..<100 {
                    let length = try await connection.read(exactly: 2)
                    let answer = try await connection.read(exactly: Int(length[0]) << 8 + Int(length[1]))
                    ids.insert(Int(answer[0]) << 8 | Int(answer[1]))
                    #expect(answer.suffix(4) == [10, 96, 1, 1])
                }
                #expect(ids == Set(0..<100))
                connection.close()
            }
        }
    }

    @Test("broken messages of every kind leave the server answering")
    func malformed() async throws {
        try await withServer { server, group in
            let good = ForwardedQuestion(try #require(DNSName("cart.shop.svc.cluster.local")), .a).message
            let seed = UInt64.random(in: .min ... .max)
            try await group.all[0].perform {
                var random = SplitMix64(seed: seed)
                let client = try DatagramSocket(.ip(.loopbackV4, 0), on: group.all[0], handler: DatagramHandler())
                func send(_ bytes: [UInt8]) { _ = bytes.withUnsafeBytes { client.send($0, to: server.end) } }
                for length in 1...good.count { send(Array(good.prefix(length))) }
                for number in 0..<3000 {
                    var bytes = good
                    for _ in 0..<Int.random(in: 1...4, using: &random) {
                        bytes[Int.random(in: 0..<bytes.count, using: &random)] ^=
                            1 << UInt8.random(in: 0...7, using: &random)
                    }
                    send(bytes)
                    if number % 100 == 0 { try await group.all[0].sleep(for: .milliseconds(1)) }
                }
            }
            // A frame that promises more than comes, and one that is no message.
            for frame in [[0xFF, 0xFF, 1, 2, 3], [0, 0], [0, 1, 0]] as [[UInt8]] {
                let connection = try await StreamConnection.connect(to: SocketAddress(server.end), on: group.all[0])
                try await connection.write(frame)
                await connection.shutdownWrite()
                _ = try? await connection.readToEnd(limit: 65_536)
            }
            let reply12 = try await server.dig("+short", "cart.shop.svc.cluster.local", "A")
            #expect(reply12 == "10.96.1.1", "seed \(seed)")
        }
    }

    @Test("other names are forwarded, answered from the cache the second time, and aged")
    func forwarding() async throws {
        let group = try EventLoopGroup(count: 1, name: "upstream")
        let (upstream, end) = try await Upstream.start(.answers, on: group.all[0])
        try await withServer(".:53 {\n cache 30\n forward . \(end)\n}\n", zone: nil) { server, _ in
            let reply13 = try await server.dig("+short", "example.org", "A")
            #expect(reply13 == "192.0.2.1")
            let again = try await server.dig("example.org", "A")
            #expect(again.contains("192.0.2.1"))
        }
        let questions = try await group.all[0].perform { upstream.questions }
        #expect(questions == 1)
        await group.shutdown()
    }

    @Test("an answer with a foreign id is not believed")
    func spoofed() async throws {
        let group = try EventLoopGroup(count: 1, name: "upstream")
        let (_, end) = try await Upstream.start(.liesFirst, on: group.all[0])
        try await withServer(".:53 {\n forward . \(end)\n}\n", zone: nil) { server, _ in
            let reply14 = try await server.dig("+short", "example.org", "A")
            #expect(reply14 == "192.0.2.1")
        }
        await group.shutdown()
    }

    @Test("when an upstream refuses or keeps silent the next one is asked; with none left the client gets SERVFAIL")
    func failover() async throws {
        let group = try EventLoopGroup(count: 1, name: "upstream")
        let (_, good) = try await Upstream.start(.answers, on: group.all[0])
        let (_, silent) = try await Upstream.start(.isSilent, on: group.all[0])
        let closed = try await group.all[0].perform { () -> IPEndpoint in
            let probe = try DatagramSocket(.ip(.loopbackV4, 0), on: group.all[0], handler: DatagramHandler())
            defer { probe.close() }
            return try #require(probe.address.endpoint)
        }
        for dead in [closed, silent] {
            try await withServer(".:53 {\n forward . \(dead) \(good) {\n  policy sequential\n }\n}\n", zone: nil) {
                server, _ in
                let reply15 = try await server.dig("+short", "example.org", "A")
                #expect(reply15 == "192.0.2.1")
            }
        }
        try await withServer(".:53 {\n forward . \(closed)\n}\n", zone: nil) { server, _ in
            let reply16 = try await server.dig("example.org", "A")
            #expect(reply16.contains("status: SERVFAIL"))
        }
        await group.shutdown()
    }
}
