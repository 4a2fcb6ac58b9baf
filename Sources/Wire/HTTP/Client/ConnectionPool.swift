import Bytes
import Reactor
import TLS

/// The connections of one client to one server, on one loop. HTTP/2 connections are shared, HTTP/1 connections are kept for the next
/// request when an exchange is complete.
///
/// Proof for `@unchecked`: touched on `loop` only.
final class ConnectionPool: @unchecked Sendable {
    let loop: EventLoop
    let endpoint: HTTPEndpoint
    let limits: HTTPClientLimits
    let head: MessageHead
    let tls: TLSReference
    private var connections: [ClientConnection] = []
    private var connecting = 0
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var ticket: TLSTicket?
    private var ticketContext: TLSContext?
    private var isShutDown = false
    private var sweeper: TimerHandle?
    /// The server has chosen HTTP/2 before: requests at the start share one connection instead of opening one each.
    private var expectsHTTP2: Bool

    init(_ loop: EventLoop, endpoint: HTTPEndpoint, tls: TLSReference, limits: HTTPClientLimits) {
        self.loop = loop
        self.endpoint = endpoint
        self.tls = tls
        self.limits = limits
        expectsHTTP2 =
            switch endpoint.dialect {
            case .negotiated: tls.value != nil
            case .http1: false
            case .http2: true
            }
        head = MessageHead(capacity: limits.headerCount)
    }

    /// A connection on which an exchange may begin at once.
    ///
    /// - Parameter fresh: do not use one that has served before, since such a one has just failed.
    func acquire(fresh: Bool) async throws -> ClientConnection {
        while true {
            guard !isShutDown else { throw HTTPError(.cancelled, "the client is closed") }
            try Task.checkCancellation()
            // The most recently used first, so that the others can grow idle and go.
            if let ready = connections.last(where: { $0.isAvailable && !(fresh && $0.served > 0 && !$0.isHTTP2) }) {
                ready.isReserved = true
                return ready
            }
            let mayConnect = connections.count < limits.connections && !(expectsHTTP2 && connecting > 0)
            if mayConnect {
                // Another task may have taken it while this one was being woken.
                let opened = try await connect()
                guard opened.isAvailable else { continue }
                opened.isReserved = true
                return opened
            }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    waiting.append(continuation)
                    if Task.isCancelled { wakeAll() }
                }
            } onCancel: {
                loop.submit { self.wakeAll() }
            }
        }
    }

    private func connect() async throws -> ClientConnection {
        connecting += 1
        defer {
            connecting -= 1
            wakeAll()
        }
        let addresses: [SocketAddress]
        switch endpoint.place {
        case .unix(let path): addresses = [.unix(path: path)]
        case .host(let host, let port):
            addresses = try await NameResolver.resolve(host, port: port)
        }
        var last: any Error = HTTPError(.connect, "\(endpoint) has no address")
        for address in addresses {
            do { return try await connect(to: address) } catch { last = error }
        }
        throw last
    }

    private func connect(to address: SocketAddress) async throws -> ClientConnection {
        let session: TLSSession?
        do {
            session =
                try endpoint.isSecure
                ? tls.value.map {
                    try TLSSession(
                        $0, serverName: endpoint.serverName, offering: endpoint.protocols, resuming: ticket)
                } : nil
        } catch {
            throw HTTPError(.connect, "cannot connect to \(endpoint): \(error)")
        }
        guard !endpoint.isSecure || session != nil else {
            throw HTTPError(.usage, "\(endpoint) needs a TLS context")
        }
        let opening = Promise<Void>()
        let connection = ClientConnection(self, tls: session, limits: limits.codec, opening: opening)
        connections.append(connection)
        do {
            let socket = try StreamSocket.connect(
                to: address, on: loop, from: endpoint.source.map { .ip($0, 0) }, in: endpoint.networkNamespace,
                timeout: limits.connectTimeout,
                handler: connection)
            connection.attach(socket)
        } catch {
            connection.shutDown(error, isDown: true)
        }
        _ = loop.schedule(after: limits.connectTimeout) { [weak connection, limits] in
            guard let connection, connection.isOpening else { return }
            connection.shutDown(HTTPError(.timeout, "not connected after \(limits.connectTimeout)"))
        }
        try await opening.value()
        expectsHTTP2 = connection.isHTTP2
        return connection
    }

    func becameAvailable(_ connection: ClientConnection) {
        if connection.isIdle {
            connection.idleSince = loop.now
            // TLS 1.3 sends tickets with the first data; later ones are no better.
            if connection.served == 1, let fresh = connection.tlsTicket { ticket = fresh }
            if sweeper == nil, !isShutDown { scheduleSweep() }
        }
        wakeAll()
    }

    func closed(_ connection: ClientConnection) {
        connections.removeAll { $0 === connection }
        wakeAll()
    }

    /// Closes connections that have been idle for too long.
    private func scheduleSweep() {
        sweeper = loop.schedule(after: limits.idleTimeout / 4) { [weak self] in
            guard let self else { return }
            sweeper = nil
            let now = loop.now
            for connection in connections {
                if let since = connection.idleSince, now.duration(since: since) > limits.idleTimeout {
                    connection.shutDown(nil)
                }
            }
            if connections.contains(where: { $0.idleSince != nil }) { scheduleSweep() }
        }
    }

    /// Those that there are take no more requests, and go when they are idle.
    func retire() {
        ticket = nil
        for connection in connections { connection.retire() }
        if sweeper == nil, !isShutDown, !connections.isEmpty { scheduleSweep() }
        wakeAll()
    }

    func shutDown() {
        isShutDown = true
        for connection in connections { connection.shutDown(HTTPError(.cancelled, "the client was closed")) }
        wakeAll()
    }

    private func wakeAll() {
        let woken = waiting
        waiting = []
        for continuation in woken { continuation.resume() }
    }
}
