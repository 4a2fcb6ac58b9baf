import Bytes
import Reactor

/// An upstream without a protocol: hands each of its connections to the test.
final class PlainUpstream: Sendable {
    let group: EventLoopGroup
    private let listener: Listener
    private let connections: AsyncStream<StreamConnection>
    let port: UInt16

    static func run(_ body: (PlainUpstream) async throws -> Void) async throws {
        let upstream = try await PlainUpstream()
        do { try await body(upstream) } catch {
            await upstream.close()
            throw error
        }
        await upstream.close()
    }

    private init() async throws {
        group = try EventLoopGroup(count: 1, name: "plain")
        let loop = group.all[0]
        let (stream, continuation) = AsyncStream.makeStream(of: StreamConnection.self)
        connections = stream
        listener = try await loop.perform {
            try Listener(.ip(.loopbackV4, 0), on: loop) { socket in continuation.yield(StreamConnection(socket)) }
        }
        port = listener.address.port?.rawValue ?? 0
    }

    /// The next connection, in the order in which they came.
    func next() async throws -> StreamConnection {
        for await connection in connections { return connection }
        throw Unexpected("no connection came")
    }

    /// A port that refuses: nobody serves TCPMUX (RFC 1078), and the kernel hands no other test a port below 1024.
    static let refusingPort: UInt16 = 1

    private func close() async {
        listener.close()
        await group.shutdown()
    }
}

extension StreamConnection {
    func send(_ text: String) async throws { try await write(Array(text.utf8)) }
    func text(_ count: Int) async throws -> String { String(decoding: try await read(exactly: count), as: UTF8.self) }
    func rest() async throws -> String { String(decoding: try await readToEnd(limit: 64 << 20), as: UTF8.self) }
}
