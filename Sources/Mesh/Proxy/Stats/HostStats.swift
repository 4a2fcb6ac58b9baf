/// What one worker counts of a host of a cluster: for the admin page `/clusters`, and where `per_endpoint_stats` asks for it.
package struct HostStats: Sendable {
    package var connections: UInt64 = 0
    package var activeConnections: Int64 = 0
    package var connectFailures: UInt64 = 0
    package var requests: UInt64 = 0
    package var activeRequests: Int64 = 0
    /// Requests that wait for a connection.
    package var pendingRequests: Int64 = 0
    package var errors: UInt64 = 0
    package var successes: UInt64 = 0
    package var timeouts: UInt64 = 0

    mutating func add(_ other: HostStats) {
        connections += other.connections
        activeConnections += other.activeConnections
        connectFailures += other.connectFailures
        requests += other.requests
        activeRequests += other.activeRequests
        pendingRequests += other.pendingRequests
        errors += other.errors
        successes += other.successes
        timeouts += other.timeouts
    }

    func report(_ scope: StatScope, isHealthy: Bool, to report: inout StatReport) {
        report.counter(scope, "cx_connect_fail", connectFailures)
        report.counter(scope, "cx_total", connections)
        report.counter(scope, "rq_error", errors)
        report.counter(scope, "rq_success", successes)
        report.counter(scope, "rq_timeout", timeouts)
        report.counter(scope, "rq_total", requests)
        report.gauge(scope, "cx_active", activeConnections, isUsed: true)
        report.gauge(scope, "rq_active", activeRequests, isUsed: true)
        report.gauge(scope, "rq_pending_active", pendingRequests, isUsed: true)
        report.gauge(scope, "healthy", isHealthy ? 1 : 0, isUsed: true)
    }
}
