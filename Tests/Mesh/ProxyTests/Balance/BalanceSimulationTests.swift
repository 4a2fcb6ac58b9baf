import Bytes
import JSON
import Reactor
import Testing

@testable import Proxy

@Suite("Any cluster through any changes")
struct BalanceSimulationTests {
    private static func policy(_ random: inout SplitMix64) -> BalancePolicy {
        let slow = Bool.random(using: &random) ? SlowStart(window: .seconds(5)) : nil
        switch Int.random(in: 0..<6, using: &random) {
        case 0: return .roundRobin(slow)
        case 1:
            return .leastRequest(
                LeastRequest(activeRequestBias: Double.random(in: 0...2, using: &random), slowStart: slow))
        case 2: return .leastRequest(LeastRequest(scansAll: true))
        case 3: return .random
        case 4: return .ringHash(RingHash(minimumSize: 32, balanceFactor: Bool.random(using: &random) ? 120 : 0))
        default: return .maglev(Maglev(tableSize: 101, balanceFactor: Bool.random(using: &random) ? 120 : 0))
        }
    }

    private static func config(_ random: inout SplitMix64) -> BalanceConfig {
        var config = BalanceConfig(policy(&random))
        config.panicThreshold = [0, 30, 50, 100].randomElement(using: &random)!
        if Bool.random(using: &random) { config.locality = .weighted }
        if Int.random(in: 0..<3, using: &random) == 0 {
            config.subsets = SubsetConfig(
                fallback: [.noFallback, .anyEndpoint, .defaultSubset].randomElement(using: &random)!,
                defaultSubset: ["v": 1],
                selectors: [
                    SubsetConfig.Selector(["v"]), SubsetConfig.Selector(["v", "w"], fallback: .keysSubset(["v"])),
                ],
                localityWeightAware: Bool.random(using: &random), scaleLocalityWeight: Bool.random(using: &random))
        }
        return config
    }

    private static func assignment(_ random: inout SplitMix64) -> EndpointAssignment {
        let sameWeights = Bool.random(using: &random)
        return EndpointAssignment(
            (0..<Int.random(in: 0...4, using: &random)).map { number in
                LocalityEndpoints(
                    locality: Locality(zone: "z\(number % 3)"), priority: number / 2,
                    weight: Bool.random(using: &random) ? UInt32.random(in: 0...5, using: &random) : nil,
                    endpoints: (0..<Int.random(in: 0...5, using: &random)).map { _ in
                        endpoint(
                            Int.random(in: 1...12, using: &random),
                            weight: sameWeights ? 2 : UInt32.random(in: 1...9, using: &random),
                            health: [[], [], .unhealthy, .degraded, .draining].randomElement(using: &random)!,
                            ["v": .int(Int64.random(in: 0...2, using: &random)), "w": 1])
                    })
            })
    }

    @Test("a pick is a host that is there and may be used, and requests stay counted")
    func anything() {
        let seed = UInt64.random(in: .min ... .max)
        var random = SplitMix64(seed: seed)
        for _ in 0..<60 {
            let config = Self.config(&random)
            var set = HostSet(
                Self.assignment(&random), config, local: Self.local(&random), now: MonotonicTime(nanoseconds: 1))
            var balancer = Balancer(set, random: &random)
            var running: [HostID] = []
            var now = MonotonicTime(nanoseconds: 1)
            for _ in 0..<12 {
                #expect(Set(set.hosts.map(\.id)).count == set.hosts.count, "seed \(seed)")
                #expect(set.hosts.allSatisfy { set.generations[Int($0.id.slot)] == $0.id.generation }, "seed \(seed)")
                for _ in 0..<20 { Self.pick(&balancer, set, &running, now, &random, seed) }
                while running.count > 25 { balancer.end(running.removeFirst()) }
                let counted = set.hosts.reduce(0) { $0 + Int(balancer.activeRequests($1.id)) }
                let expected = running.count { id in set.hosts.contains { $0.id == id } }
                #expect(counted == expected, "seed \(seed)")
                #expect(balancer.totalActiveRequests == running.count, "seed \(seed)")
                now = now.adding(.seconds(2))
                set = Self.change(set, config, now, &random)
                balancer.adopt(set, random: &random)
            }
        }
    }

    private static func local(_ random: inout SplitMix64) -> LocalCluster? {
        guard Bool.random(using: &random) else { return nil }
        let zones = (0..<3).map {
            (Locality(zone: "z\($0)"), LocalCluster.Zone(hosts: 2, healthy: 2, healthyWeight: 2))
        }
        return LocalCluster(
            own: Locality(zone: "z1"), zones: Dictionary(uniqueKeysWithValues: zones),
            availability: PriorityAvailability(hosts: 6, healthy: 6, total: 6, healthyPart: 6))
    }

    private static func change(
        _ set: HostSet, _ config: BalanceConfig, _ now: MonotonicTime, _ random: inout SplitMix64
    ) -> HostSet {
        if let host = set.hosts.randomElement(using: &random), Bool.random(using: &random) {
            let health: HostHealth = [[], .ejected, .failedActiveCheck].randomElement(using: &random)!
            return set.changing([host.id: health], now: now)
        }
        return HostSet(
            assignment(&random), config,
            membership: Membership(keepsRemovedWhileHealthy: Bool.random(using: &random)), previous: set,
            local: set.local, now: now)
    }

    private static func pick(
        _ balancer: inout Balancer, _ set: HostSet, _ running: inout [HostID], _ now: MonotonicTime,
        _ random: inout SplitMix64, _ seed: UInt64
    ) {
        var request = PickRequest()
        if Bool.random(using: &random) { request.hash = random.next() }
        let query = set.config.subsets?.query(["v": .int(Int64.random(in: 0...3, using: &random)), "w": 1])
        request.subset = query?.view
        if let previous = running.last, Bool.random(using: &random) {
            request.avoiding = HostExclusions(previous: [previous], attempts: 2)
        }
        let panics = balancer.counters.healthyPanic
        let result = withExtendedLifetime(query) { balancer.pick(request, now: now, random: &random) }
        guard case .host(let index) = result else { return }
        guard set.hosts.indices.contains(Int(index.rawValue)) else {
            Issue.record("seed \(seed): \(index) of \(set.hosts.count)")
            return
        }
        let host = set[index]
        if balancer.counters.healthyPanic == panics {
            #expect(host.health.availability != .unhealthy, "seed \(seed)")
        }
        balancer.begin(host.id)
        running.append(host.id)
    }
}
