import Bytes
import Reactor
import TLS

/// What is known of a downstream connection before its first request: who, to whom, and what it said first.
package struct ConnectionOrigin: Sendable {
    /// The peer of the socket.
    package var directRemote: SocketAddress
    /// The client as PROXY protocol tells it; else the socket's peer.
    package var remote: SocketAddress
    /// What the client connected to, also where that was another address before redirection.
    package var local: SocketAddress
    /// The address was restored from before redirection.
    package var isRestored = false
    /// From the ClientHello, in lower case; "" for none.
    package var serverName = ""
    /// `tls`, `raw_buffer`, or "" where nobody looked.
    package var transportProtocol = ""
    package var applicationProtocols: [String] = []

    /// Where the client meant to go before netfilter sent it here, if it did.
    mutating func restore(from socket: StreamSocket) {
        guard let destination = socket.originalDestination, destination != local.endpoint else { return }
        local = SocketAddress(destination)
        isRestored = true
    }

    package init(remote: SocketAddress, local: SocketAddress) {
        directRemote = remote
        self.remote = remote
        self.local = local
    }
}
