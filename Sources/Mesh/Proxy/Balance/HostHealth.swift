/// All that is known of a host's health, by who said it.
struct HostHealth: OptionSet, Hashable, Sendable, BitwiseCopyable {
    let rawValue: UInt16

    init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Its active health check fails, or has not succeeded yet.
    static let failedActiveCheck = HostHealth(rawValue: 1 << 0)
    /// Outlier detection took it out.
    static let ejected = HostHealth(rawValue: 1 << 1)
    /// Discovery says UNHEALTHY.
    static let unhealthy = HostHealth(rawValue: 1 << 2)
    /// Discovery says TIMEOUT.
    static let timedOut = HostHealth(rawValue: 1 << 3)
    /// Discovery says DRAINING.
    static let draining = HostHealth(rawValue: 1 << 4)
    /// Discovery says DEGRADED.
    static let degraded = HostHealth(rawValue: 1 << 5)
    /// Its active health check succeeds and says `x-envoy-degraded`.
    static let degradedActiveCheck = HostHealth(rawValue: 1 << 6)
    /// Not counted at all before its first check (`ignore_new_hosts_until_first_hc`).
    static let pendingFirstCheck = HostHealth(rawValue: 1 << 7)
    /// It said `x-envoy-immediate-health-check-fail`, and is not counted until a check succeeds.
    static let failedImmediately = HostHealth(rawValue: 1 << 8)
    /// The last active check failed by its time limit.
    static let activeCheckTimedOut = HostHealth(rawValue: 1 << 9)
    /// Discovery no longer names it, and it stays while its active check succeeds.
    static let pendingRemoval = HostHealth(rawValue: 1 << 10)

    static let fromDiscovery: HostHealth = [.unhealthy, .timedOut, .draining, .degraded]

    private static let makesUnhealthy: HostHealth = [.failedActiveCheck, .ejected, .unhealthy, .timedOut, .draining]
    private static let makesDegraded: HostHealth = [.degraded, .degradedActiveCheck]
    private static let excludes: HostHealth = [.pendingFirstCheck, .failedImmediately, .draining]

    enum Availability: UInt8, Sendable {
        case healthy, degraded, unhealthy
    }

    var availability: Availability {
        if !isDisjoint(with: Self.makesUnhealthy) { return .unhealthy }
        return isDisjoint(with: Self.makesDegraded) ? .healthy : .degraded
    }

    /// Left out of the count that healthy hosts are compared with, so that it neither spills load over nor panics.
    var isExcluded: Bool { !isDisjoint(with: Self.excludes) }

    /// The name that discovery would give to all of it (`core.v3.HealthStatus`).
    var status: HealthStatus {
        if contains(.activeCheckTimedOut), contains(.failedActiveCheck) { return .timeout }
        if !isDisjoint(with: [.failedActiveCheck, .ejected, .unhealthy]) { return .unhealthy }
        if contains(.timedOut) { return .timeout }
        if contains(.draining) { return .draining }
        return availability == .degraded ? .degraded : .healthy
    }
}

/// `core.v3.HealthStatus`; UNKNOWN reads as healthy.
enum HealthStatus: UInt8, CaseIterable, Sendable {
    case healthy, unhealthy, draining, timeout, degraded
}

/// A set of statuses, as `override_host_status` has it.
struct HealthStatusSet: Hashable, Sendable, BitwiseCopyable {
    private var bits: UInt8 = 0

    init(_ statuses: some Sequence<HealthStatus>) {
        for status in statuses { bits |= 1 << status.rawValue }
    }

    func contains(_ status: HealthStatus) -> Bool { bits >> status.rawValue & 1 == 1 }

    /// UNKNOWN, HEALTHY and DEGRADED.
    static let usable = HealthStatusSet([.healthy, .degraded])
}
