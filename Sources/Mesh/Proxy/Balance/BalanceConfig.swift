import Glibc
import Reactor

/// How a cluster chooses among its hosts: `lb_policy` and what belongs to it, with Envoy's defaults.
struct BalanceConfig: Hashable, Sendable {
    var policy = BalancePolicy.roundRobin(nil)
    /// Below this percentage of available hosts a priority is balanced over all of its hosts, whatever their health. 0 turns
    /// panic off.
    var panicThreshold: UInt8 = 50
    var locality = LocalityBalance.zoneAware(ZoneAware())
    var subsets: SubsetConfig?
    /// Which hosts a stateful session may return to.
    var overrideHostStatus = HealthStatusSet.usable

    init(_ policy: BalancePolicy = .roundRobin(nil)) { self.policy = policy }
}

/// The closed set of policies.
enum BalancePolicy: Hashable, Sendable {
    case roundRobin(SlowStart?)
    case leastRequest(LeastRequest)
    /// Weights do not count, as in Envoy.
    case random
    case ringHash(RingHash)
    case maglev(Maglev)
    /// ORIGINAL_DST: the connection's own destination, nothing to choose.
    case originalDestination

    /// Whether it places requests by their hash.
    var isHashing: Bool {
        switch self {
        case .ringHash, .maglev: true
        default: false
        }
    }

    var slowStart: SlowStart? {
        switch self {
        case .roundRobin(let slowStart): slowStart
        case .leastRequest(let leastRequest): leastRequest.slowStart
        default: nil
        }
    }
}

struct LeastRequest: Hashable, Sendable {
    /// How many hosts are drawn for a choice, with repetition; at least 2.
    var choices: UInt32 = 2
    /// Where weights differ, a host's weight is divided by its active requests plus one to this power; at least 0.
    var activeRequestBias = 1.0
    /// Looks at every host instead of drawing (`selection_method: FULL_SCAN`).
    var scansAll = false
    var slowStart: SlowStart?
}

/// A host that is new or healthy again gets its share little by little.
struct SlowStart: Hashable, Sendable {
    var window: Duration
    /// 1 grows evenly, more grows fast at first; above 0.
    var aggression = 1.0
    /// 0…100.
    var minimumWeightPercent = 10.0

    /// What a host's weight is multiplied with `nanoseconds` after it became healthy.
    func factor(after nanoseconds: UInt64) -> Double {
        let window = UInt64(clamping: window.saturatedNanoseconds)
        if nanoseconds >= window { return 1 }
        let passed = Double(max(nanoseconds, 1_000_000)) / Double(window)
        let grown = aggression == 1 || passed >= 1 ? passed : pow(passed, 1 / aggression)
        return min(max(grown, minimumWeightPercent / 100), 1)
    }
}

struct RingHash: Hashable, Sendable {
    enum Function: Hashable, Sendable {
        case xxHash, murmurHash2
    }

    var minimumSize: UInt64 = 1024
    /// At most `RingHash.largestSize`.
    var maximumSize: UInt64 = RingHash.largestSize
    var function = Function.xxHash
    var usesHostname = false
    /// In percent of the mean load, above which a host's requests go elsewhere; 0 turns it off, else at least 100.
    var balanceFactor: UInt32 = 0

    static let largestSize: UInt64 = 8 << 20
}

struct Maglev: Hashable, Sendable {
    /// A prime, at most `Maglev.largestSize`.
    var tableSize: UInt64 = 65537
    var usesHostname = false
    /// As in `RingHash`.
    var balanceFactor: UInt32 = 0

    static let largestSize: UInt64 = 5_000_011
}

enum LocalityBalance: Hashable, Sendable {
    case zoneAware(ZoneAware)
    /// By the localities' weights and how many of their hosts are available.
    case weighted
}

/// Keeps requests in the proxy's own zone as far as that keeps the zones' loads even. In force only where the proxy's own
/// cluster is known (`local_cluster_name`), and at priority 0.
struct ZoneAware: Hashable, Sendable {
    enum Basis: Hashable, Sendable {
        case hosts, weights
    }

    /// Percentage of picks that it is in force for.
    var routingEnabled: UInt8 = 100
    /// Not in force for fewer healthy hosts.
    var minimumClusterSize = 6
    var failsTrafficOnPanic = false
    /// Everything stays in the own zone while that has so many healthy hosts (`force_local_zone.min_size`, and 1 for the older
    /// `force_locality_direct_routing`).
    var forcedLocalHosts: Int?
    var basis = Basis.hosts
}

/// Names of policies in `load_balancing_policy`, and the words for those that are not there.
enum BalancePolicyName: String, CaseIterable, Sendable {
    case roundRobin = "envoy.load_balancing_policies.round_robin"
    case leastRequest = "envoy.load_balancing_policies.least_request"
    case random = "envoy.load_balancing_policies.random"
    case ringHash = "envoy.load_balancing_policies.ring_hash"
    case maglev = "envoy.load_balancing_policies.maglev"
    case subset = "envoy.load_balancing_policies.subset"
    case overrideHost = "envoy.load_balancing_policies.override_host"
    case wrrLocality = "envoy.load_balancing_policies.wrr_locality"
    case clusterProvided = "envoy.load_balancing_policies.cluster_provided"

    /// A message's full name (`envoy.extensions.load_balancing_policies.maglev.v3.Maglev`), as in its `@type`.
    init(message: String) throws(BalanceConfigError) {
        let parts = message.split(separator: ".")
        guard message.hasPrefix("envoy.extensions.load_balancing_policies."), parts.count == 6 else {
            throw BalanceConfigError("load balancing policy \(message) is not known")
        }
        guard let name = Self(rawValue: "envoy.load_balancing_policies.\(parts[3])") else {
            throw BalanceConfigError(
                "load balancing policy \(message) is not supported; use one of "
                    + Self.allCases.map { $0.rawValue.split(separator: ".")[2] }.joined(separator: ", "))
        }
        self = name
    }
}

struct BalanceConfigError: Error, Hashable, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}

extension BalanceConfig {
    /// Everything that Envoy refuses, in its order; the field's name is in the message.
    func validate() throws(BalanceConfigError) {
        switch policy {
        case .ringHash(let ring):
            try validate(ring)
        case .maglev(let maglev):
            guard maglev.tableSize <= Maglev.largestSize else {
                throw BalanceConfigError("maglev table_size \(maglev.tableSize) is above \(Maglev.largestSize)")
            }
            guard isPrime(maglev.tableSize) else {
                throw BalanceConfigError("maglev table_size must be a prime number, and \(maglev.tableSize) is none")
            }
            try validate(balanceFactor: maglev.balanceFactor)
        case .leastRequest(let least):
            guard least.choices >= 2 else { throw BalanceConfigError("least_request choice_count must be at least 2") }
            guard least.activeRequestBias >= 0 else {
                throw BalanceConfigError("least_request active_request_bias must not be below 0")
            }
        case .roundRobin, .random, .originalDestination: break
        }
        if let slowStart = policy.slowStart, !(slowStart.aggression > 0) {
            throw BalanceConfigError("slow_start_config aggression must be above 0")
        }
        if case .originalDestination = policy, subsets != nil {
            throw BalanceConfigError("lb_subset_config cannot be used with CLUSTER_PROVIDED")
        }
        try subsets?.validate()
    }

    private func validate(_ ring: RingHash) throws(BalanceConfigError) {
        guard ring.maximumSize <= RingHash.largestSize, ring.minimumSize <= RingHash.largestSize else {
            throw BalanceConfigError("ring sizes must not be above \(RingHash.largestSize)")
        }
        guard ring.minimumSize <= ring.maximumSize else {
            throw BalanceConfigError(
                "minimum_ring_size (\(ring.minimumSize)) is above maximum_ring_size (\(ring.maximumSize))")
        }
        guard ring.maximumSize > 0 else { throw BalanceConfigError("maximum_ring_size must be above 0") }
        try validate(balanceFactor: ring.balanceFactor)
    }

    private func validate(balanceFactor: UInt32) throws(BalanceConfigError) {
        guard balanceFactor == 0 || balanceFactor >= 100 else {
            throw BalanceConfigError("hash_balance_factor must be at least 100, and is \(balanceFactor)")
        }
    }
}

private func isPrime(_ number: UInt64) -> Bool {
    if number < 4 { return number > 1 }
    if number % 2 == 0 { return false }
    var divisor: UInt64 = 3
    while divisor * divisor <= number {
        if number % divisor == 0 { return false }
        divisor += 2
    }
    return true
}
