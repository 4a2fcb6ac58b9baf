import Synchronization
import XDS

/// `envoy.filters.network.connection_limit`: so many connections of a chain at once, over all workers.
package final class ConnectionLimit: Sendable {
    private let limit: UInt64
    /// Nanoseconds that a refused connection waits for its end.
    private let delay: UInt64
    private let isEnabled: Bool
    let statPrefix: String
    private let active = Atomic<UInt64>(0)
    private let refused = Atomic<UInt64>(0)

    init(_ node: ConfigNode) {
        statPrefix = node.string("stat_prefix")
        limit = node.uint64("max_connections", default: .max)
        delay = node.nanoseconds("delay", default: 0)
        isEnabled =
            node.message("runtime_enabled").map { feature in
                feature.ignore("runtime_key")
                return feature.bool("default_value", default: true)
            } ?? true
    }

    func accepted(_ connection: ProxyConnection, _ run: NetworkFilterRun) -> NetworkFilter.Step {
        guard isEnabled else { return .proceed }
        guard active.wrappingAdd(1, ordering: .relaxed).newValue <= limit else {
            active.wrappingSubtract(1, ordering: .relaxed)
            refused.wrappingAdd(1, ordering: .relaxed)
            run.refuse(connection, ConnectionRefusal(details: "", flags: .upstreamOverflow), after: delay)
            return .refused
        }
        return .proceed
    }

    func closed() { if isEnabled { active.wrappingSubtract(1, ordering: .relaxed) } }

    /// `active_connections` and `limited_connections`.
    package var counts: (active: UInt64, limited: UInt64) {
        (active.load(ordering: .relaxed), refused.load(ordering: .relaxed))
    }
}
