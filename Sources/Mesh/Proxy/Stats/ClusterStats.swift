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
    package var durationsReached: UInt64 = 0
    package var redirectsFollowed: UInt64 = 0
    package var redirectsNotFollowed: UInt64 = 0
    package var retries: UInt64 = 0
    package var retrySuccesses: UInt64 = 0
    package var retryOverflows: UInt64 = 0
    package var retryLimitsExceeded: UInt64 = 0
    package var retryBackoffs: UInt64 = 0
    /// Back-offs that an upstream asked for.
    package var retryBackoffsByLimit: UInt64 = 0
    package var localResets: UInt64 = 0
    package var remoteResets: UInt64 = 0
    package var noneHealthy: UInt64 = 0
    /// Requests of an ORIGINAL_DST cluster that named no address.
    package var invalidDestinations: UInt64 = 0
    package var protocolErrors: UInt64 = 0
    package var closedByUs: UInt64 = 0
    package var closedByPeer: UInt64 = 0
    package var closedWithRequest: UInt64 = 0
    package var closedByUsWithRequest: UInt64 = 0
    package var closedByPeerWithRequest: UInt64 = 0
    /// Upstreams that said `connection: close`.
    package var closeNotices: UInt64 = 0
    /// A body too large to be kept for another attempt.
    package var retriesAbandoned: UInt64 = 0
    package var readingPaused: UInt64 = 0
    package var readingResumed: UInt64 = 0
    package var backedUp: UInt64 = 0
    package var drainedUp: UInt64 = 0
    /// Responses by their status: to requests from within the mesh, and from outside.
    package var internalResponses = StatusCounts()
    package var externalResponses = StatusCounts()
    /// Responses in whose place another try was made.
    package var retriedResponses = StatusCounts()
    /// Those of either that came from canaries.
    package var canaryResponses = StatusCounts()
    /// What filters count under the cluster's name.
    package private(set) var named = NamedCounts()
    /// Milliseconds from the end of the request to the end of the response.
    package var internalRequestTime = LogLinearHistogram()
    package var externalRequestTime = LogLinearHistogram()
    package var connectTime = LogLinearHistogram()
    package var connectionTime = LogLinearHistogram()
    /// Of a cluster that is tracked, made with its first request.
    private(set) var tracked: TrackedRequests?
    /// Bytes over its connections, made with the first of them; see `byteTotals`.
    private var bytes: UnsafeMutablePointer<ByteTotals>?

    package init() {}

    deinit {
        internalRequestTime.deallocate()
        externalRequestTime.deallocate()
        connectTime.deallocate()
        connectionTime.deallocate()
        bytes?.deallocate()
    }

    /// Stays where it is while this lives, which the cluster's connections see to.
    var byteTotals: UnsafeMutablePointer<ByteTotals> {
        if let bytes { return bytes }
        let fresh = UnsafeMutablePointer<ByteTotals>.allocate(capacity: 1)
        fresh.initialize(to: ByteTotals())
        bytes = fresh
        return fresh
    }

    var bytesSoFar: ByteTotals { bytes?.pointee ?? ByteTotals() }

    func track(_ stream: HTTPStream, _ tracking: ClusterTracking) {
        let tracked = tracked ?? TrackedRequests()
        self.tracked = tracked
        tracked.record(stream, tracking)
    }

    private func tracked(_ path: KeyPath<TrackedRequests, LogLinearHistogram>) -> LogLinearHistogram {
        tracked?[keyPath: path] ?? LogLinearHistogram()
    }

    private var requestHeadSize: LogLinearHistogram { tracked(\.requestHead) }
    private var requestBodySize: LogLinearHistogram { tracked(\.requestBody) }
    private var responseHeadSize: LogLinearHistogram { tracked(\.responseHead) }
    private var responseBodySize: LogLinearHistogram { tracked(\.responseBody) }
    private var timeoutBudget: LogLinearHistogram { tracked(\.budget) }
    private var tryTimeoutBudget: LogLinearHistogram { tracked(\.tryBudget) }

    func count(_ status: Int, isInternal: Bool) {
        if isInternal { internalResponses.count(status) } else { externalResponses.count(status) }
    }

    /// A response's head has come.
    func count(_ response: HeaderBlock, isInternal: Bool) {
        count(response.status, isInternal: isInternal)
        if let canary = response.value(Self.canary), canary.elementsEqual("true".utf8) {
            canaryResponses.count(response.status)
        }
    }

    private static let canary = HeaderKey("x-envoy-upstream-canary")

    /// Counts what a filter counts of the cluster that a request goes to: `cluster.NAME.ext_authz.ok`.
    func count(_ leaf: StaticString) { named.count(leaf) }

    package static let table = StatTable<ClusterStats>(
        counters: [
            ("upstream_rq_total", \.requests), ("upstream_rq_cancelled", \.cancelled),
            ("upstream_internal_redirect_succeeded_total", \.redirectsFollowed),
            ("upstream_internal_redirect_failed_total", \.redirectsNotFollowed),
            ("upstream_rq_max_duration_reached", \.durationsReached), ("upstream_rq_timeout", \.timeouts),
            ("upstream_rq_per_try_timeout", \.perTryTimeouts),
            ("upstream_rq_retry", \.retries), ("upstream_rq_retry_success", \.retrySuccesses),
            ("upstream_rq_retry_overflow", \.retryOverflows),
            ("upstream_rq_retry_limit_exceeded", \.retryLimitsExceeded),
            ("upstream_rq_retry_backoff_exponential", \.retryBackoffs),
            ("upstream_rq_retry_backoff_ratelimited", \.retryBackoffsByLimit),
            ("retry_or_shadow_abandoned", \.retriesAbandoned), ("upstream_cx_destroy_local", \.closedByUs),
            ("upstream_cx_destroy_remote", \.closedByPeer), ("upstream_cx_destroy_with_active_rq", \.closedWithRequest),
            ("upstream_cx_destroy_local_with_active_rq", \.closedByUsWithRequest),
            ("upstream_cx_destroy_remote_with_active_rq", \.closedByPeerWithRequest),
            ("upstream_cx_close_notify", \.closeNotices),
            ("upstream_flow_control_paused_reading_total", \.readingPaused),
            ("upstream_flow_control_resumed_reading_total", \.readingResumed),
            ("upstream_flow_control_backed_up_total", \.backedUp),
            ("upstream_flow_control_drained_total", \.drainedUp),
            ("upstream_rq_tx_reset", \.localResets), ("upstream_rq_rx_reset", \.remoteResets),
            ("upstream_rq_pending_total", \.pending), ("upstream_rq_pending_overflow", \.pendingOverflows),
            ("upstream_rq_pending_failure_eject", \.pendingFailures),
            ("upstream_cx_total", \.connections), ("upstream_cx_http1_total", \.http1Connections),
            ("upstream_cx_http2_total", \.http2Connections), ("upstream_cx_destroy", \.closedConnections),
            ("upstream_cx_connect_fail", \.connectFailures), ("upstream_cx_connect_timeout", \.connectTimeouts),
            ("upstream_cx_connect_attempts_exceeded", \.connectAttemptsExceeded),
            ("upstream_cx_overflow", \.connectionOverflows),
            ("upstream_cx_max_requests", \.connectionsAtMaximumRequests),
            ("upstream_cx_max_duration_reached", \.connectionsAtMaximumDuration),
            ("upstream_cx_idle_timeout", \.idleTimeouts), ("upstream_cx_none_healthy", \.noneHealthy),
            ("upstream_cx_protocol_error", \.protocolErrors), ("original_dst_host_invalid", \.invalidDestinations),
            ("upstream_cx_rx_bytes_total", \.bytesSoFar.received),
            ("upstream_cx_tx_bytes_total", \.bytesSoFar.sent),
        ],
        gauges: [
            ("upstream_rq_active", \.activeRequests, \.requests),
            ("upstream_rq_pending_active", \.activePending, \.pending),
            ("upstream_cx_active", \.activeConnections, \.connections),
        ],
        histograms: [("upstream_cx_connect_ms", \.connectTime), ("upstream_cx_length_ms", \.connectionTime)],
        rareHistograms: [
            ("internal.upstream_rq_time", \.internalRequestTime),
            ("external.upstream_rq_time", \.externalRequestTime), ("upstream_rq_headers_size", \.requestHeadSize),
            ("upstream_rq_body_size", \.requestBodySize), ("upstream_rs_headers_size", \.responseHeadSize),
            ("upstream_rs_body_size", \.responseBodySize), ("upstream_rq_timeout_budget_percent_used", \.timeoutBudget),
            ("upstream_rq_timeout_budget_per_try_percent_used", \.tryTimeoutBudget),
        ])
}
