import Bytes
import TLS
import Testing

@testable import HTTP

@Suite("HTTP/2 session")
struct HTTP2SessionTests {
    /// Two sessions that talk to each other in memory.
    private final class Pair: HTTP2SessionDelegate {
        private(set) var client: HTTP2Session?
        private(set) var server: HTTP2Session?
        private let head = MessageHead(capacity: 64)
        private(set) var request: HTTP2Stream?
        /// What of an answer's body the client has got, and whether it is whole.
        private(set) var body: [UInt8] = []
        private(set) var isWhole = false
        private(set) var drained = 0
        private(set) var sends = 0
        /// The client gives windows back as bytes come.
        var consumes = true
        var memory = GrowingBytes()

        init(window: Int) throws {
            var limits = HTTPLimits.standard
            limits.streamWindow = window
            limits.writeHighWater = 64 << 10
            let head = head
            server = try HTTP2Session(.server, limits: .standard, scratchHead: { head }, delegate: self)
            client = try HTTP2Session(.client, limits: limits, scratchHead: { head }, delegate: self)
        }

        deinit { memory.deallocate() }

        func open() throws -> HTTP2Stream {
            var fields = HTTP2Fields()
            defer { fields.deallocate() }
            for (name, value) in [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")] {
                Array(name.utf8).withUnsafeBytes { name in Array(value.utf8).withUnsafeBytes { fields.add(name, $0) } }
            }
            _ = try client?.open(fields, finished: true)
            try pump()
            return try #require(request)
        }

        /// Until neither has more to say.
        func pump() throws {
            var moved = true
            while moved { moved = try [move(client, server), move(server, client)].contains(true) }
        }

        func move(_ from: HTTP2Session?, _ to: HTTP2Session?) throws -> Bool {
            var wire: [UInt8] = []
            try from?.sendOutput(using: &memory) {
                wire.append(contentsOf: $0)
                sends += 1
                return true
            }
            try wire.withUnsafeBytes { bytes throws(HTTPError) in try to?.receive(bytes, now: 0) }
            return !wire.isEmpty
        }

        func http2(head: MessageHead, of stream: HTTP2Stream, endsStream: Bool) {
            guard head.status == 0 else { return }
            request = stream
            server?.respond(stream, status: 200, headers: HTTPHeaders(), finished: false)
        }

        func http2(data: UnsafeRawBufferPointer, of stream: HTTP2Stream) {
            body.append(contentsOf: data)
            if consumes { client?.consumed(data.count, of: stream) }
        }

        func http2(endOf stream: HTTP2Stream, trailers: HTTPHeaders) { if stream !== request { isWhole = true } }
        func http2(drained stream: HTTP2Stream) { drained += 1 }
        func http2(closed stream: HTTP2Stream, code: UInt32) {}
        func http2(goAway last: Int32, code: UInt32) {}
    }

    private func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) } }

    @Test("a large piece is sent from where it stands; only what the window leaves is kept")
    func borrowed() throws {
        let pair = try Pair(window: 40_000)
        let stream = try pair.open()
        let (server, body) = (try #require(pair.server), bytes(100_000))
        pair.consumes = false
        var sent: [UInt8] = []
        try body.withUnsafeBytes { bytes in
            var failure: (any Error)?
            server.write(bytes, to: stream) {
                do { _ = try pair.move(server, pair.client) } catch { failure = error }
            }
            if let failure { throw failure }
            sent = pair.body
        }
        #expect(sent.count == 40_000)
        #expect(stream.output.count == 60_000 && !stream.isAboveHighWater)
        server.finish(stream)
        try pair.pump()
        #expect(!pair.isWhole)
        let first = try #require(pair.client?.streams.first)
        pair.consumes = true
        pair.client?.consumed(40_000, of: first)
        try pair.pump()
        #expect(pair.body == body && pair.isWhole)
        #expect(stream.output.count == 0 && stream.output.capacity == 0)
    }

    @Test("where the window is wide enough nothing is kept")
    func wide() throws {
        let pair = try Pair(window: 1 << 20)
        let stream = try pair.open()
        let (server, body) = (try #require(pair.server), bytes(60_000))
        for _ in 0..<3 {
            try body.withUnsafeBytes { bytes in
                var failure: (any Error)?
                server.write(bytes, to: stream) {
                    do { _ = try pair.move(server, pair.client) } catch { failure = error }
                }
                if let failure { throw failure }
            }
            #expect(stream.output.capacity == 0)
            // The connection's window is 64 KB until the client gives it back.
            try pair.pump()
        }
        server.finish(stream)
        try pair.pump()
        #expect(pair.body == body + body + body && pair.isWhole)
    }

    @Test("frames are gathered up to a bound, and a stream that was too full says when it is not")
    func gathered() throws {
        let pair = try Pair(window: 1 << 20)
        let stream = try pair.open()
        let (server, body) = (try #require(pair.server), bytes(300_000))
        body.withUnsafeBytes { server.write($0, to: stream) }
        server.finish(stream)
        #expect(stream.output.count == 300_000)
        let before = pair.sends
        try pair.pump()
        #expect(pair.body == body && pair.isWhole)
        #expect(pair.sends - before >= 4 && pair.sends - before < 40)
        #expect(pair.drained == 1)
    }

    @Test("streams come and go in any order")
    func streams() throws {
        let pair = try Pair(window: 1 << 20)
        let server = try #require(pair.server)
        var open: [HTTP2Stream] = []
        var random = SplitMix64(seed: 7)
        for _ in 0..<200 {
            if open.count < 8, Bool.random(using: &random) {
                open.append(try pair.open())
            } else if !open.isEmpty {
                let stream = open.remove(at: Int.random(in: 0..<open.count, using: &random))
                if Bool.random(using: &random) { server.finish(stream) } else { server.reset(stream, code: .cancel) }
                try pair.pump()
            }
            #expect(server.streams.count == open.count && pair.client?.streams.count == open.count)
            #expect(Set(server.streams.map(\.id)) == Set(open.map(\.id)))
        }
    }
}
