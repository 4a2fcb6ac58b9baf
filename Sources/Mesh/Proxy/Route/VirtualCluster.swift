import XDS

/// Requests of a virtual host that are counted together (`vhost.NAME.vcluster.NAME.`).
package final class VirtualCluster: Sendable {
    package let name: String
    /// None in the one for what belongs to no other.
    private let headers: [HeaderMatcher]
    let stats: StatBlockID<VirtualClusterStat>

    init(_ node: ConfigNode, host: String, _ context: BuildContext) throws(ConfigError) {
        name = node.string("name")
        headers = try node.messages("headers", HeaderMatcher.init)
        guard !headers.isEmpty else { throw node.error("headers", "must say which requests belong to it") }
        stats = context.stats(VirtualClusterStat.self, .virtualCluster(host: host, name: name))
    }

    /// What belongs to no other of the host's.
    init(otherOf host: String, _ context: BuildContext) {
        name = "other"
        headers = []
        stats = context.stats(VirtualClusterStat.self, .virtualCluster(host: host, name: name))
    }

    func matches(_ stream: HTTPStream) -> Bool { headers.allSatisfy { $0.matches(stream.request) } }
}

/// What is counted of a virtual cluster.
enum VirtualClusterStat: Int, StatBlock {
    case total, timeouts, retries, retrySuccesses, retryOverflows, retryLimitsExceeded
    case completed, informational, successful, redirections, clientErrors, serverErrors

    var leaf: String {
        switch self {
        case .total: "upstream_rq_total"
        case .timeouts: "upstream_rq_timeout"
        case .retries: "upstream_rq_retry"
        case .retrySuccesses: "upstream_rq_retry_success"
        case .retryOverflows: "upstream_rq_retry_overflow"
        case .retryLimitsExceeded: "upstream_rq_retry_limit_exceeded"
        case .completed: "upstream_rq_completed"
        default: "upstream_rq_\(rawValue - Self.completed.rawValue)xx"
        }
    }

    init?(status: Int) {
        guard (1...5).contains(status / 100) else { return nil }
        self.init(rawValue: Self.completed.rawValue + status / 100)
    }
}

extension HTTPStream {
    /// The request is of one virtual cluster: the first that matches.
    func findVirtualCluster() {
        guard let clusters = route?.host.virtualClusters, !clusters.isEmpty else { return }
        routing.virtualCluster = clusters.first { $0.matches(self) }
    }

    func countForVirtualCluster(_ stat: VirtualClusterStat) {
        if let virtual = routing.virtualCluster { worker.count(virtual.stats, stat) }
    }

    /// An answer, of an upstream or in its place.
    func countForVirtualCluster(status: Int) {
        guard let virtual = routing.virtualCluster else { return }
        worker.count(virtual.stats, .completed)
        if let stat = VirtualClusterStat(status: status) { worker.count(virtual.stats, stat) }
    }
}
