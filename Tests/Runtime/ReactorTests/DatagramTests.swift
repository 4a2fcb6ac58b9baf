import Bytes
import Glibc
import Testing

@testable import Reactor

/// Answers each packet to where it came from, from where it was sent to.
private final class EchoDatagrams: DatagramHandler, @unchecked Sendable {
    override func datagramDidArrive(_ socket: DatagramSocket, _ datagram: Datagram) {
        socket.send(datagram.bytes, to: datagram.source, from: datagram.destination)
    }
}

private final class Collector: DatagramHandler, @unchecked Sendable {
    let wanted: Int
    var seen: [([UInt8], IPEndpoint)] = []
    let done = Promise<[[UInt8]]>()
    let failed = Promise<SystemError>()
    var sources: [IPEndpoint] { seen.map(\.1) }

    init(_ wanted: Int) { self.wanted = wanted }

    override func datagramDidArrive(_ socket: DatagramSocket, _ datagram: Datagram) {
        seen.append((Array(datagram.bytes), datagram.source))
        if seen.count == wanted { done.succeed(seen.map(\.0)) }
    }
    override func datagramDidFail(_ socket: DatagramSocket, _ error: SystemError) { failed.succeed(error) }
}

@Suite struct DatagramTests {
    @Test("packets go both ways in batches, in order", arguments: [IPAddress.loopbackV4, .loopbackV6])
    func batches(address: IPAddress) async throws {
        try await withLoops { group in
            let server = try await group.all[1].perform {
                let socket = try DatagramSocket(.ip(address, 0), on: group.all[1], handler: EchoDatagrams())
                socket.setBuffers(receive: 4 << 20, send: 4 << 20)
                return socket
            }
            let end = try #require(server.address.endpoint)
            let collector = Collector(500)
            let client = try await group.all[0].perform {
                let socket = try DatagramSocket(.ip(address, 0), on: group.all[0], handler: collector)
                socket.setBuffers(receive: 4 << 20, send: 4 << 20)
                return socket
            }
            try await group.all[0].perform {
                for number in 0..<500 {
                    withUnsafeBytes(of: number) { _ = client.send($0, to: end) }
                    if number % 50 == 49 { try await group.all[0].sleep(for: .milliseconds(1)) }
                }
            }
            let back = try await withTimeout(.seconds(60), on: group.all[0]) { try await collector.done.value() }
            #expect(back.map { $0.withUnsafeBytes { $0.loadUnaligned(as: Int.self) } } == Array(0..<500))
            let (received, sent) = try await group.all[1].perform { (server.received, server.sent) }
            #expect(received == 500 && sent == 500)
        }
    }

    @Test("an answer leaves from the address that was asked, on a socket that is bound to all")
    func answersFromAsked() async throws {
        try await withLoops { group in
            let server = try await group.all[1].perform {
                try DatagramSocket(.ip(.anyV4, 0), on: group.all[1], handler: EchoDatagrams())
            }
            let port = try #require(server.address.port)
            let asked = IPEndpoint(IPAddress(v4: 127, 9, 8, 7), port)
            let collector = Collector(1)
            let client = try await group.all[0].perform {
                try DatagramSocket(.ip(.loopbackV4, 0), on: group.all[0], handler: collector)
            }
            try await group.all[0].perform { _ = [1, 2, 3].withUnsafeBytes { client.send($0, to: asked) } }
            _ = try await withTimeout(.seconds(60), on: group.all[0]) { try await collector.done.value() }
            let sources = try await group.all[0].perform { collector.sources }
            #expect(sources == [asked])
        }
    }

    @Test("a packet that is too long is marked, and one that is too long to send is refused")
    func truncation() async throws {
        try await withLoops { group in
            final class Marks: DatagramHandler, @unchecked Sendable {
                let seen = Promise<(Int, Bool)>()
                override func datagramDidArrive(_ socket: DatagramSocket, _ datagram: Datagram) {
                    seen.succeed((datagram.bytes.count, datagram.isTruncated))
                }
            }
            let marks = Marks()
            let (server, client) = try await group.all[0].perform {
                (
                    try DatagramSocket(.ip(.loopbackV4, 0), on: group.all[0], maximumDatagram: 512, handler: marks),
                    try DatagramSocket(
                        .ip(.loopbackV4, 0), on: group.all[0], maximumDatagram: 1024, handler: DatagramHandler())
                )
            }
            let end = try #require(server.address.endpoint)
            try await group.all[0].perform {
                #expect(!([UInt8](repeating: 0, count: 1025).withUnsafeBytes { client.send($0, to: end) }))
                #expect([UInt8](repeating: 0, count: 1000).withUnsafeBytes { client.send($0, to: end) })
            }
            let (count, isTruncated) = try await withTimeout(.seconds(60), on: group.all[0]) {
                try await marks.seen.value()
            }
            #expect(count == 512 && isTruncated)
        }
    }

    @Test("a connected socket learns that its peer refuses")
    func refused() async throws {
        try await withLoops { group in
            let collector = Collector(1)
            try await group.all[0].perform {
                let probe = try DatagramSocket(.ip(.loopbackV4, 0), on: group.all[0], handler: DatagramHandler())
                let end = try #require(probe.address.endpoint)
                probe.close()
                let client = try DatagramSocket(
                    .ip(.loopbackV4, 0), on: group.all[0], connectedTo: SocketAddress(end), handler: collector)
                _ = [1].withUnsafeBytes { client.send($0, to: end) }
            }
            let error = try await withTimeout(.seconds(60), on: group.all[0]) { try await collector.failed.value() }
            #expect(error.errno == ECONNREFUSED)
        }
    }
}
