import Reactor

/// Servers whose clients say nothing, and may be waiting for them.
extension ProxyListener {
    /// How long a client may be silent before its server is called; nil: nobody is called.
    func patience(_ snapshot: ListenerSnapshot, _ origin: ConnectionOrigin) -> UInt64? {
        guard let settings = snapshot.serverFirst else { return nil }
        return plainClients.contains(origin.client, now: worker.now) ? 0 : settings.patience
    }

    /// A client has come, or was answered, in plain text.
    func remember(plain origin: ConnectionOrigin) {
        guard let settings = snapshot.serverFirst else { return }
        plainClients.add(origin.client, until: worker.now &+ settings.memory, now: worker.now)
    }

    /// Calls the server of a client that has said nothing, where that makes no difference to anybody else: what comes in plain text is just
    /// passed on, and nobody has to allow it.
    ///
    /// - Returns: Whether the inspection is over for now.
    func beginTentatively(
        _ inspection: InspectedConnection, _ socket: StreamSocket, _ snapshot: ListenerSnapshot,
        _ origin: ConnectionOrigin
    ) -> Bool {
        guard !snapshot.usesOriginalDestination, let chain = origin.withFacts({ snapshot.chain(for: $0) }),
            chain.security == nil, chain.filters.isEmpty, case .tcpProxy = chain.terminal,
            let connection = open(socket, snapshot, origin, chain)
        else { return false }
        socket.handler = TentativeConnection(connection, inspection, self)
        connection.start()
        return true
    }
}
