import XDS

/// `envoy.filters.network.local_ratelimit`: a bucket of tokens shared by all workers, one for each connection.
package final class ConnectionRateLimit: Sendable {
    private let isEnabled: Bool
    private let bucket: TokenBucket
    private let refused: CounterID

    init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        guard let bucket = try node.message("token_bucket", TokenBucket.init) else {
            throw node.error("token_bucket", "is missing")
        }
        self.bucket = bucket
        refused = context.counters.counter("local_rate_limit.\(node.string("stat_prefix")).rate_limited")
        isEnabled =
            node.message("runtime_enabled").map { feature in
                feature.ignore("runtime_key")
                return feature.bool("default_value", default: true)
            } ?? true
    }

    func accepted(_ connection: ProxyConnection, _ run: NetworkFilterRun) -> NetworkFilter.Step {
        guard isEnabled, !bucket.take(now: connection.worker.now) else { return .proceed }
        connection.worker.count(refused)
        run.refuse(
            connection,
            ConnectionRefusal(
                details: "", flags: .upstreamRetryLimitExceeded), after: 0)
        return .refused
    }
}
