import XDS

/// Where the proxy's own requests go: a cluster, and how long an answer may take. Immutable; made when configuration is read.
///
/// Calls take the way of other requests, from the router on: balancing, pools, breakers, retries and counters are the
/// cluster's.
package final class CallTarget: Sendable {
    package let cluster: ClusterID
    /// What the request calls the server when it says nothing else.
    package let authority: String
    /// Nanoseconds to the end of the answer; 0 for none.
    package let timeout: UInt64
    /// Bytes of an answer's body; with more of them the call has failed.
    package let limit: Int
    /// Says by `x-envoy-internal` and, in gRPC, by `x-forwarded-for` whose request it is.
    let announcesItself: Bool
    let route: RouteEntry

    /// Of an answer's body, where nobody says otherwise.
    package static let standardLimit = 1 << 20

    package init(
        _ cluster: String, authority: String = "", timeout: UInt64, retry: RetryPolicy? = nil,
        limit: Int = CallTarget.standardLimit, announcesItself: Bool = true
    ) {
        self.cluster = ClusterID(cluster)
        self.authority = authority.isEmpty ? cluster : authority
        self.timeout = timeout
        self.limit = limit
        self.announcesItself = announcesItself
        var options = ForwardAction.Options()
        options.timeout = timeout
        options.retry = retry
        route = RouteEntry(.forward(ForwardAction(.cluster(self.cluster), options)), host: .none)
    }
}

extension ConnectionManager {
    /// What streams of calls belong to. Counts as Envoy's asynchronous client does, under `http.async-client.`
    static let calls: ConnectionManager = {
        var options = Options()
        options.statPrefix = BuildContext.callPrefix
        options.serverHeader = .passThrough
        options.streamIdleTimeout = 0
        return ConnectionManager(options, filters: [], routes: .none, statsID: BuildContext.callStatsID)
    }()
}
