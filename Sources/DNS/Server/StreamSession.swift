import Bytes
import DNSMessage
import Reactor

/// One client's TCP connection: messages behind two octets of length, many at a time, answered as they are ready (RFC 7766).
final class StreamSession: StreamHandler, @unchecked Sendable {
    // `@unchecked`: touched on the stream's loop only.
    private let server: LoopServer
    private weak var stream: StreamSocket?
    private var idle = TimerHandle.none
    let isV6: Bool

    /// The client, for the log.
    var peer: String { stream?.peer.description ?? "" }

    /// A connection without a question for this long is closed.
    static let idleTimeout: Duration = .seconds(10)

    init(_ server: LoopServer, _ stream: StreamSocket) {
        self.server = server
        self.stream = stream
        isV6 = stream.peer.address?.family == .v6
        super.init()
        watchIdle()
    }

    override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
        var consumed = 0
        while bytes.count - consumed >= 2 {
            let length = Int(bytes[consumed]) << 8 | Int(bytes[consumed + 1])
            guard bytes.count - consumed >= 2 + length else { break }
            let message = UnsafeRawBufferPointer(rebasing: bytes[(consumed + 2)..<(consumed + 2 + length)])
            consumed += 2 + length
            server.answer(message, .stream(self))
        }
        if consumed > 0 { watchIdle() }
        return consumed
    }

    override func streamDidClose(_ stream: StreamSocket, _ error: SystemError?) {
        server.loop.cancel(idle)
        self.stream = nil
    }

    func send(_ answer: [UInt8]) {
        guard let stream, !stream.isClosed else { return }
        // A client that asks and does not read is let go, not buffered for.
        if !stream.write([UInt8(answer.count >> 8), UInt8(truncatingIfNeeded: answer.count)] + answer) {
            stream.close()
        }
    }

    private func watchIdle() {
        server.loop.cancel(idle)
        idle = server.loop.schedule(after: Self.idleTimeout) { [weak self] in self?.stream?.closeAfterWrite() }
    }
}
