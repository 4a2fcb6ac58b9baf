import Bytes
import HTTP

/// What a stream knows of its client and of its way, beside its route.
struct RoutingState {
    var identity: ClientIdentity?
    /// Of the clusters that share a route, the one that was chosen.
    var weighted: WeightedClusters.Entry?
    var traceReason = TraceReason.none
    /// For `set-cookie` of the response.
    var cookies: [String] = []
    var retries = RetryState()
    /// Nanoseconds from the request's end to the response's, 0 for none.
    var timeout: UInt64 = 0
    /// A time-out is answered with 204 instead of 504 (`x-envoy-upstream-rq-timeout-alt-response`).
    var answersTimeoutWithNothing = false
    /// Copies of the request on their way to other clusters.
    var mirrors: [MirrorReference] = []
    /// This stream is such a copy: nobody hears its answer.
    var isMirror = false
    /// How often the proxy has followed a redirect by itself, and from which routes to which.
    var redirects = 0
    var redirectTargets: [String: Set<String>] = [:]
    /// That the request is counted in.
    var virtualCluster: VirtualCluster?
    /// No codec holds a copy: it holds itself until it is over.
    var holds: HTTPStream?
}

/// What is left of a stream's right to try again. The request's own fields may change what its route says.
struct RetryState {
    var policy: RetryPolicy?
    var conditions = RetryPolicy.Conditions()
    /// Besides the policy's; rare.
    var statusCodes: [Int] = []
    var headerNames: [HeaderKey] = []
    var perTryTimeout: UInt64 = 0
    /// Of the hosts that were tried, for policies that want others.
    var triedPriorities: [Int] = []
    /// A try that takes too long goes on beside the next.
    var hedges = false
    /// The last attempt was a retry, whose success is counted.
    var isRetrying = false
}

extension HTTPStream {
    /// The client, as the connection manager trusts `x-forwarded-for`.
    package var remote: SocketAddress {
        routing.identity?.remote ?? connection?.origin.remote ?? .unix(path: "")
    }

    /// The same; nil for streams without a connection.
    var client: SocketAddress? { routing.identity?.remote ?? origin?.remote }

    /// The client is one of our own.
    package var isInternal: Bool { routing.identity?.isInternal ?? false }
}
