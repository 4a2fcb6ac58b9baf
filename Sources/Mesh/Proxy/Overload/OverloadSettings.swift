import XDS

// Overload: what the proxy holds back of when it runs out of memory or connections. Decisions are made beside the workers, which
// only read what was decided.

/// An `envoy.config.overload.v3.OverloadManager`.
struct OverloadSettings: Sendable {
    enum Resource: Sendable {
        /// Bytes that may be allocated.
        case heap(most: UInt64)
        /// Of the process's control group; 0 for no other limit than its own.
        case controlGroup(most: UInt64)
        /// Connections of clients; looked at when one comes.
        case connections(most: Int)
    }

    struct Monitor: Sendable {
        var name: String
        var resource: Resource
    }

    struct Trigger: Sendable {
        var monitor: String
        /// Above the first it begins, from the second on it is whole; the same for a threshold.
        var range: ClosedRange<Double>

        /// 0…1.
        func level(_ pressure: Double) -> Double {
            if pressure >= range.upperBound { return 1 }
            guard pressure > range.lowerBound else { return 0 }
            return (pressure - range.lowerBound) / (range.upperBound - range.lowerBound)
        }
    }

    enum Action: String, CaseIterable, Sendable {
        case stopAcceptingRequests = "envoy.overload_actions.stop_accepting_requests"
        case disableKeepAlive = "envoy.overload_actions.disable_http_keepalive"
        case stopAcceptingConnections = "envoy.overload_actions.stop_accepting_connections"
        case rejectConnections = "envoy.overload_actions.reject_incoming_connections"
        case shrinkHeap = "envoy.overload_actions.shrink_heap"
    }

    var interval = Duration.seconds(1)
    var monitors: [Monitor] = []
    var actions: [(action: Action, triggers: [Trigger])] = []
    /// How often free memory is given back while `shrink_heap` holds.
    var shrinkInterval = Duration.seconds(10)

    /// How far each action holds at these pressures.
    func levels(_ pressures: [String: Double]) -> [Action: Double] {
        var levels: [Action: Double] = [:]
        for (action, triggers) in actions {
            levels[action] = triggers.map { $0.level(pressures[$0.monitor] ?? 0) }.max() ?? 0
        }
        return levels
    }
}

extension OverloadSettings {
    init(_ node: ConfigNode) throws(ConfigError) {
        interval = node.duration("refresh_interval", default: interval)
        guard interval > .zero else { throw node.error("refresh_interval", "must be above 0") }
        for monitor in node.messages("resource_monitors") {
            let name = monitor.string("name")
            guard !monitors.contains(where: { $0.name == name }) else {
                throw monitor.error("name", "Duplicate resource monitor \(name)")
            }
            monitors.append(Monitor(name: name, resource: try Self.resource(monitor)))
        }
        for action in node.messages("actions") { try read(action) }
    }

    private static func resource(_ monitor: ConfigNode) throws(ConfigError) -> Resource {
        guard let config = try monitor.typed("typed_config") else { throw monitor.error("typed_config", "is missing") }
        switch config.typeName {
        case "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig":
            let most = config.uint64("max_heap_size_bytes")
            guard most > 0 else { throw config.error("max_heap_size_bytes", "must be above 0") }
            return .heap(most: most)
        case "envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig":
            return .controlGroup(most: config.uint64("max_memory_bytes"))
        case "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig":
            return .connections(most: Int(config.int64("max_active_downstream_connections")))
        default: throw monitor.error("typed_config", "resource monitor \(config.typeName) is not supported")
        }
    }

    private mutating func read(_ node: ConfigNode) throws(ConfigError) {
        let name = node.string("name")
        guard let action = Action(rawValue: name) else {
            throw node.error("name", "overload action \(name) is not supported")
        }
        guard !actions.contains(where: { $0.action == action }) else {
            throw node.error("name", "Duplicate overload action \(name)")
        }
        var triggers: [Trigger] = []
        for trigger in node.messages("triggers") {
            let monitor = trigger.string("name")
            guard let known = monitors.first(where: { $0.name == monitor }) else {
                throw trigger.error("name", "Unknown trigger resource \(monitor) for overload action \(name)")
            }
            if case .connections = known.resource {
                throw trigger.error("name", "\(monitor) refuses connections by itself and triggers nothing")
            }
            triggers.append(Trigger(monitor: monitor, range: try Self.range(trigger)))
        }
        if let config = try node.typed("typed_config") {
            guard action == .shrinkHeap, config.typeName == "envoy.config.overload.v3.ShrinkHeapConfig" else {
                throw node.unsupported("typed_config")
            }
            shrinkInterval = config.duration("timer_interval", default: shrinkInterval)
            // All of it is given back each time.
            config.ignore("max_unfreed_memory_bytes")
        }
        actions.append((action, triggers))
    }

    private static func range(_ trigger: ConfigNode) throws(ConfigError) -> ClosedRange<Double> {
        if let threshold = trigger.message("threshold") {
            let value = threshold.double("value")
            return value...value
        }
        guard let scaled = trigger.message("scaled") else { throw trigger.error("has neither threshold nor scaled") }
        let (low, high) = (scaled.double("scaling_threshold"), scaled.double("saturation_threshold"))
        guard low < high else {
            throw scaled.error("scaling_threshold must be less than saturation_threshold")
        }
        return low...high
    }
}
