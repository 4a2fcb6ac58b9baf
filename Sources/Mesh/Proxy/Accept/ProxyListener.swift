import Bytes
import Glibc
import Reactor
import TLS

/// A listener on one worker: its sockets, and what becomes of their connections. New connections go by the present
/// snapshot; those that there are keep the chain they were given.
package final class ProxyListener {
    unowned(unsafe) let worker: ProxyWorker
    private var listeners: [Listener] = []
    package private(set) var snapshot: ListenerSnapshot
    private var connections: [ProxyConnection] = []
    /// When another listener last handed it a connection, by the worker's clock; 0 for never.
    private(set) var lastUse: UInt64 = 0
    /// Of clients, by the port that they called.
    var plainClients = PlaintextPeers()

    /// On the worker's loop. `shared` says where the first worker's listener listens.
    init(_ worker: ProxyWorker, _ snapshot: ListenerSnapshot, _ shared: [SharedSocket] = []) throws {
        self.worker = worker
        self.snapshot = snapshot
        guard snapshot.bindsToPort else {
            worker.add(self, at: snapshot.addresses)
            return
        }
        do {
            for (number, address) in snapshot.addresses.enumerated() {
                listeners.append(try open(address, number, shared.isEmpty ? nil : shared[number]))
            }
        } catch {
            for listener in listeners { listener.close() }
            throw error
        }
        worker.add(self, at: addresses)
        for listener in listeners {
            listener.onRefuse = { [unowned self] number in count(self.snapshot.allowances[number].stat) }
        }
        overloadChanged()
    }

    /// Stops to accept, or goes on, as the worker's overload has it.
    func overloadChanged() {
        let accepts = snapshot.bypassesOverload || !worker.overload.stopsAccepting
        for listener in listeners { listener.setAccepting(accepts) }
    }

    /// Whether the kernel would let it have its addresses now.
    static func tryToBind(_ snapshot: ListenerSnapshot) throws(SystemError) {
        guard snapshot.bindsToPort else { return }
        for (number, address) in snapshot.addresses.enumerated() {
            try Listener.tryToBind(address, options: options(snapshot, address, number))
        }
    }

    /// How the socket at one of its addresses is made.
    private static func options(
        _ snapshot: ListenerSnapshot, _ address: SocketAddress, _ number: Int
    ) -> ListenerOptions {
        var options = ListenerOptions()
        let settings = number < snapshot.sockets.count ? snapshot.sockets[number] : nil
        options.reusePort = isBoundByEach(address, settings)
        if let settings {
            options.freeBind = settings.freeBind
            options.ipv6Only = settings.isIPv6Only
            options.unixMode = settings.mode
            // What is TCP's or IP's means nothing to a Unix socket.
            options.socketOptions = settings.options.filter { address.endpoint != nil || $0.level == SOL_SOCKET }
            options.acceptsInTurn = settings.acceptsInTurn
        }
        options.backlog = snapshot.backlog
        return options
    }

    private func open(_ address: SocketAddress, _ number: Int, _ shared: SharedSocket?) throws -> Listener {
        var options = Self.options(snapshot, address, number)
        options.allowances = snapshot.allowances.map(\.allowance)
        options.stream = streamOptions
        options.balance = number < snapshot.balances.count ? snapshot.balances[number] : nil
        let onAccept = { [unowned self] (socket: StreamSocket) in accept(socket) }
        if case .descriptor(let fd, let address) = shared {
            return try Listener(sharing: fd, address, on: worker.loop, options: options, onAccept: onAccept)
        }
        var address = address
        if case .address(let bound) = shared { address = bound }
        return try Listener(address, on: worker.loop, options: options, onAccept: onAccept)
    }

    private var streamOptions: StreamOptions {
        var options = worker.downstreamStreamOptions
        options.highWaterMark = snapshot.bufferLimit
        options.lowWaterMark = snapshot.bufferLimit / 2
        return options
    }

    private static func isBoundByEach(_ address: SocketAddress, _ settings: SocketSettings?) -> Bool {
        guard case .ip = address else { return false }
        return settings?.reusesPort ?? true
    }

    /// How another worker listens at the same places; each descriptor is for one of them. On the loop.
    func share() throws -> [SharedSocket] {
        var shared: [SharedSocket] = []
        for (number, listener) in listeners.enumerated() {
            let settings = number < snapshot.sockets.count ? snapshot.sockets[number] : nil
            shared.append(
                Self.isBoundByEach(listener.address, settings)
                    ? .address(listener.address) : .descriptor(try listener.duplicate(), listener.address))
        }
        return shared
    }

    /// What it is bound to, with the ports that the kernel chose.
    package var addresses: [SocketAddress] { listeners.map(\.address) }

    /// Takes over another snapshot with the same sockets: connections that would not get the chain that they have, or all if
    /// more than chains have changed, are drained. (Envoy drains those whose chain is gone; one that a new chain is for stays with it on the
    /// old, past the rules that the new one has.)
    package func update(_ snapshot: ListenerSnapshot) {
        let hasOtherChains = snapshot.chains.map(\.fingerprint) != self.snapshot.chains.map(\.fingerprint)
        let isOther = snapshot.fingerprint != self.snapshot.fingerprint
        self.snapshot = snapshot
        for (number, listener) in listeners.enumerated() {
            let turn = number < snapshot.sockets.count ? snapshot.sockets[number].acceptsInTurn : nil
            listener.update(
                backlog: snapshot.backlog, acceptsInTurn: turn ?? Listener.maximumAcceptsInTurn, stream: streamOptions)
        }
        overloadChanged()
        guard isOther || hasOtherChains else { return }
        drain { connection in
            isOther
                || connection.origin.withFacts { snapshot.chain(for: $0)?.fingerprint } != connection.chainFingerprint
        }
    }

    private func accept(_ socket: StreamSocket) {
        if worker.happens(worker.overload.refusedConnections), !snapshot.bypassesOverload {
            count(.overloadRefusals)
            return socket.close()
        }
        accept(socket, ConnectionOrigin(remote: socket.peer.unmapped, local: socket.local.unmapped))
    }

    private func accept(_ socket: StreamSocket, _ origin: ConnectionOrigin) {
        guard snapshot.filters.isEmpty else {
            let inspected = InspectedConnection(self, snapshot, socket, origin)
            socket.handler = inspected
            return inspected.finishIfDone(socket)
        }
        begin(
            socket, snapshot, origin, UnsafeRawBufferPointer(start: nil, count: 0), .rawBuffer, ProtocolNames())
    }

    /// What is known of who listens where a connection wants to go; with `.waits` it hears of it later.
    func ask(
        _ connection: InspectedConnection, _ snapshot: ListenerSnapshot, _ origin: ConnectionOrigin
    ) -> UnknownDestinations.Word {
        guard let demand = snapshot.demand, snapshot.usesOriginalDestination, origin.isRestored,
            worker.listener(at: origin.local) == nil
        else { return .answered }
        return worker.ask(connection, for: origin.local, demand)
    }

    func count(_ counter: CounterID) { worker.count(counter) }

    func count(_ stat: ListenerStat, by amount: Int64 = 1) {
        if let stats = snapshot.stats { worker.count(stats, stat, by: amount) }
    }

    /// Inspection is over: the connection gets its chain.
    func begin(
        _ socket: StreamSocket, _ snapshot: ListenerSnapshot, _ origin: ConnectionOrigin,
        _ serverName: UnsafeRawBufferPointer, _ transport: ConnectionFacts.TransportProtocol,
        _ protocols: ProtocolNames
    ) {
        if snapshot.usesOriginalDestination, origin.isRestored, let other = worker.listener(at: origin.local),
            other !== self
        {
            other.lastUse = worker.now
            // What has come so far stays in the socket, for the other listener's filters.
            return other.accept(socket, origin)
        }
        let facts = ConnectionFacts(
            destination: origin.local.endpoint, directSource: origin.directRemote.endpoint,
            source: origin.remote.endpoint, serverName: serverName, transportProtocol: transport,
            applicationProtocols: protocols)
        guard let chain = snapshot.chain(for: facts) else {
            count(.noChain)
            logUnmatched(snapshot, origin)
            return socket.close()
        }
        guard let connection = open(socket, snapshot, origin, chain) else { return }
        if !chain.filters.isEmpty {
            let run = NetworkFilterRun(chain.filters)
            connection.filters = run
            run.accepted(connection)
        }
        if chain.handshakeTimeout > 0, connection.isSecure { connection.limitHandshake(chain.handshakeTimeout) }
        connection.start()
    }

    /// A connection by its chain, not started yet; nil, and the socket closed, where its TLS cannot be made.
    func open(
        _ socket: StreamSocket, _ snapshot: ListenerSnapshot, _ origin: ConnectionOrigin, _ chain: FilterChain
    ) -> ProxyConnection? {
        do {
            let session = try chain.security.map { security throws(TLSError) in try security.context.session() }
            let connection = ProxyConnection(worker, origin, session)
            connection.countAccepted(snapshot.stats)
            connection.securityStats = chain.securityStats
            connection.terminal = chain.terminal.terminal(of: connection)
            connection.attach(socket)
            connection.chainFingerprint = chain.fingerprint
            connection.chainName = chain.name
            if origin.isUnanswered, let cluster = chain.unansweredCluster, worker.cluster(cluster) != nil {
                connection.routedCluster = cluster
            }
            connection.listenerLogs = snapshot.logs
            add(connection)
            return connection
        } catch {
            socket.close()
            return nil
        }
    }

    private func logUnmatched(_ snapshot: ListenerSnapshot, _ origin: ConnectionOrigin) {
        guard !snapshot.logs.isEmpty else { return }
        let connection = ProxyConnection(worker, origin, nil)
        connection.logFlags = .noRouteFound
        connection.listenerLogs = snapshot.logs
        connection.logAccess()
    }

    /// Keeps the connections that it accepts.
    func leaveBalance() { for listener in listeners { listener.leaveBalance() } }

    /// Another listener is in its place.
    func retire() {
        leave()
        drain()
    }

    /// Takes what waits in its queue, which the kernel would reset, and then no more.
    func leave() {
        for listener in listeners { listener.acceptWaiting() }
        close()
    }

    /// Takes no more connections; those that there are go on.
    package func close() {
        for listener in listeners { listener.close() }
        worker.remove(self)
    }

    // MARK: Connections

    private func add(_ connection: ProxyConnection) {
        connection.listener = self
        connection.listenerIndex = connections.count
        connections.append(connection)
    }

    func remove(_ connection: ProxyConnection) {
        connection.listener = nil
        let index = connection.listenerIndex
        guard let last = connections.popLast(), last !== connection else { return }
        connections[index] = last
        last.listenerIndex = index
    }

    var connectionCount: Int { connections.count }
    /// Each answer asks its client to come by another connection.
    private(set) var isDraining = false

    /// Tells clients to go, and refuses nothing.
    func announceDrain() {
        isDraining = true
        for connection in connections { connection.terminal?.announceDrain() }
        worker.flush()
    }

    /// Connections end with what they carry, those without a request at once.
    func finishDrain() {
        for connection in connections { connection.terminal?.drain() }
        worker.flush()
    }

    /// Tells clients to go, some sooner and some later within the drain time, and closes what is left of their connections at
    /// its end. Nothing is refused before: a client that asks just then is answered.
    package func drain(_ isConcerned: (ProxyConnection) -> Bool = { _ in true }) {
        let worker = worker
        for connection in connections where isConcerned(connection) {
            let time = worker.drain.time
            // The last quarter is for those that were told last.
            let spread = time - time / 4
            let delay = worker.drain.isGradual && spread > 0 ? worker.random.next(upperBound: spread) : 0
            connection.leave(toldAfter: delay, within: time)
        }
        worker.flush()
    }
}

extension TerminalFilter {
    func terminal(of connection: ProxyConnection) -> ConnectionTerminal {
        switch self {
        case .connectionManager(let manager):
            connection.countOpened(connection.worker.stats(manager))
            return switch manager.options.codec {
            case .auto: DownstreamSniffer(connection, manager)
            case .http1: HTTP1Downstream(connection, manager)
            case .http2: HTTP2Downstream(connection, manager)
            }
        case .tcpProxy(let proxy): return TCPSession(connection, proxy)
        case .echo: return EchoTerminal(connection)
        case .directResponse(let bytes): return DirectResponseTerminal(connection, bytes)
        }
    }
}

/// Where another worker's listener listens.
enum SharedSocket: Sendable {
    /// It binds a socket of its own there.
    case address(SocketAddress)
    /// A descriptor of the same socket, which becomes the listener's.
    case descriptor(CInt, SocketAddress)
}

/// How connections end whose listener or chain is gone: `--drain-time-s`, `--drain-strategy`.
package struct DrainSettings: Sendable {
    /// Nanoseconds until what is left is closed.
    package var time: UInt64 = 600_000_000_000
    /// Each is told at a moment of its own within the time, else all at once.
    package var isGradual = true
    package init() {}
}
