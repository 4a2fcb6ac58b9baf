import Bytes
import Glibc
import Reactor
import TLS

// What every connection to a host of the cluster has in common, whoever opens it: a pool, a proxied TCP connection, a gRPC
// stream of the proxy's own.
extension ClusterState {
    /// A connection to a host, in TLS where the cluster's transport has it.
    ///
    /// - Parameter requested: the name that requests over this connection have; nil where nobody asks for it.
    func connection(
        to host: Host, _ transport: UpstreamTransport, requested: String? = nil
    ) throws(TLSError) -> ProxyConnection {
        var session: TLSSession?
        let fallback = settings.options.plaintextFallback
        if let security = transport.security, !isPlain(host, fallback) {
            do throws(TLSError) {
                session = try security.session(for: host, requested: requested, settings.options.requestedNames)
            } catch {
                guard fallback != nil else { throw error }
                stats.count("tls_offer.not_possible")
            }
        }
        let connection = ProxyConnection(
            worker, ConnectionOrigin(remote: host.address, local: .unix(path: "")), session)
        connection.securityStats = settings.securityStats
        if let fallback, session != nil { connection.offerTime = fallback.handshakeTime }
        return connection
    }

    /// It did not take TLS lately, where that is an offer.
    private func isPlain(_ host: Host, _ fallback: PlaintextFallback?) -> Bool {
        guard fallback != nil, plaintextHosts.contains(host.address, now: worker.now) else { return false }
        stats.count("tls_offer.not_made")
        return true
    }

    /// A host has not taken the TLS that it was offered: for some time its connections are in plain text.
    func offerRefused(by host: Host) {
        guard let fallback = settings.options.plaintextFallback else { return }
        stats.count("tls_offer.refused")
        plaintextHosts.add(host.address, until: worker.now &+ fallback.memory, now: worker.now)
    }

    /// Starts to connect as the cluster's options have it. The connection hears of its fate, never within this call.
    func connect(
        _ connection: ProxyConnection, to address: SocketAddress, from source: OriginalSource? = nil
    ) throws(SystemError) {
        let (worker, own) = (connection.worker, settings.options)
        var options = worker.upstreamStreamOptions
        options.highWaterMark = own.bufferLimit
        options.lowWaterMark = own.bufferLimit / 2
        let socket = try StreamSocket.connect(
            to: address, on: worker.loop, from: source?.address ?? own.source(to: address),
            socketOptions: source?.socketOptions ?? [],
            timeout: .nanoseconds(Int64(clamping: own.connectTimeout)), options: options, handler: connection)
        own.keepAlive?.apply(to: socket.descriptor)
        connection.attach(socket)
    }

    /// A connection outside of the pools has failed before it was there.
    func connectFailed(to host: HostID, _ error: (any Error)?) {
        let isTimeout = (error as? SystemError)?.errno == ETIMEDOUT
        stats.connectFailures &+= 1
        if isTimeout { stats.connectTimeouts &+= 1 }
        record(isTimeout ? .timedOut : .connectFailed, of: host)
    }
}
