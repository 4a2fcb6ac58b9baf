/// What one worker counts of a connection manager (`http.PREFIX.`); plain integers, summed when somebody asks.
package struct ManagerStats {
    package var requests: UInt64 = 0
    package var http1Requests: UInt64 = 0
    package var http2Requests: UInt64 = 0
    package var activeRequests: Int64 = 0
    package var completed: UInt64 = 0
    package var responses = StatusClasses()
    package var connections: UInt64 = 0
    package var http1Connections: UInt64 = 0
    package var http2Connections: UInt64 = 0
    package var tlsConnections: UInt64 = 0
    package var activeConnections: Int64 = 0
    package var activeHTTP1: Int64 = 0
    package var activeHTTP2: Int64 = 0
    package var activeTLS: Int64 = 0
    package var closed: UInt64 = 0
    package var closedByUs: UInt64 = 0
    package var closedByPeer: UInt64 = 0
    package var closedWithRequest: UInt64 = 0
    package var bytes = ByteTotals()
    package var idleTimeouts: UInt64 = 0
    package var requestIdleTimeouts: UInt64 = 0
    package var requestTimeouts: UInt64 = 0
    package var headerTimeouts: UInt64 = 0
    package var durationsReached: UInt64 = 0
    package var closedByUsWithRequest: UInt64 = 0
    package var closedByPeerWithRequest: UInt64 = 0
    package var lingerTimeouts: UInt64 = 0
    package var drainCloses: UInt64 = 0
    package var upgrades: UInt64 = 0
    package var activeUpgrades: Int64 = 0
    package var upgradesRefused: UInt64 = 0
    package var readingPaused: UInt64 = 0
    package var readingResumed: UInt64 = 0
    package var pathsNotNormalized: UInt64 = 0
    package var pathsNotRelative: UInt64 = 0
    package var pathsRedirected: UInt64 = 0
    package var clientsNotDetected: UInt64 = 0
    package var earlyAnswers: UInt64 = 0
    package var requestsTooLarge: UInt64 = 0
    package var responsesTooLarge: UInt64 = 0
    package var cutAfterHead: UInt64 = 0
    package var requestLimitsReached: UInt64 = 0
    package var connectionDurationsReached: UInt64 = 0
    package var overloadRefusals: UInt64 = 0
    package var overloadEnds: UInt64 = 0
    package var remoteResets: UInt64 = 0
    package var localResets: UInt64 = 0
    package var protocolErrors: UInt64 = 0
    package var noRoutes: UInt64 = 0
    package var noClusters: UInt64 = 0
    package var directResponses: UInt64 = 0
    package var redirects: UInt64 = 0
    // Redirects that might have been followed here, and were passed on.
    package var redirectsToNowhere: UInt64 = 0
    package var redirectsAcrossSchemes: UInt64 = 0
    package var redirectsTooMany: UInt64 = 0
    package var redirectsWithoutRoute: UInt64 = 0
    package var redirectsForbidden: UInt64 = 0
    package var routed: UInt64 = 0
    /// Milliseconds.
    package var requestTime = LogLinearHistogram()
    package var connectionTime = LogLinearHistogram()

    mutating func deallocate() {
        requestTime.deallocate()
        connectionTime.deallocate()
    }

    package static let table = StatTable<ManagerStats>(
        counters: [
            ("downstream_cx_total", \.connections), ("downstream_cx_http1_total", \.http1Connections),
            ("downstream_cx_http2_total", \.http2Connections), ("downstream_cx_ssl_total", \.tlsConnections),
            ("downstream_cx_destroy", \.closed), ("downstream_cx_destroy_local", \.closedByUs),
            ("downstream_cx_destroy_remote", \.closedByPeer),
            ("downstream_cx_destroy_active_rq", \.closedWithRequest),
            ("downstream_cx_rx_bytes_total", \.bytes.received), ("downstream_cx_tx_bytes_total", \.bytes.sent),
            ("downstream_cx_idle_timeout", \.idleTimeouts), ("downstream_cx_protocol_error", \.protocolErrors),
            ("downstream_cx_destroy_local_active_rq", \.closedByUsWithRequest),
            ("downstream_cx_destroy_remote_active_rq", \.closedByPeerWithRequest),
            ("downstream_cx_delayed_close_timeout", \.lingerTimeouts),
            ("downstream_cx_drain_close", \.drainCloses), ("downstream_cx_upgrades_total", \.upgrades),
            ("downstream_flow_control_paused_reading_total", \.readingPaused),
            ("downstream_flow_control_resumed_reading_total", \.readingResumed),
            ("downstream_rq_ws_on_non_ws_route", \.upgradesRefused),
            ("downstream_rq_failed_path_normalization", \.pathsNotNormalized),
            ("downstream_rq_non_relative_path", \.pathsNotRelative),
            ("downstream_rq_redirected_with_normalized_path", \.pathsRedirected),
            ("downstream_rq_rejected_via_ip_detection", \.clientsNotDetected),
            ("downstream_rq_response_before_rq_complete", \.earlyAnswers),
            ("downstream_rq_too_large", \.requestsTooLarge), ("rs_too_large", \.responsesTooLarge),
            ("rq_reset_after_downstream_response_started", \.cutAfterHead),
            ("downstream_cx_max_duration_reached", \.connectionDurationsReached),
            ("downstream_rq_max_duration_reached", \.durationsReached),
            ("downstream_cx_max_requests_reached", \.requestLimitsReached),
            ("downstream_rq_total", \.requests), ("downstream_rq_http1_total", \.http1Requests),
            ("downstream_rq_http2_total", \.http2Requests), ("downstream_rq_completed", \.completed),
            ("downstream_rq_1xx", \.responses.informational), ("downstream_rq_2xx", \.responses.successful),
            ("downstream_rq_3xx", \.responses.redirections), ("downstream_rq_4xx", \.responses.clientErrors),
            ("downstream_rq_5xx", \.responses.serverErrors), ("downstream_rq_rx_reset", \.remoteResets),
            ("downstream_rq_tx_reset", \.localResets), ("downstream_rq_idle_timeout", \.requestIdleTimeouts),
            ("downstream_rq_timeout", \.requestTimeouts), ("downstream_rq_header_timeout", \.headerTimeouts),
            ("downstream_rq_overload_close", \.overloadRefusals),
            ("downstream_cx_overload_disable_keepalive", \.overloadEnds),
            ("no_route", \.noRoutes), ("no_cluster", \.noClusters), ("rq_direct_response", \.directResponses),
            ("passthrough_internal_redirect_bad_location", \.redirectsToNowhere),
            ("passthrough_internal_redirect_unsafe_scheme", \.redirectsAcrossSchemes),
            ("passthrough_internal_redirect_too_many_redirects", \.redirectsTooMany),
            ("passthrough_internal_redirect_no_route", \.redirectsWithoutRoute),
            ("passthrough_internal_redirect_predicate", \.redirectsForbidden),
            ("rq_redirect", \.redirects), ("rq_total", \.routed),
        ],
        gauges: [
            ("downstream_cx_active", \.activeConnections, \.connections),
            ("downstream_cx_http1_active", \.activeHTTP1, \.http1Connections),
            ("downstream_cx_http2_active", \.activeHTTP2, \.http2Connections),
            ("downstream_cx_ssl_active", \.activeTLS, \.tlsConnections),
            ("downstream_rq_active", \.activeRequests, \.requests),
            ("downstream_cx_upgrades_active", \.activeUpgrades, \.upgrades),
        ],
        histograms: [("downstream_rq_time", \.requestTime), ("downstream_cx_length_ms", \.connectionTime)])
}
