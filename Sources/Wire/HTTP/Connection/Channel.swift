import Bytes
import Reactor
import TLS

/// A stream to a peer, with TLS where configured: plaintext in, plaintext out. The common half of a server's and a client's
/// connection, which are its subclasses and override the `channel…` methods. Belongs to one loop.
open class Channel: StreamHandler, @unchecked Sendable {
    // `@unchecked Sendable` is inherited from StreamHandler; the proof is that only the loop's thread calls any of this.

    public private(set) final var socket: StreamSocket?
    private final let tls: TLSSession?
    public private(set) final var isChannelOpen = false
    private final var bytesQueued: UInt64 = 0
    private final var tellsPeerEnd = true
    private final var isReadingPaused = false
    /// Less waits for the peer than the high-water mark; after false `channelDrained` comes.
    public private(set) final var isWritable = true

    public init(_ tls: TLSSession?) {
        self.tls = tls
        super.init()
    }

    /// Takes the socket's events from now on; a client's side starts its handshake when the socket is connected.
    public final func attach(_ socket: StreamSocket) {
        self.socket = socket
        socket.handler = self
    }

    // MARK: For the subclass to override

    /// The transport stands; bytes written to the socket here go out before TLS.
    open func channelConnected(_ socket: StreamSocket) {}
    /// The stream can be used: connected, and with TLS the handshake is done.
    open func channelOpened() {}
    /// Valid during the call only.
    open func channelReceived(_ bytes: UnsafeRawBufferPointer) {}
    /// The peer sends no more.
    open func channelEnded() {}
    /// What was queued has gone below the low-water mark.
    open func channelDrained() {}
    /// Once, last. The error says why, nil for an orderly close.
    open func channelClosed(_ error: (any Error)?) {}

    // MARK: For the subclass to call

    public final var tlsSession: TLSSession? { tls }
    public final var isSecure: Bool { tls != nil }
    public final var negotiatedProtocol: String? { tls?.negotiatedProtocol }
    /// Read from OpenSSL once a connection, since every request carries it.
    public final var tlsPeer: TLSSession.Peer? {
        if peer == nil { peer = tls?.peer }
        return peer
    }
    private final var peer: TLSSession.Peer?

    /// Gives back what `tlsPeer` holds, some kilobytes for each certificate; it is read again when it is asked for. For connections that
    /// rest for hours.
    public final func forgetTLSPeer() { peer = nil }
    public final var tlsTicket: TLSTicket? { tls?.takeTicket() }
    public final var peerAddress: SocketAddress? { socket?.peer }
    /// Bytes that the kernel has not taken yet.
    public final var queuedBytes: Int { socket?.queuedOutput ?? 0 }
    /// Bytes that the kernel has taken so far.
    public final var writtenBytes: UInt64 { bytesQueued &- UInt64(queuedBytes) }

    public final func send(_ bytes: UnsafeRawBufferPointer) {
        guard let socket, !bytes.isEmpty else { return }
        guard let tls else {
            bytesQueued &+= UInt64(bytes.count)
            if !socket.write(bytes) { isWritable = false }
            return
        }
        do {
            _ = try tls.send(bytes)
            sendCiphertext()
        } catch {
            fail(error)
        }
    }

    /// Sends two pieces as one: a message's head and the body that stands elsewhere, in one system call or one record.
    public final func send(_ head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer) {
        guard let socket else { return }
        guard tls == nil else {
            guard head.count + body.count <= Self.recordSize else {
                send(head)
                return send(body)
            }
            return withUnsafeTemporaryAllocation(byteCount: Self.recordSize, alignment: 16) { record in
                record.copyMemory(from: head)
                UnsafeMutableRawBufferPointer(rebasing: record[head.count...]).copyMemory(from: body)
                send(UnsafeRawBufferPointer(rebasing: record[..<(head.count + body.count)]))
            }
        }
        bytesQueued &+= UInt64(head.count &+ body.count)
        if !socket.write(head, body) { isWritable = false }
    }
    /// Plaintext that one TLS record holds at most (RFC 8446 §5.1).
    private static let recordSize = 16 << 10

    public final func pauseReading() {
        guard !isReadingPaused else { return }
        isReadingPaused = true
        socket?.pauseReading()
    }

    public final func resumeReading() {
        guard isReadingPaused else { return }
        isReadingPaused = false
        socket?.resumeReading()
    }

    /// Says that we send no more, after what is queued.
    public final func shutdownWrite() {
        sendClose()
        socket?.shutdownWrite()
    }

    /// Closes once what is queued has been taken.
    public final func closeAfterWrite() {
        sendClose()
        socket?.closeAfterWrite()
    }

    /// Gives the socket up, open and reading, for another handler; nothing follows.
    public final func release() {
        resumeReading()
        socket = nil
    }

    /// Closes with a reset: the peer cannot mistake it for an end.
    public final func reset() { socket?.reset() }

    // MARK: Events of the socket

    public final override func streamDidConnect(_ stream: StreamSocket) {
        channelConnected(stream)
        guard let tls else { return opened() }
        do {
            try tls.start()
            sendCiphertext()
        } catch {
            fail(error)
        }
    }

    /// A server's socket is connected from the start.
    public final func start() {
        socket?.start()
        if tls == nil { opened() }
    }

    public final override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
        guard let tls else {
            channelReceived(bytes)
            return bytes.count
        }
        do {
            var rest = bytes
            if !isChannelOpen {
                let taken = try tls.receive(rest) { plaintext in
                    // The handshake's last flight may come with the first data.
                    self.openedWithTLS()
                    self.channelReceived(plaintext)
                    return true
                }
                rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
                sendCiphertext()
                if tls.isEstablished { openedWithTLS() }
                guard !rest.isEmpty else { return noticeEnd(bytes.count) }
            }
            _ = try tls.receive(rest) { plaintext in
                self.channelReceived(plaintext)
                return true
            }
            sendCiphertext()
            return noticeEnd(bytes.count)
        } catch {
            sendCiphertext()
            fail(error)
            return bytes.count
        }
    }

    private final func noticeEnd(_ count: Int) -> Int {
        if let tls, tls.isPeerClosed, tellsPeerEnd {
            tellsPeerEnd = false
            channelEnded()
        }
        return count
    }

    public final override func streamDidEnd(_ stream: StreamSocket) {
        guard let tls else {
            channelEnded()
            return
        }
        guard !tls.isPeerClosed else { return }
        // RFC 8446 §6.1: a connection cut without close_notify may be a truncation.
        if isChannelOpen, tellsPeerEnd {
            tellsPeerEnd = false
            channelEnded()
        } else if !isChannelOpen {
            fail(TLSError(.handshake, "the peer closed the connection during the TLS handshake"))
        }
    }

    public final override func streamDidDrain(_ stream: StreamSocket) {
        isWritable = true
        channelDrained()
    }

    public final override func streamDidClose(_ stream: StreamSocket, _ error: SystemError?) {
        let reason: (any Error)? = failure ?? error
        // First of all: a write that fails closes within the call, and whoever hears of it must not write again.
        socket = nil
        channelClosed(reason)
    }
    private final var failure: (any Error)?

    private final func opened() {
        isChannelOpen = true
        channelOpened()
    }

    private final func openedWithTLS() {
        guard !isChannelOpen else { return }
        opened()
    }

    private final func sendCiphertext() {
        guard let tls, let socket else { return }
        tls.withOutput { bytes in
            bytesQueued &+= UInt64(bytes.count)
            if !socket.write(bytes) { isWritable = false }
            return bytes.count
        }
    }

    private final func sendClose() {
        guard let tls else { return }
        tls.sendClose()
        sendCiphertext()
    }

    /// Ends the stream after the alert that is queued has gone out.
    private final func fail(_ error: any Error) {
        failure = error
        socket?.closeAfterWrite()
    }
}
