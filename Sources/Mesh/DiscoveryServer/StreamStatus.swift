public import XDS

/// How far a proxy is with what it is sent, for people.
public struct StreamStatus: Sendable {
    public var node: ProxyNode
    public var form: DiscoveryForm
    /// Where the stream comes from; empty once it is gone.
    public var peer = ""
    /// When it began, as RFC 3339 has it.
    public var since = ""
    /// The version of each kind that the proxy has accepted last; empty before the first.
    public var accepted: [ResourceKind: String] = [:]
    /// The kinds of which something is on its way, or waits for that.
    public var behind: [ResourceKind] = []
    /// Why the last response of a kind was refused, in the proxy's words.
    public var refusals: [ResourceKind: String] = [:]
    /// The resources whose last version was refused, by name, with the proxy's words.
    public var refused: [ResourceKind: [String: String]] = [:]

    init?(_ session: DiscoverySession) {
        guard let node = session.node else { return nil }
        self.node = node
        form = session.form
        for (kind, state) in session.kinds {
            accepted[kind] = state.acceptedVersion
            if !state.isSettled { behind.append(kind) }
            refusals[kind] = state.refusal
            for (id, reason) in state.refused { refused[kind, default: [:]][session.tables[kind][id]] = reason }
        }
    }
}

extension DiscoveryServer {
    /// Of each stream whose proxy has said who it is.
    public func status() -> [StreamStatus] {
        streams.values.compactMap { stream in
            guard var status = StreamStatus(stream.session) else { return nil }
            status.peer = stream.exchange.peer.map { "\($0)" } ?? ""
            status.since = stream.began.rfc3339
            return status
        }
    }
}
