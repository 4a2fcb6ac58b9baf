import Bytes
import Reactor
import TLS

/// The upstream's side of a proxied TCP connection: tells the client's side what comes, and is told by it what to do.
final class TCPUpstream: ConnectionTerminal {
    /// nil once the client's side is gone.
    var session: TCPSession?
    let cluster: ClusterState
    let host: Host
    private var isOpen = false

    /// Starts to connect; `upstreamOpened` or `upstreamFailed` follows, never within this call.
    static func connect(
        _ session: TCPSession, to host: Host, of cluster: ClusterState
    ) throws -> TCPUpstream {
        let settings = cluster.settings
        let transport = settings.transport(to: host)
        let connection = try cluster.connection(to: host, transport)
        let upstream = TCPUpstream(connection, session, cluster, host)
        connection.terminal = upstream
        if let version = transport.proxyProtocol {
            let origin = session.connection.origin
            let header = ProxyProtocolHeader(version, source: origin.remote, destination: origin.local)
            connection.preamble = header.encoded()
        }
        try cluster.connect(connection, to: host.address, from: session.connection.origin.source)
        cluster.stats.connections &+= 1
        cluster.began(host.id)
        return upstream
    }

    private init(_ connection: ProxyConnection, _ session: TCPSession, _ cluster: ClusterState, _ host: Host) {
        self.host = host
        self.session = session
        self.cluster = cluster
        super.init(connection)
    }

    override func opened() {
        isOpen = true
        if connection.offerTime > 0 { cluster.stats.count("tls_offer.taken") }
        cluster.stats.activeConnections &+= 1
        cluster.record(.connected, of: host.id)
        session?.upstreamOpened(self)
    }

    override func received(_ bytes: UnsafeRawBufferPointer) { session?.upstreamReceived(bytes, self) }
    override func ended() { session?.upstreamEnded() }
    override func drained() { session?.upstreamDrained() }

    override func closed(_ error: (any Error)?) {
        let session = session
        self.session = nil
        cluster.breakers.release(.connections)
        cluster.ended(host.id)
        cluster.stats.closedConnections &+= 1
        guard isOpen else {
            // The client has left before: that says nothing of the host.
            guard let session else { return }
            guard !connection.hasOfferedTLS else {
                cluster.offerRefused(by: host)
                return session.upstreamTookNoTLS(self)
            }
            cluster.connectFailed(to: host.id, error)
            session.upstreamFailed(error.map { "\($0)" } ?? "")
            return
        }
        cluster.stats.activeConnections &-= 1
        session?.upstreamClosed(error)
    }
}
