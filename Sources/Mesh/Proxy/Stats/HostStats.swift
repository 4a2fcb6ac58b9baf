/// What one worker counts of a host of a cluster, for the admin page `/clusters`.
package struct HostStats: Sendable {
    package var connections: UInt64 = 0
    package var activeConnections: Int64 = 0
    package var connectFailures: UInt64 = 0
    package var requests: UInt64 = 0
    package var activeRequests: Int64 = 0
    package var errors: UInt64 = 0
    package var successes: UInt64 = 0
    package var timeouts: UInt64 = 0

    mutating func add(_ other: HostStats) {
        connections += other.connections
        activeConnections += other.activeConnections
        connectFailures += other.connectFailures
        requests += other.requests
        activeRequests += other.activeRequests
        errors += other.errors
        successes += other.successes
        timeouts += other.timeouts
    }
}
