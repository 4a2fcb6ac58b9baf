import Synchronization
import XDS

/// `envoy.filters.network.connection_limit`: so many connections of a chain at once, over all workers.
package final class ConnectionLimit: Sendable {
    private let limit: UInt64
    /// Nanoseconds that a refused connection waits for its end.
    private let delay: UInt64
    private let isEnabled: Bool
    private let active = Atomic<UInt64>(0)
    private let refused: CounterID

    init(_ node: ConfigNode, _ context: BuildContext) {
        refused = context.counters.counter("connection_limit.\(node.string("stat_prefix")).limited_connections")
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
            connection.worker.count(refused)
            run.refuse(connection, ConnectionRefusal(details: "", flags: .upstreamOverflow), after: delay)
            return .refused
        }
        return .proceed
    }

    func closed() { if isEnabled { active.wrappingSubtract(1, ordering: .relaxed) } }

}
