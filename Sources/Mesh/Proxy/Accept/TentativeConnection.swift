import Reactor

/// A connection whose client has said nothing yet, and whose server was called as if it spoke plain text, since that may be the one to speak
/// first. Who speaks first decides: a server, or a client in plain text, has the connection as it stands; a client that begins with TLS
/// goes back to inspection, and the server sees a call without a word.
///
/// Stands between the socket and the connection until then; what the server says passes it by.
final class TentativeConnection: StreamHandler, @unchecked Sendable {
    // `@unchecked Sendable` is inherited from StreamHandler; only the loop's thread calls any of this.
    private let connection: ProxyConnection
    private let inspection: InspectedConnection
    private let listener: ProxyListener

    init(_ connection: ProxyConnection, _ inspection: InspectedConnection, _ listener: ProxyListener) {
        (self.connection, self.inspection, self.listener) = (connection, inspection, listener)
        super.init()
    }

    /// The type of the record that a TLS client begins with (RFC 8446 §5.1).
    private static let handshake: UInt8 = 22

    override func streamDidRead(_ stream: StreamSocket, _ bytes: UnsafeRawBufferPointer) -> Int {
        if bytes.first == Self.handshake, connection.isUntouched {
            connection.withdraw()
            stream.handler = inspection
            inspection.resume(stream)
        } else {
            listener.remember(plain: connection.origin)
            stream.handler = connection
        }
        // The next one reads them.
        stream.offerAgain()
        return 0
    }

    override func streamDidEnd(_ stream: StreamSocket) {
        stream.handler = connection
        connection.streamDidEnd(stream)
    }

    override func streamDidDrain(_ stream: StreamSocket) { connection.streamDidDrain(stream) }

    override func streamDidClose(_ stream: StreamSocket, _ error: SystemError?) {
        if !connection.isUntouched { listener.remember(plain: connection.origin) }
        connection.streamDidClose(stream, error)
    }
}
