import Bytes
import ClusterClient
import HTTP
import Reactor
import TLS

/// Two connections of which each gets what the other says. Neither is read while the other has more to take than it may.
///
/// While there is no way to the control plane the proxy's side is held with what it has said, and goes on when there is one: its own
/// tries would come ever more seldom.
final class ForwardedStream: @unchecked Sendable {
    // Proof for `@unchecked`: touched on its loop only.

    private let downstream: Side
    private var upstream: Side?
    private weak var forwarder: StreamForwarder?
    /// What the proxy said before the control plane was reached.
    private var early: [UInt8] = []
    private var isOver = false
    /// The control plane has been reached.
    private var hasStood = false
    /// Between tries to reach the control plane.
    var backoff = Backoff(initial: .milliseconds(50), limit: .milliseconds(800))

    init(_ socket: StreamSocket, of forwarder: StreamForwarder) {
        self.forwarder = forwarder
        downstream = Side(nil)
        downstream.stream = self
        downstream.attach(socket)
    }

    func connect(to address: SocketAddress, _ session: TLSSession, on loop: EventLoop) throws {
        // The proxy may have gone away meanwhile.
        guard !isOver, upstream == nil else { return }
        let side = Side(session)
        side.stream = self
        upstream = side
        do {
            side.attach(
                try StreamSocket.connect(to: address, on: loop, options: StreamForwarder.options, handler: side))
        } catch {
            upstream = nil
            throw error
        }
    }

    var queuedBytes: Int { downstream.queuedBytes + (upstream?.queuedBytes ?? 0) + early.count }

    func close() {
        guard !isOver else { return }
        isOver = true
        forwarder?.ended(self)
        downstream.closeAfterWrite()
        upstream?.closeAfterWrite()
        // Who waits for more must not wait for ever.
        downstream.resumeReading()
        upstream?.resumeReading()
    }

    // MARK: What the sides tell

    fileprivate func opened(_ side: Side) {
        guard side === upstream, !isOver else { return }
        hasStood = true
        forwarder?.stood()
        early.withUnsafeBytes { side.send($0) }
        early = []
        downstream.resumeReading()
    }

    fileprivate func received(_ side: Side, _ bytes: UnsafeRawBufferPointer) {
        guard !isOver else { return }
        guard hasStood, let other = other(side) else {
            early += bytes
            if early.count >= StreamForwarder.highWater { side.pauseReading() }
            return
        }
        other.send(bytes)
        if !other.isWritable { side.pauseReading() }
    }

    fileprivate func drained(_ side: Side) { other(side)?.resumeReading() }

    fileprivate func ended(_ side: Side) {
        if hasStood { other(side)?.shutdownWrite() } else if side === downstream { close() }
    }

    fileprivate func closed(_ side: Side, _ error: (any Error)?) {
        guard side === upstream, !hasStood, !isOver else { return close() }
        upstream = nil
        forwarder?.missed(self, error)
    }

    private func other(_ side: Side) -> Side? { side === downstream ? upstream : downstream }
}

/// One of the two.
private final class Side: Channel, @unchecked Sendable {
    weak var stream: ForwardedStream?

    override func channelOpened() { stream?.opened(self) }
    override func channelReceived(_ bytes: UnsafeRawBufferPointer) { stream?.received(self, bytes) }
    override func channelEnded() { stream?.ended(self) }
    override func channelDrained() { stream?.drained(self) }
    override func channelClosed(_ error: (any Error)?) { stream?.closed(self, error) }
}
