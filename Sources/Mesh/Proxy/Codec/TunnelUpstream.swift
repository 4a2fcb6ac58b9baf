import TLS

/// The upstream of a CONNECT that ends here (`connect_config`): a connection for one attempt alone, over which go the tunnel's
/// bytes and nothing of HTTP.
final class TunnelUpstream: UpstreamCodec {
    private var attempt: UpstreamAttempt?
    private var isOpen = false

    init(_ connection: ProxyConnection, _ pool: HostPool, _ attempt: UpstreamAttempt) {
        self.attempt = attempt
        super.init(connection, pool)
    }

    // MARK: The connection

    override func opened() {
        isOpen = true
        connection.origin.local = connection.socket?.local ?? connection.origin.local
        guard let attempt else { return connection.abort() }
        pool.opened(self, attempt)
    }

    override func received(_ bytes: UnsafeRawBufferPointer) { attempt?.deliver(bytes, end: false) }

    override func ended() { attempt?.deliver(UnsafeRawBufferPointer(start: nil, count: 0), end: true) }

    override func drained() { attempt?.drained() }

    override func closed(_ error: (any Error)?) {
        let attempt = attempt
        self.attempt = nil
        pool.tunnelClosed(wasOpen: isOpen, attempt, error, of: connection)
    }

    // MARK: The attempt

    /// Nobody is asked: the connection is all that a CONNECT wants.
    override func start(_ attempt: UpstreamAttempt, _ head: HeaderBlock, end: Bool) {
        attempt.hasSentHead = true
        attempt.deliverConsent()
    }

    override func sendData(_ attempt: UpstreamAttempt, _ bytes: UnsafeRawBufferPointer, end: Bool) {
        guard attempt === self.attempt else { return }
        if !bytes.isEmpty {
            connection.bytesSent &+= UInt64(bytes.count)
            connection.send(bytes)
        }
        if end { connection.shutdownWrite() }
    }

    /// Also while it connects.
    override func reset(_ attempt: UpstreamAttempt) {
        guard attempt === self.attempt else { return }
        self.attempt = nil
        connection.abort()
    }

    override func pauseResponse(_ attempt: UpstreamAttempt) { connection.pauseReading() }
    override func resumeResponse(_ attempt: UpstreamAttempt) { connection.resumeReading() }
}
