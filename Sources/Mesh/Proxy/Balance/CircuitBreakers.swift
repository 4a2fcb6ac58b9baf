import Synchronization

/// What a cluster bounds for a priority of requests.
struct CircuitBreakerThresholds: Hashable, Sendable {
    struct RetryBudget: Hashable, Sendable {
        /// Of the requests that are under way or wait.
        var percent = 20.0
        /// So many retries are always allowed.
        var minimumConcurrency: UInt32 = 3
    }

    var maxConnections: UInt32 = 1024
    var maxPendingRequests: UInt32 = 1024
    var maxRequests: UInt32 = 1024
    var maxRetries: UInt32 = 3
    var maxConnectionPools: UInt32 = .max
    /// In force instead of `maxRetries`.
    var retryBudget: RetryBudget?
    /// The `remaining_*` gauges are kept; else they are 0.
    var tracksRemaining = false
}

/// `core.v3.RoutingPriority`.
enum RoutingPriority: Int, CaseIterable, Sendable {
    case `default`, high
}

/// A cluster's circuit breakers: how much of everything it has under way, over all workers, against its bounds.
///
/// One object a cluster; each take or release is one atomic addition. All counters are in one piece of memory, away from
/// anything else that is written. Unlike Envoy, which looks first and counts later, two workers cannot both have the last of
/// something.
final class CircuitBreakers: Sendable {
    enum Resource: Int, CaseIterable, Sendable {
        case connections, pendingRequests, requests, retries, connectionPools
    }

    struct Gauge: Hashable, Sendable {
        /// As under `cluster.NAME.circuit_breakers.PRIORITY.`
        var name: String
        var value: UInt64
    }

    private struct Counts: ~Copyable, Sendable {
        let connections = Atomic<UInt32>(0)
        let pendingRequests = Atomic<UInt32>(0)
        let requests = Atomic<UInt32>(0)
        let retries = Atomic<UInt32>(0)
        let connectionPools = Atomic<UInt32>(0)
    }

    private let usual: CircuitBreakerThresholds
    private let high: CircuitBreakerThresholds
    /// Connections a host may have from each worker (`per_host_thresholds`, default priority).
    let maxConnectionsPerHost: UInt32
    private let usualCounts = Counts()
    private let highCounts = Counts()

    init(
        _ usual: CircuitBreakerThresholds = CircuitBreakerThresholds(),
        high: CircuitBreakerThresholds = CircuitBreakerThresholds(), maxConnectionsPerHost: UInt32 = .max
    ) {
        self.usual = usual
        self.high = high
        self.maxConnectionsPerHost = maxConnectionsPerHost
    }

    /// Takes one, unless as many as are allowed are taken. Whoever took one releases it.
    @inline(__always)
    func take(_ resource: Resource, _ priority: RoutingPriority = .default) -> Bool {
        let limit = limit(resource, priority)
        return withCount(resource, priority) { count in
            if count.wrappingAdd(1, ordering: .relaxed).oldValue < limit { return true }
            count.wrappingSubtract(1, ordering: .relaxed)
            return false
        }
    }

    /// Takes one more than is allowed, if it must be.
    func add(_ resource: Resource, _ priority: RoutingPriority = .default) {
        withCount(resource, priority) { _ = $0.wrappingAdd(1, ordering: .relaxed) }
    }

    @inline(__always)
    func release(_ resource: Resource, _ priority: RoutingPriority = .default) {
        withCount(resource, priority) { _ = $0.wrappingSubtract(1, ordering: .relaxed) }
    }

    func count(_ resource: Resource, _ priority: RoutingPriority = .default) -> UInt32 {
        withCount(resource, priority) { $0.load(ordering: .relaxed) }
    }

    /// How many of something there may be. With a retry budget it depends on what is under way.
    @inline(__always)
    func limit(_ resource: Resource, _ priority: RoutingPriority = .default) -> UInt32 {
        let thresholds = priority == .high ? high : usual
        switch resource {
        case .connections: return thresholds.maxConnections
        case .pendingRequests: return thresholds.maxPendingRequests
        case .requests: return thresholds.maxRequests
        case .connectionPools: return thresholds.maxConnectionPools
        case .retries:
            guard let budget = thresholds.retryBudget else { return thresholds.maxRetries }
            let underWay = UInt64(count(.requests, priority)) + UInt64(count(.pendingRequests, priority))
            return max(UInt32(clamping: Int64(Double(underWay) * budget.percent / 100)), budget.minimumConcurrency)
        }
    }

    /// `cx_open`, `remaining_cx` and so on.
    func gauges(_ priority: RoutingPriority) -> [Gauge] {
        let tracks = (priority == .high ? high : usual).tracksRemaining
        return Resource.allCases.flatMap { resource -> [Gauge] in
            let limit = limit(resource, priority)
            let count = count(resource, priority)
            return [
                Gauge(name: resource.openName, value: count >= limit ? 1 : 0),
                Gauge(name: resource.remainingName, value: tracks ? UInt64(limit - min(limit, count)) : 0),
            ]
        }
    }

    @inline(__always)
    private func withCount<R>(
        _ resource: Resource, _ priority: RoutingPriority, _ body: (borrowing Atomic<UInt32>) -> R
    ) -> R {
        switch (resource, priority) {
        case (.connections, .default): body(usualCounts.connections)
        case (.pendingRequests, .default): body(usualCounts.pendingRequests)
        case (.requests, .default): body(usualCounts.requests)
        case (.retries, .default): body(usualCounts.retries)
        case (.connectionPools, .default): body(usualCounts.connectionPools)
        case (.connections, .high): body(highCounts.connections)
        case (.pendingRequests, .high): body(highCounts.pendingRequests)
        case (.requests, .high): body(highCounts.requests)
        case (.retries, .high): body(highCounts.retries)
        case (.connectionPools, .high): body(highCounts.connectionPools)
        }
    }
}

extension CircuitBreakers.Resource {
    var openName: String {
        switch self {
        case .connections: "cx_open"
        case .pendingRequests: "rq_pending_open"
        case .requests: "rq_open"
        case .retries: "rq_retry_open"
        case .connectionPools: "cx_pool_open"
        }
    }

    var remainingName: String {
        switch self {
        case .connections: "remaining_cx"
        case .pendingRequests: "remaining_pending"
        case .requests: "remaining_rq"
        case .retries: "remaining_retries"
        case .connectionPools: "remaining_cx_pools"
        }
    }
}
