/// `featureGates`: those that concern a service proxy, and what became of each in Kubernetes 1.36.
public struct FeatureGates: Sendable, Equatable {
    public enum Gate: String, Sendable, CaseIterable {
        case allowServiceExternalIPs = "AllowServiceExternalIPs"
        case componentFlagz = "ComponentFlagz"
        case componentStatusz = "ComponentStatusz"
        case nfTablesProxyMode = "NFTablesProxyMode"
        case multiCIDRServiceAllocator = "MultiCIDRServiceAllocator"
        case preferSameTrafficDistribution = "PreferSameTrafficDistribution"
        case topologyAwareHints = "TopologyAwareHints"
        case contextualLogging = "ContextualLogging"
        case loggingAlphaOptions = "LoggingAlphaOptions"
        case loggingBetaOptions = "LoggingBetaOptions"
        case nfTablesNetlink = "NFTablesNetlink"
        case watchListClient = "WatchListClient"
    }

    /// What a gate may be set to.
    enum Rule {
        /// It does what it says.
        case honoured
        /// It can only be this here; the sentence says why.
        case locked(Bool, String)
        /// Nothing of ours hangs on it.
        case inert
    }

    public private(set) var values: [String: Bool] = [:]

    public init() {}

    public subscript(gate: Gate) -> Bool { values[gate.rawValue] ?? Self.standard(gate) }

    private static func standard(_ gate: Gate) -> Bool {
        switch gate {
        case .componentFlagz, .componentStatusz, .loggingAlphaOptions: false
        default: true
        }
    }

    static func rule(_ gate: Gate) -> Rule {
        switch gate {
        case .allowServiceExternalIPs: .honoured
        case .componentFlagz: .locked(false, "/flagz is not served here; /configz says what is in effect")
        case .componentStatusz: .locked(false, "/statusz is not served here")
        case .nfTablesProxyMode: .locked(true, "nftables is the only mode here")
        case .multiCIDRServiceAllocator: .locked(true, "it is generally available")
        case .preferSameTrafficDistribution: .locked(true, "it is generally available")
        case .topologyAwareHints: .locked(true, "it is generally available")
        case .contextualLogging, .loggingAlphaOptions, .loggingBetaOptions, .nfTablesNetlink, .watchListClient: .inert
        }
    }

    /// - Returns: a remark on a gate that nothing here hangs on; nil for others.
    /// - Throws: a sentence when the gate cannot have this value.
    mutating func set(_ name: String, _ value: Bool) throws(Refusal) -> String? {
        values[name] = value
        guard let gate = Gate(rawValue: name) else {
            // A cluster's gates are often given to all of its programs alike.
            return "feature gate \(name) has no meaning for a service proxy"
        }
        switch Self.rule(gate) {
        case .honoured: return nil
        case .inert: return value == Self.standard(gate) ? nil : "feature gate \(name) changes nothing here"
        case .locked(let only, let why):
            guard value == only else { throw Refusal(reason: "cannot be \(value): \(why)") }
            return nil
        }
    }

    struct Refusal: Error { var reason: String }
}
