import Bytes
import Reactor
import TLS

/// The connections of one worker to one host. An attempt gets one with room, the last that was used first, or a new one; while
/// that connects it waits, and takes whatever becomes free first.
final class HostPool {
    /// Lets go of its pools when it is retired.
    let cluster: ClusterState
    let address: SocketAddress
    /// Those that can take an attempt now.
    private var ready: [UpstreamCodec] = []
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
    private var isMultiplexed: Bool { cluster.snapshot.options.usesHTTP2 }

    func acquire(_ attempt: UpstreamAttempt) {
        while let codec = ready.last {
            guard codec.isUsable else {
                ready.removeLast()
                codec.connection.abort()
                continue
            }
            return give(codec, to: attempt, isReused: true)
        }
        attempt.pool = self
        waiting.append(attempt)
        waitingCount += 1
        cluster.stats.pending &+= 1
        cluster.stats.activePending &+= 1
        if isMultiplexed ? connecting == 0 : connecting < waitingCount { connect() }
    }

    /// `codec` is the last of those that are ready.
    private func give(_ codec: UpstreamCodec, to attempt: UpstreamAttempt, isReused: Bool) {
        if !codec.isMultiplexed { ready.removeLast() }
        attempt.connected(codec, isReused: isReused)
        if codec.isMultiplexed, codec.room == 0 { leaves(codec) }
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
            let tls = try snapshot.security.map { security throws(TLSError) in
                try TLSSession(
                    security.context, serverName: security.serverName.isEmpty ? nil : security.serverName)
            }
            let connection = ProxyConnection(worker, ConnectionOrigin(remote: address, local: .unix(path: "")), tls)
            connection.terminal =
                isMultiplexed ? HTTP2Upstream(connection, self) : HTTP1Upstream(connection, self)
            let socket = try StreamSocket.connect(
                to: address, on: worker.loop, timeout: .nanoseconds(Int64(clamping: snapshot.options.connectTimeout)),
                options: worker.upstreamStreamOptions, handler: connection)
            connection.attach(socket)
        } catch {
            failed(.connectionFailure)
        }
    }

    // MARK: From its connections

    func connected(_ codec: UpstreamCodec) {
        connecting -= 1
        cluster.stats.activeConnections &+= 1
        serve(codec, isFresh: true)
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

    /// The codec can take an attempt again.
    func hasRoom(_ codec: UpstreamCodec) { serve(codec, isFresh: false) }

    private func serve(_ codec: UpstreamCodec, isFresh: Bool) {
        var isFresh = isFresh
        while codec.room > 0, let attempt = takeWaiting() {
            attempt.connected(codec, isReused: !isFresh)
            isFresh = false
        }
        guard !isRetired else { return codec.retire() }
        if codec.room > 0, !(codec.isMultiplexed && ready.contains { $0 === codec }) { ready.append(codec) }
    }

    /// It takes no more attempts.
    func leaves(_ codec: UpstreamCodec) { ready.removeAll { $0 === codec } }

    func closed(_ codec: UpstreamCodec) {
        cluster.stats.activeConnections &-= 1
        leaves(codec)
        if waitingCount > 0, connecting == 0, !isRetired { connect() }
    }

    /// The host has left the cluster.
    func retire() {
        isRetired = true
        let codecs = ready
        ready = []
        for codec in codecs { codec.retire() }
    }
}
