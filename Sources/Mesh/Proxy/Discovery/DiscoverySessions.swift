import Bytes
import Reactor
import XDS

/// The control planes that the configuration names, each with its stream. On the directory's loop.
final class DiscoverySessions {
    /// A source that is not aggregated has a stream for each kind.
    private struct Key: Hashable {
        var server: DiscoveryServer
        /// nil for all.
        var kind: ResourceKind?
    }

    private let directory: ClusterDirectory
    private let worker: ProxyWorker
    private let node: Message
    private let aggregated: DiscoveryServer?
    private var sessions: [Key: DiscoverySession] = [:]
    private let users: DiscoverySession.Users
    /// Of the session for all kinds.
    private let stateFile: StateFile?

    /// - Parameters:
    ///   - worker: whose connections streams are.
    ///   - aggregated: the bootstrap's `ads_config`.
    init(
        _ directory: ClusterDirectory, _ worker: ProxyWorker, node: Message, aggregated: DiscoveryServer?,
        _ users: DiscoverySession.Users, _ stateFile: StateFile?
    ) {
        self.stateFile = stateFile
        self.directory = directory
        self.worker = worker
        self.node = node
        self.aggregated = aggregated
        self.users = users
    }

    /// The session that resources of a kind come by; made and started when it is asked for first. nil when there is no such
    /// control plane.
    func session(_ origin: ConfigSource.Origin, _ kind: ResourceKind) -> DiscoverySession? {
        let key: Key
        switch origin {
        case .file: return nil
        case .aggregated:
            guard let aggregated else { return nil }
            key = Key(server: aggregated, kind: nil)
        case .server(let server): key = Key(server: server, kind: kind)
        }
        if let known = sessions[key] { return known }
        guard let path = key.kind.map({ key.server.form.path($0) }) ?? key.server.form.aggregatedPath else {
            return nil
        }
        let session = DiscoverySession(
            origin, key.server, path: path, node: node, directory, worker, users, key.kind == nil ? stateFile : nil)
        sessions[key] = session
        session.start()
        return session
    }

    /// A cluster can be used now.
    func clusterCame(_ id: ClusterID) { for session in sessions.values { session.clusterCame(id) } }

    func close() {
        for session in sessions.values { session.close() }
        sessions = [:]
    }

    /// Every session, the aggregated one first.
    var all: [DiscoverySession] {
        sessions.sorted { ($0.key.kind?.service ?? "") < ($1.key.kind?.service ?? "") }.map(\.value)
    }
}
