import Synchronization
import XDS

/// `envoy.filters.network.local_ratelimit`: a bucket of tokens shared by all workers, one for each connection.
package final class ConnectionRateLimit: Sendable {
    private struct Bucket {
        var tokens: UInt32
        /// When it was filled last, in nanoseconds of the monotonic clock; 0 before the first connection.
        var filled: UInt64 = 0
    }

    private let most: UInt32
    private let perFill: UInt32
    private let interval: UInt64
    private let isEnabled: Bool
    private let bucket: Mutex<Bucket>
    private let refused: CounterID

    init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        guard let tokens = node.message("token_bucket") else { throw node.error("token_bucket", "is missing") }
        refused = context.counters.counter("local_rate_limit.\(node.string("stat_prefix")).rate_limited")
        most = tokens.uint32("max_tokens")
        perFill = tokens.uint32("tokens_per_fill", default: 1)
        interval = tokens.nanoseconds("fill_interval", default: 0)
        guard interval >= 50_000_000 else {
            throw tokens.error("fill_interval", "local rate limit token bucket fill timer must be >= 50ms")
        }
        isEnabled =
            node.message("runtime_enabled").map { feature in
                feature.ignore("runtime_key")
                return feature.bool("default_value", default: true)
            } ?? true
        bucket = Mutex(Bucket(tokens: most))
    }

    func accepted(_ connection: ProxyConnection, _ run: NetworkFilterRun) -> NetworkFilter.Step {
        guard isEnabled, !takeToken(connection.worker.now) else { return .proceed }
        connection.worker.count(refused)
        run.refuse(
            connection,
            ConnectionRefusal(
                details: "", flags: .upstreamRetryLimitExceeded), after: 0)
        return .refused
    }

    private func takeToken(_ now: UInt64) -> Bool {
        bucket.withLock { bucket in
            if bucket.filled == 0 { bucket.filled = now }
            let fills = now > bucket.filled ? (now - bucket.filled) / interval : 0
            if fills > 0 {
                bucket.filled += fills * interval
                let more = fills.multipliedReportingOverflow(by: UInt64(perFill))
                let sum =
                    more.overflow
                    ? UInt64(most) : more.partialValue.addingReportingOverflow(UInt64(bucket.tokens)).partialValue
                bucket.tokens = UInt32(min(UInt64(most), sum))
            }
            guard bucket.tokens > 0 else { return false }
            bucket.tokens -= 1
            return true
        }
    }
}
