/// One filter of plain connections, before the chain's terminal one: a closed set, dispatched by `switch`. The payload is the
/// filter's configuration, immutable and shared by all workers. Its phases, in order:
///
///     accepted → data* → closed       filters in the order of configuration
///
/// `accepted` comes before a TLS handshake, `data` with what the client says in plaintext, `closed` once for filters that let the
/// connection pass in `accepted`. A filter that has answered `.done` to data is asked no more.
package enum NetworkFilter: Sendable {
    case rbac(NetworkRBAC)
    case connectionLimit(ConnectionLimit)
    case localRateLimit(ConnectionRateLimit)
    /// The cluster is the one that has the server's name.
    case serverNameCluster

    enum Step {
        case proceed
        /// `refuse` was called.
        case refused
    }

    enum DataStep {
        /// Asked again for the next bytes.
        case proceed
        /// These bytes and all that follow may pass.
        case done
        case refused
    }

    var seesData: Bool {
        if case .rbac = self { true } else { false }
    }

    func accepted(_ connection: ProxyConnection, _ run: NetworkFilterRun) -> Step {
        switch self {
        case .rbac: return .proceed
        case .connectionLimit(let limit): return limit.accepted(connection, run)
        case .localRateLimit(let limit): return limit.accepted(connection, run)
        case .serverNameCluster:
            let name = connection.origin.serverName
            if !name.isEmpty, let cluster = ClusterID(known: name) { connection.routedCluster = cluster }
            return .proceed
        }
    }

    func data(_ connection: ProxyConnection, _ run: NetworkFilterRun) -> DataStep {
        switch self {
        case .rbac(let rbac): rbac.data(connection, run)
        case .connectionLimit, .localRateLimit, .serverNameCluster: .done
        }
    }

    func closed() {
        switch self {
        case .connectionLimit(let limit): limit.closed()
        case .rbac, .localRateLimit, .serverNameCluster: break
        }
    }
}

/// Why a connection was closed by a filter, as access logs tell it.
struct ConnectionRefusal {
    var details: String
    var flags: ResponseFlags
}
