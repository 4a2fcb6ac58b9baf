/// What one worker counts of a cluster; plain integers, summed when somebody asks. Outlives changes of the cluster.
package final class ClusterStats {
    package var requests: UInt64 = 0
    package var activeRequests: Int64 = 0
    package var connections: UInt64 = 0
    package var http1Connections: UInt64 = 0
    package var http2Connections: UInt64 = 0
    package var activeConnections: Int64 = 0
    package var closedConnections: UInt64 = 0
    package var connectFailures: UInt64 = 0
    package var connectTimeouts: UInt64 = 0
    package var connectAttemptsExceeded: UInt64 = 0
    package var connectionOverflows: UInt64 = 0
    package var connectionsAtMaximumRequests: UInt64 = 0
    package var connectionsAtMaximumDuration: UInt64 = 0
    package var idleTimeouts: UInt64 = 0
    package var pending: UInt64 = 0
    package var activePending: Int64 = 0
    package var pendingOverflows: UInt64 = 0
    package var pendingFailures: UInt64 = 0
    package var cancelled: UInt64 = 0
    package var timeouts: UInt64 = 0
    package var perTryTimeouts: UInt64 = 0
    package var retries: UInt64 = 0
    package var retrySuccesses: UInt64 = 0
    package var retryOverflows: UInt64 = 0
    package var retryLimitsExceeded: UInt64 = 0
    package var localResets: UInt64 = 0
    package var remoteResets: UInt64 = 0
    package var noneHealthy: UInt64 = 0
    /// Responses by the first digit of their status.
    package var responses: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0)

    package init() {}

    func count(status: Int) {
        switch status / 100 {
        case 1: responses.0 &+= 1
        case 2: responses.1 &+= 1
        case 3: responses.2 &+= 1
        case 4: responses.3 &+= 1
        default: responses.4 &+= 1
        }
    }

    /// Under Envoy's names, below `cluster.NAME.`
    package var byName: [(name: String, value: Int64)] {
        let counters: [(String, UInt64)] = [
            ("upstream_rq_total", requests), ("upstream_cx_total", connections),
            ("upstream_cx_http1_total", http1Connections), ("upstream_cx_http2_total", http2Connections),
            ("upstream_cx_destroy", closedConnections), ("upstream_cx_connect_fail", connectFailures),
            ("upstream_cx_connect_timeout", connectTimeouts),
            ("upstream_cx_connect_attempts_exceeded", connectAttemptsExceeded),
            ("upstream_cx_overflow", connectionOverflows),
            ("upstream_cx_max_requests", connectionsAtMaximumRequests),
            ("upstream_cx_max_duration_reached", connectionsAtMaximumDuration),
            ("upstream_cx_idle_timeout", idleTimeouts), ("upstream_rq_pending_total", pending),
            ("upstream_rq_pending_overflow", pendingOverflows),
            ("upstream_rq_pending_failure_eject", pendingFailures), ("upstream_rq_cancelled", cancelled),
            ("upstream_rq_timeout", timeouts), ("upstream_rq_per_try_timeout", perTryTimeouts),
            ("upstream_rq_retry", retries), ("upstream_rq_retry_success", retrySuccesses),
            ("upstream_rq_retry_overflow", retryOverflows),
            ("upstream_rq_retry_limit_exceeded", retryLimitsExceeded), ("upstream_rq_tx_reset", localResets),
            ("upstream_rq_rx_reset", remoteResets), ("upstream_cx_none_healthy", noneHealthy),
            ("upstream_rq_1xx", responses.0), ("upstream_rq_2xx", responses.1), ("upstream_rq_3xx", responses.2),
            ("upstream_rq_4xx", responses.3), ("upstream_rq_5xx", responses.4),
            ("upstream_rq_completed", responses.1 + responses.2 + responses.3 + responses.4),
        ]
        return counters.map { ($0.0, Int64(clamping: $0.1)) } + [
            ("upstream_rq_active", activeRequests), ("upstream_cx_active", activeConnections),
            ("upstream_rq_pending_active", activePending),
        ]
    }
}
