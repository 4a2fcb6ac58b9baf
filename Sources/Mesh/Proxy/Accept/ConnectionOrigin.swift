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
    /// A control plane would know who listens at `local`, and could not be asked, or has not answered.
    var isUnanswered = false
    /// Where connections to hosts that this one causes are to come from; nil: from the proxy.
    var source: OriginalSource?
    /// From the ClientHello, in lower case; "" for none.
    package var serverName = ""
    /// `tls` where an inspector has seen it, else `raw_buffer`.
    package var transportProtocol = Self.rawBuffer
    /// What it offered by ALPN, or the HTTP that an inspector has seen.
    package var applicationProtocols: [String] = []

    /// Where the client meant to go before netfilter sent it here, if it did. What a transparent socket accepts is bound to that.
    mutating func restore(from socket: StreamSocket, isTransparent: Bool) {
        if isTransparent { isRestored = true }
        guard !isTransparent, let destination = socket.originalDestination, destination != local.endpoint else {
            return
        }
        local = SocketAddress(destination)
        isRestored = true
    }

    /// Neither end is an IPv4 address in IPv6's form, which a dual-stack socket makes of it.
    package init(remote: SocketAddress, local: SocketAddress) {
        directRemote = remote
        self.remote = remote
        self.local = local
    }
}

extension ConnectionOrigin {
    /// What its chain was chosen by, as long as `body` runs.
    func withFacts<Result>(_ body: (ConnectionFacts) -> Result) -> Result {
        var names: [UInt8] = []
        for name in applicationProtocols { names += [UInt8(truncatingIfNeeded: name.utf8.count)] + name.utf8 }
        return names.withUnsafeBytes { names in
            Array(serverName.utf8).withUnsafeBytes { serverName in
                body(
                    ConnectionFacts(
                        destination: local.endpoint, directSource: directRemote.endpoint, source: remote.endpoint,
                        serverName: serverName,
                        transportProtocol: transportProtocol == Self.tls ? .tls : .rawBuffer,
                        applicationProtocols: ProtocolNames(wire: names)))
            }
        }
    }

    /// Who calls what: the client's address with the port that it called.
    var client: SocketAddress { remote.address.map { .ip($0, local.port ?? 0, scope: 0) } ?? remote }

    static let tls = "tls"
    static let rawBuffer = "raw_buffer"
}

extension SocketAddress {
    /// As its family has it, also behind a dual-stack socket.
    var unmapped: SocketAddress {
        guard case .ip(let address, let port, let scope) = self, address.family == .v6 else { return self }
        return .ip(address.unmapped, port, scope: scope)
    }
}
