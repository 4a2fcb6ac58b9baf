import HTTP
import Synchronization
import XDS

/// Answers health checks of those before the proxy, or remembers what the upstream answered
/// (`envoy.filters.http.health_check`).
package final class HealthCheckFilter: Sendable {
    private enum Mode: Sendable {
        /// The proxy answers for itself.
        case answer
        /// The upstream answers.
        case pass
        /// The upstream answers, and the proxy repeats it for so many nanoseconds.
        case repeats(UInt64)
    }

    private let mode: Mode
    /// All of them must match.
    private let headers: [HeaderMatcher]
    /// Of these clusters at least so many percent must be healthy.
    private let clusters: [(id: ClusterID, percent: Double)]
    /// The status that the upstream gave last, and until when it is repeated; 0 for none.
    private let cachedStatus = Atomic<Int>(0)
    private let cachedUntil = Atomic<UInt64>(0)

    /// The cluster that this proxy is of: who checks may want to know whom they reached.
    private let serviceCluster: [UInt8]

    init(_ node: ConfigNode, _ context: FilterContext) throws(ConfigError) {
        serviceCluster = Array(context.build.serviceCluster.utf8)
        let passes = node.bool("pass_through_mode", default: false)
        let repeats = node.nanoseconds("cache_time", default: 0)
        guard passes || repeats == 0 else { throw node.error("cache_time", "needs pass_through_mode") }
        mode = passes ? repeats > 0 ? .repeats(repeats) : .pass : .answer
        headers = try node.messages("headers", HeaderMatcher.init)
        clusters = node.messageMap("cluster_min_healthy_percentages").map {
            (ClusterID($0.key), $0.value.double("value"))
        }
        guard clusters.isEmpty || !passes else {
            throw node.error("cluster_min_healthy_percentages", "cannot be used with pass_through_mode")
        }
    }

    /// The request is answered here once it is whole.
    private final class Waiting {}

    func requestHead(_ stream: HTTPStream, _ slot: Int, end: Bool) -> FilterStep {
        guard headers.allSatisfy({ $0.matches(stream.request) }) else { return .proceed }
        stream.isHealthCheck = true
        switch mode {
        case .answer: break
        case .pass: return .proceed
        case .repeats:
            guard !stream.worker.failsHealthChecks else { break }
            guard cachedStatus.load(ordering: .relaxed) > 0, stream.worker.now < cachedUntil.load(ordering: .relaxed)
            else { return .proceed }
        }
        guard end else {
            stream.filterState[slot] = Waiting()
            return .pause
        }
        answer(stream)
        return .replied
    }

    func requestData(_ stream: HTTPStream, _ slot: Int, _ piece: inout BodyPiece) -> Bool {
        guard stream.filterState[slot] is Waiting else { return true }
        guard piece.end else {
            // Nobody wants it.
            piece.bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return true
        }
        stream.filterState[slot] = nil
        answer(stream)
        return false
    }

    func requestTrailers(_ stream: HTTPStream, _ slot: Int) {
        guard stream.filterState[slot] is Waiting else { return }
        stream.filterState[slot] = nil
        answer(stream)
    }

    func responseHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        guard stream.isHealthCheck else {
            if stream.worker.failsHealthChecks {
                let yes: StaticString = "true"
                stream.response.set(Self.immediateFail, yes.bytes)
            }
            return .proceed
        }
        if case .repeats(let duration) = mode, !stream.flags.contains(.isLocalReply) {
            cachedStatus.store(stream.response.status, ordering: .relaxed)
            cachedUntil.store(stream.worker.now &+ duration, ordering: .relaxed)
        }
        serviceCluster.withUnsafeBytes { stream.response.set(Self.healthCheckedCluster, $0) }
        return .proceed
    }

    private static let immediateFail = HeaderKey("x-envoy-immediate-health-check-fail")
    private static let healthCheckedCluster = HeaderKey("x-envoy-upstream-healthchecked-cluster")

    private func answer(_ stream: HTTPStream) {
        guard !stream.worker.failsHealthChecks else {
            return stream.reply(503, "", flag: .failedLocalHealthCheck, details: "health_check_failed")
        }
        if case .repeats = mode {
            let status = cachedStatus.load(ordering: .relaxed)
            return stream.reply(
                status, "", flag: status == 200 ? [] : .failedLocalHealthCheck, details: "health_check_cached")
        }
        for (id, percent) in clusters {
            guard let cluster = stream.worker.cluster(id) else {
                return stream.reply(
                    503, "", flag: .failedLocalHealthCheck, details: "health_check_no_cluster_found")
            }
            let (healthy, all) = cluster.hostCounts
            guard Double(100 * healthy) >= Double(all) * percent, all > 0 || percent == 0 else {
                return stream.reply(
                    503, "", flag: .failedLocalHealthCheck, details: "health_check_cluster_unhealthy")
            }
        }
        stream.reply(200, "", details: "health_check_ok")
    }
}
