import Bytes
import HTTP
import Reactor
import TLS

/// Two connections of which each gets what the other says. Neither is read while the other has more to take than it may.
final class ForwardedStream: @unchecked Sendable {
    // Proof for `@unchecked`: touched on its loop only.

    private let downstream: Side
    private var upstream: Side?
    private var ended: ((ForwardedStream, (any Error)?) -> Void)?
    /// The control plane has been reached.
    private(set) var hasStood = false

    /// - Parameter ended: Called once, when both sides are closed.
    init(_ socket: StreamSocket, ended: @escaping (ForwardedStream, (any Error)?) -> Void) {
        self.ended = ended
        downstream = Side(nil)
        downstream.stream = self
        downstream.attach(socket)
        // Nothing can be sent on before the other side stands.
        downstream.pauseReading()
    }

    func connect(to address: SocketAddress, _ session: TLSSession, on loop: EventLoop) throws {
        // The proxy may have gone away meanwhile.
        guard ended != nil, upstream == nil else { return }
        let side = Side(session)
        side.stream = self
        upstream = side
        side.attach(
            try StreamSocket.connect(to: address, on: loop, options: StreamForwarder.options, handler: side))
    }

    var queuedBytes: Int { downstream.queuedBytes + (upstream?.queuedBytes ?? 0) }

    func close() { finish(nil) }

    func fail(_ error: any Error) { finish(error) }

    private func finish(_ error: (any Error)?) {
        guard let ended else { return }
        self.ended = nil
        ended(self, error)
        downstream.closeAfterWrite()
        upstream?.closeAfterWrite()
        // Who waits for more must not wait for ever.
        downstream.resumeReading()
        upstream?.resumeReading()
    }

    // MARK: What the sides tell

    fileprivate func opened(_ side: Side) {
        guard side === upstream else { return }
        hasStood = true
        downstream.resumeReading()
    }

    fileprivate func other(_ side: Side) -> Side? { side === downstream ? upstream : downstream }

    fileprivate func closed(_ side: Side, _ error: (any Error)?) { finish(side === upstream ? error : nil) }
}

/// One of the two.
private final class Side: Channel, @unchecked Sendable {
    weak var stream: ForwardedStream?

    override func channelOpened() { stream?.opened(self) }

    override func channelReceived(_ bytes: UnsafeRawBufferPointer) {
        guard let other = stream?.other(self) else { return }
        other.send(bytes)
        if !other.isWritable { pauseReading() }
    }

    override func channelEnded() { stream?.other(self)?.shutdownWrite() }

    override func channelDrained() { stream?.other(self)?.resumeReading() }

    override func channelClosed(_ error: (any Error)?) { stream?.closed(self, error) }
}
