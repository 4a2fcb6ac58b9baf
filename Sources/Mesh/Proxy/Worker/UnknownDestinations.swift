import Bytes
import Reactor

/// Where redirected connections wanted to go that no listener has, on one worker: whether the control plane is being asked, and who
/// waits for the answer. `OnDemandListeners` bounds how many there are.
struct UnknownDestinations {
    /// Connections that wait at a time. Beyond, they go on as if the control plane knew nothing.
    static let waitingLimit = 1024

    private struct Entry {
        /// Nil when nobody need wait: the control plane knows nothing, for now, or is silent.
        var waiting: [InspectedConnection]?
        var isAnswered = false
        /// Of the worker's clock.
        var lastUse: UInt64
    }

    private var entries: [SocketAddress: Entry] = [:]
    private var waitingCount = 0

    /// What is known of a destination.
    enum Word { case answered, unanswered, waits }

    enum Verdict { case goOn(Word), wait, ask }

    /// What a connection does; with `ask` it waits as well.
    mutating func arrived(_ connection: InspectedConnection, at destination: SocketAddress, now: UInt64) -> Verdict {
        guard waitingCount < Self.waitingLimit || entries[destination] != nil else { return .goOn(.unanswered) }
        guard var entry = entries.removeValue(forKey: destination) else {
            entries[destination] = Entry(waiting: [connection], lastUse: now)
            waitingCount += 1
            return .ask
        }
        defer { entries[destination] = entry }
        entry.lastUse = now
        guard entry.waiting != nil, waitingCount < Self.waitingLimit else {
            return .goOn(entry.isAnswered ? .answered : .unanswered)
        }
        entry.waiting?.append(connection)
        waitingCount += 1
        return .wait
    }

    /// Those who waited go on.
    ///
    mutating func settle(_ destination: SocketAddress, _ answer: ListenerAnswer) -> [InspectedConnection] {
        let waiting = entries[destination]?.waiting ?? []
        waitingCount -= waiting.count
        entries[destination]?.waiting = nil
        entries[destination]?.isAnswered = answer == .absent
        if answer == .here || answer == .forgotten { entries[destination] = nil }
        return waiting
    }

    func lastUse(_ destination: SocketAddress) -> UInt64 { entries[destination]?.lastUse ?? 0 }
}

extension ProxyWorker {
    /// What is known of the listener of a connection's destination; with `.waits`, `goOn` is called when there is word.
    func ask(
        _ connection: InspectedConnection, for destination: SocketAddress, _ demand: ListenerDemand
    ) -> UnknownDestinations.Word {
        guard let directory else { return .unanswered }
        switch unknown.arrived(connection, at: destination, now: now) {
        case .goOn(let word): return word
        case .wait: return .waits
        case .ask:
            directory.loop.submit { directory.onDemandListeners.find(destination, demand, for: self) }
            return .waits
        }
    }

    /// Word has come.
    func settleDestination(_ destination: SocketAddress, _ answer: ListenerAnswer) {
        let isAnswered = answer == .here || answer == .absent
        for connection in unknown.settle(destination, answer) { connection.goOn(isAnswered: isAnswered) }
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
