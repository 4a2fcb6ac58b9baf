import Synchronization
import XDS

/// A filter's name in configuration as a small number, by which a route finds what it says of the filter.
package struct FilterID: Hashable, Sendable {
    package let rawValue: UInt32

    private static let known = Mutex<[String: UInt32]>([:])

    package init(_ name: String) {
        rawValue = Self.known.withLock { known in
            if let id = known[name] { return id }
            known[name] = UInt32(known.count)
            return UInt32(known.count - 1)
        }
    }
}

/// What one level of routing says about filters by name (`typed_per_filter_config`): nearly always nothing, or one or two.
package struct FilterOverrides: Sendable {
    struct Entry: Sendable {
        var filter: FilterID
        /// nil where nothing is said of it.
        var isDisabled: Bool?
        /// nil where only the above is said.
        var settings: FilterSettings?
    }

    private var entries: [Entry] = []

    package init() {}

    @inline(__always)
    var isEmpty: Bool { entries.isEmpty }

    func find(_ filter: FilterID) -> Entry? {
        for entry in entries where entry.filter == filter { return entry }
        return nil
    }
}

extension FilterOverrides {
    init(_ node: ConfigNode, _ context: BuildContext) throws(ConfigError) {
        for (name, config) in try node.typedMap("typed_per_filter_config") {
            var entry = Entry(filter: FilterID(name))
            if config.typeName == "envoy.config.route.v3.FilterConfig" {
                let isOptional = config.bool("is_optional")
                entry.isDisabled = config.bool("disabled")
                if isOptional, config.holdsUnknownType("config") {
                    config.ignore("config")
                } else if let packed = try config.typed("config") {
                    entry.settings = try FilterSettings.read(packed, isOptional: isOptional, context)
                }
            } else {
                entry.settings = try FilterSettings.read(config, isOptional: false, context)
            }
            entries.append(entry)
        }
    }
}
