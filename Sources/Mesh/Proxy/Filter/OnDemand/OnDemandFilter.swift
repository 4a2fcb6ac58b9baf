import XDS

/// `envoy.filters.http.on_demand`: a request whose cluster nobody knows waits until a control plane was asked for it.
package struct OnDemandFilter: Sendable {
    /// nil asks for nothing.
    let source: OnDemandSource?

    /// Nanoseconds where the configuration has none, as in Envoy.
    static let standardTimeout: UInt64 = 5_000_000_000

    /// An `OnDemand`, or what a route says in its place (`PerRouteConfig`).
    init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        source = try node.message("odcds") { (node) throws(ConfigError) in
            try OnDemandSource(node, "source", timeout: Self.standardTimeout, context)
        }
    }

    func requestHead(_ stream: HTTPStream, _ slot: Int) -> FilterStep {
        var source = source
        if case .onDemand(let own)? = stream.settings(slot) { source = own.source }
        guard let source, let name = stream.wantedCluster, stream.worker.cluster(named: name) == nil else {
            return .proceed
        }
        stream.filterState[slot] = ClusterDemand(name, source, stream.worker) { [unowned stream] in
            stream.filterState[slot] = nil
            stream.resumeRequest()
        }
        return .pause
    }

    /// Withdraws what is waited for.
    func ended(_ stream: HTTPStream, _ slot: Int) { stream.filterState[slot] = nil }
}
