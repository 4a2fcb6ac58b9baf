import Bytes
import Reactor
import TLS

/// The connections of one worker to one host. An attempt gets an idle one, the last that was used first, or a new one; while
/// that connects it waits, and takes whatever becomes free first.
final class HostPool {
    unowned let cluster: ClusterState
    let address: SocketAddress
    private var idle: [HTTP1Upstream] = []
    private var busy: [ObjectIdentifier: UpstreamCodec] = [:]
    private var connecting = 0
    /// Attempts that wait, in order; `next` is the first.
    private var waiting: [UpstreamAttempt?] = []
    private var next = 0
    private var waitingCount = 0
    private var isRetired = false

    init(_ cluster: ClusterState, _ address: SocketAddress) {
        self.cluster = cluster
        self.address = address
    }

    private var worker: ProxyWorker { cluster.worker }

    func acquire(_ attempt: UpstreamAttempt) {
        while let codec = idle.popLast() {
            guard codec.isUsable else {
                codec.connection.abort()
                continue
            }
            return attempt.connected(codec, isReused: true)
        }
        attempt.pool = self
        waiting.append(attempt)
        waitingCount += 1
        cluster.stats.pending &+= 1
        cluster.stats.activePending &+= 1
        if connecting < waitingCount { connect() }
    }

    func cancel(_ attempt: UpstreamAttempt) {
        guard let index = waiting[next...].firstIndex(where: { $0 === attempt }) else { return }
        waiting[index] = nil
        waitingCount -= 1
        cluster.stats.activePending &-= 1
    }

    private func takeWaiting() -> UpstreamAttempt? {
        while next < waiting.count {
            let attempt = waiting[next]
            waiting[next] = nil
            next += 1
            if next == waiting.count {
                waiting.removeAll(keepingCapacity: true)
                next = 0
            }
            guard let attempt else { continue }
            waitingCount -= 1
            cluster.stats.activePending &-= 1
            return attempt
        }
        return nil
    }

    private func connect() {
        connecting += 1
        cluster.stats.connections &+= 1
        let snapshot = cluster.snapshot
        do {
            let tls = try snapshot.tls.map { context throws(TLSError) in
                try TLSSession(context, serverName: snapshot.serverName.isEmpty ? nil : snapshot.serverName)
            }
            let connection = ProxyConnection(worker, ConnectionOrigin(remote: address, local: .unix(path: "")), tls)
            connection.terminal = HTTP1Upstream(connection, self)
            let socket = try StreamSocket.connect(
                to: address, on: worker.loop, timeout: .nanoseconds(Int64(clamping: snapshot.options.connectTimeout)),
                options: worker.upstreamStreamOptions, handler: connection)
            connection.attach(socket)
        } catch {
            failed(.connectionFailure)
        }
    }

    // MARK: From its connections

    func connected(_ codec: HTTP1Upstream) {
        connecting -= 1
        cluster.stats.activeConnections &+= 1
        release(codec, isFresh: true)
    }

    /// A connection never came to be.
    func failed(_ reason: StreamReset) {
        connecting -= 1
        cluster.stats.connectFailures &+= 1
        if reason == .connectTimeout { cluster.stats.connectTimeouts &+= 1 }
        // Those that wait would meet the same.
        var doomed: [UpstreamAttempt] = []
        while let attempt = takeWaiting() { doomed.append(attempt) }
        for attempt in doomed { attempt.failed(reason) }
    }

    /// The codec can take an attempt.
    func release(_ codec: HTTP1Upstream, isFresh: Bool = false) {
        if let attempt = takeWaiting() { return attempt.connected(codec, isReused: !isFresh) }
        guard !isRetired else { return codec.connection.closeAfterWrite() }
        idle.append(codec)
    }

    func closed(_ codec: HTTP1Upstream) {
        cluster.stats.activeConnections &-= 1
        if let index = idle.lastIndex(where: { $0 === codec }) { idle.remove(at: index) }
    }

    /// The host has left the cluster.
    func retire() {
        isRetired = true
        let codecs = idle
        idle = []
        for codec in codecs { codec.connection.closeAfterWrite() }
    }
}
