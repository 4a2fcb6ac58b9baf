/// Connections that are relayed without being understood: Istio's `istio_tcp_…`.
///
/// Bytes of those that live are taken at each scrape, so that a connection of days is seen while it lasts.
extension MeshStats {
    struct Connections {
        var opened: UInt64 = 0
        var closed: UInt64 = 0
        /// From the client.
        var received: UInt64 = 0
        /// To the client.
        var sent: UInt64 = 0
        var usedAt: UInt64 = 0

        var hasLive: Bool { opened > closed }

        mutating func add(_ other: Self) {
            opened &+= other.opened
            closed &+= other.closed
            received &+= other.received
            sent &+= other.sent
            usedAt = max(usedAt, other.usedAt)
        }
    }

    /// A connection that is relayed, and what of it was counted.
    struct LiveConnection {
        unowned let session: TCPSession
        let ends: Ends
        var received: UInt64 = 0
        var sent: UInt64 = 0
    }

    /// An upstream stands.
    func opened(_ session: TCPSession, host workload: String, isEncrypted: Bool) {
        let connection = session.connection
        guard connection.listener != nil else { return }
        var ends = Ends(side: TrafficSide(connection), service: session.cluster?.watchNumber ?? 0)
        switch ends.side {
        case .inbound:
            ends.other = peer(of: connection)
            ends.isMutual = ends.other != 0
        case .outbound:
            ends.other = number(ofHost: workload)
            ends.isMutual = isEncrypted
        }
        ends = room(for: ends)
        live[ObjectIdentifier(session)] = LiveConnection(session: session, ends: ends)
        count(ends, at: session.worker.now) { $0.opened &+= 1 }
    }

    /// It is over. One that came to no upstream is opened and closed in one, with what was in the way.
    func closed(_ session: TCPSession) {
        let now = session.worker.now
        let id = ObjectIdentifier(session)
        if live[id] != nil {
            countBytes(of: id, at: now)
            if let known = live.removeValue(forKey: id) { count(known.ends, at: now) { $0.closed &+= 1 } }
        } else if session.connection.listener != nil {
            var ends = Ends(
                side: TrafficSide(session.connection), flags: session.responseFlags.rawValue,
                service: session.cluster?.watchNumber ?? 0)
            if ends.side == .inbound {
                ends.other = peer(of: session.connection)
                ends.isMutual = ends.other != 0
            }
            count(room(for: ends), at: now) {
                $0.opened &+= 1
                $0.closed &+= 1
            }
        }
    }

    func countBytes(of id: ObjectIdentifier, at now: UInt64) {
        guard var known = live[id] else { return }
        let (received, sent) = (known.session.received, known.session.sent)
        let (newReceived, newSent) = (received &- known.received, sent &- known.sent)
        guard newReceived > 0 || newSent > 0 else { return }
        (known.received, known.sent) = (received, sent)
        live[id] = known
        count(known.ends, at: now) {
            $0.received &+= newReceived
            $0.sent &+= newSent
        }
    }

    private func room(for ends: Ends) -> Ends {
        guard connections[ends] == nil, connections.count >= Self.seriesLimit else { return ends }
        overflowed &+= 1
        return ends.withoutNames
    }

    private func count(_ ends: Ends, at now: UInt64, _ change: (inout Connections) -> Void) {
        change(&connections[ends, default: Connections()])
        connections[ends]?.usedAt = now
    }
}
