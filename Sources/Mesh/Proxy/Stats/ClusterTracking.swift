import XDS

/// What is measured of a cluster only where its configuration asks for it (`track_cluster_stats`).
struct ClusterTracking: Sendable, Equatable {
    /// `upstream_rq_headers_size` and so on, in bytes.
    var sizes = false
    /// How much of its time-out a request took, in percent.
    var budgets = false
    /// Each host's own counts are told beside those of the cluster.
    var hosts = false

    var isOn: Bool { sizes || budgets }
}

extension ClusterSettings.Options {
    /// `track_cluster_stats`, and the older `track_timeout_budgets`.
    mutating func readTracking(_ node: ConfigNode) throws(ConfigError) {
        tracking.budgets = node.bool("track_timeout_budgets")
        guard let track = node.message("track_cluster_stats") else { return }
        tracking.sizes = track.bool("request_response_sizes")
        tracking.budgets = tracking.budgets || track.bool("timeout_budgets")
        tracking.hosts = track.bool("per_endpoint_stats")
    }
}

/// One worker's measurements of a cluster that is tracked.
final class TrackedRequests {
    var requestHead = LogLinearHistogram()
    var requestBody = LogLinearHistogram()
    var responseHead = LogLinearHistogram()
    var responseBody = LogLinearHistogram()
    var budget = LogLinearHistogram()
    var tryBudget = LogLinearHistogram()

    deinit {
        requestHead.deallocate()
        requestBody.deallocate()
        responseHead.deallocate()
        responseBody.deallocate()
        budget.deallocate()
        tryBudget.deallocate()
    }

    /// A request is over.
    func record(_ stream: HTTPStream, _ tracking: ClusterTracking) {
        if tracking.sizes {
            requestHead.record(UInt64(stream.request.wireSize))
            requestBody.record(stream.requestBytes)
            responseHead.record(UInt64(stream.response.wireSize))
            responseBody.record(stream.responseBytes)
        }
        guard tracking.budgets else { return }
        let now = stream.worker.now
        budget.record(Self.percent(now &- stream.requestEndedAt, of: stream.routing.timeout))
        tryBudget.record(
            Self.percent(now &- stream.upstreamSendBeganAt, of: stream.routing.retries.perTryTimeout))
    }

    /// 0 without a time-out.
    private static func percent(_ taken: UInt64, of timeout: UInt64) -> UInt64 {
        timeout > 0 ? UInt64(Double(taken) / Double(timeout) * 100) : 0
    }
}
