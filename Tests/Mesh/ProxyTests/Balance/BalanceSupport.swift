import Bytes
import JSON
import Reactor
import Testing

@testable import Proxy

/// 10.0.0.1:80 and so on.
func address(_ number: Int) -> SocketAddress { .ip(IPAddress(v4: 0x0A00_0000 + UInt32(number)), 80) }

func endpoint(
    _ number: Int, weight: UInt32 = 1, health: HostHealth = [], _ metadata: JSONObject? = nil, marks: HostMarks = []
) -> Endpoint {
    Endpoint(address(number), weight: weight, health: health, metadata: metadata.map { HostMetadata($0) }, marks: marks)
}

/// One locality at priority 0.
func assignment(_ endpoints: [Endpoint]) -> EndpointAssignment {
    EndpointAssignment([LocalityEndpoints(endpoints: endpoints)])
}

/// Priorities of so many hosts each, of which so many are healthy, then so many degraded.
func priorities(_ levels: [(hosts: Int, healthy: Int, degraded: Int)]) -> EndpointAssignment {
    var number = 0
    return EndpointAssignment(
        levels.enumerated().map { priority, level in
            LocalityEndpoints(
                priority: priority,
                endpoints: (0..<level.hosts).map { i in
                    number += 1
                    return endpoint(
                        number,
                        health: i < level.healthy ? [] : i < level.healthy + level.degraded ? .degraded : .unhealthy)
                })
        })
}

/// A balancer, its clock and its generator in one.
struct Bench: ~Copyable {
    var balancer: Balancer
    var random: SplitMix64
    var now = MonotonicTime(nanoseconds: 1_000_000_000_000)

    init(
        _ assignment: EndpointAssignment, _ config: BalanceConfig = BalanceConfig(), local: LocalCluster? = nil,
        seed: UInt64 = 1, joined: MonotonicTime = MonotonicTime(nanoseconds: 1)
    ) {
        random = SplitMix64(seed: seed)
        balancer = Balancer(HostSet(assignment, config, local: local, now: joined), random: &random)
    }

    mutating func pick(_ request: PickRequest = PickRequest()) -> Pick {
        balancer.pick(request, now: now, random: &random)
    }

    /// The last byte of the address that was picked, as `endpoint` numbers it; 0 for none.
    mutating func number(_ request: PickRequest = PickRequest()) -> Int {
        guard case .host(let index) = pick(request) else { return 0 }
        return Int(balancer.set[index].address.address!.low & 0xFF_FFFF)
    }

    mutating func id(_ request: PickRequest = PickRequest()) -> HostID? {
        guard case .host(let index) = pick(request) else { return nil }
        return balancer.set[index].id
    }

    /// How often each number was picked.
    mutating func tally(_ picks: Int, _ request: PickRequest = PickRequest()) -> [Int: Int] {
        var counts: [Int: Int] = [:]
        for _ in 0..<picks { counts[number(request), default: 0] += 1 }
        return counts
    }

    mutating func adopt(_ set: HostSet) { balancer.adopt(set, random: &random) }
}

/// Pearson's statistic is below what chance exceeds once in about ten thousand draws. Seeds are fixed, so that it does not
/// depend on luck either.
func agrees(_ observed: [Int: Int], with shares: [Int: Double]) -> Bool {
    guard observed.keys.allSatisfy({ shares[$0] != nil }) else { return false }
    let all = Double(observed.values.reduce(0, +))
    let total = shares.values.reduce(0, +)
    let statistic = shares.reduce(0.0) { sum, share in
        let expected = all * share.value / total
        return sum + (Double(observed[share.key] ?? 0) - expected) * (Double(observed[share.key] ?? 0) - expected)
            / expected
    }
    let freedom = Double(max(shares.count - 1, 1))
    // Wilson and Hilferty's approximation of the quantile at 3.72 deviations.
    let cube = 1 - 2 / (9 * freedom) + 3.72 * (2 / (9 * freedom)).squareRoot()
    return statistic < freedom * cube * cube * cube
}
