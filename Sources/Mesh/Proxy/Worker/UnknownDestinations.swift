import Bytes
import Reactor

/// Where redirected connections wanted to go that no listener has, on one worker: whether the control plane is being asked, and who
/// waits for the answer. `OnDemandListeners` bounds how many there are.
struct UnknownDestinations {
    /// Connections that wait at a time. Beyond, they go on as if the control plane knew nothing.
    static let waitingLimit = 1024

    private struct Entry {
        /// Nil when the control plane knows nothing, for now.
        var waiting: [InspectedConnection]?
        /// Of the worker's clock.
        var lastUse: UInt64
    }

    private var entries: [SocketAddress: Entry] = [:]
    private var waitingCount = 0

    enum Verdict { case goOn, wait, ask }

    /// What a connection does; with `ask` it waits as well.
    mutating func arrived(_ connection: InspectedConnection, at destination: SocketAddress, now: UInt64) -> Verdict {
        guard waitingCount < Self.waitingLimit || entries[destination] != nil else { return .goOn }
        guard var entry = entries.removeValue(forKey: destination) else {
            entries[destination] = Entry(waiting: [connection], lastUse: now)
            waitingCount += 1
            return .ask
        }
        defer { entries[destination] = entry }
        entry.lastUse = now
        guard entry.waiting != nil, waitingCount < Self.waitingLimit else { return .goOn }
        entry.waiting?.append(connection)
        waitingCount += 1
        return .wait
    }

    /// Those who waited go on.
    ///
    /// - Parameter isKnown: What becomes of the next: there is a listener now, or nobody can say; else there is none, for now.
    mutating func settle(_ destination: SocketAddress, forgets: Bool) -> [InspectedConnection] {
        guard let waiting = entries[destination]?.waiting else {
            if forgets { entries[destination] = nil }
            return []
        }
        waitingCount -= waiting.count
        entries[destination]?.waiting = nil
        if forgets { entries[destination] = nil }
        return waiting
    }

    func lastUse(_ destination: SocketAddress) -> UInt64 { entries[destination]?.lastUse ?? 0 }
}

extension ProxyWorker {
    /// Whether the connection has to wait for word of the listener of its destination; `goOn` is called then.
    func mustWait(_ connection: InspectedConnection, for destination: SocketAddress, _ demand: ListenerDemand) -> Bool {
        guard let directory else { return false }
        switch unknown.arrived(connection, at: destination, now: now) {
        case .goOn: return false
        case .wait: return true
        case .ask:
            directory.loop.submit { directory.onDemandListeners.find(destination, demand, for: self) }
            return true
        }
    }

    /// Word has come.
    func settleDestination(_ destination: SocketAddress, forgets: Bool) {
        for connection in unknown.settle(destination, forgets: forgets) { connection.goOn() }
        flush()
    }

    /// When each of them was last wanted, by this worker's clock; 0 for never.
    func lastUses(_ destinations: [SocketAddress]) -> [UInt64] {
        destinations.map { destination in
            guard let listener = listener(at: destination) else { return unknown.lastUse(destination) }
            return max(listener.connectionCount > 0 ? now : listener.lastUse, unknown.lastUse(destination))
        }
    }
}
