import Bytes
import Reactor
import Testing

@testable import Proxy

@Suite("Localities")
struct LocalityTests {
    private static func zone(_ name: String, _ numbers: ClosedRange<Int>, unhealthy: Int = 0, weight: UInt32? = nil)
        -> LocalityEndpoints
    {
        LocalityEndpoints(
            locality: Locality(zone: name), weight: weight,
            endpoints: numbers.map { endpoint($0, health: $0 < numbers.lowerBound + unhealthy ? .unhealthy : []) })
    }

    private static var weighted: BalanceConfig {
        var config = BalanceConfig()
        config.locality = .weighted
        return config
    }

    /// Envoy's table: X has weight 1, Y has weight 2 and is healthy; how much goes to X.
    @Test(
        "weighted localities get less as their hosts fail",
        arguments: [(100, 33.3), (72, 33.3), (69, 32.6), (50, 25.9), (25, 14.9), (0, 0.0)])
    func weightedLocalities(healthy: Int, percent: Double) {
        let endpoints = EndpointAssignment([
            Self.zone("x", 1...100, unhealthy: 100 - healthy, weight: 1), Self.zone("y", 101...200, weight: 2),
        ])
        var bench = Bench(endpoints, Self.weighted)
        let picks = 10_000
        let counts = bench.tally(picks)
        let toX = counts.filter { (1...100).contains($0.key) }.values.reduce(0, +)
        #expect(abs(Double(toX) * 100 / Double(picks) - percent) < 0.3)
    }

    @Test("localities without any weight are one")
    func unweighted() {
        var bench = Bench(EndpointAssignment([Self.zone("x", 1...1), Self.zone("y", 2...4)]), Self.weighted)
        #expect(agrees(bench.tally(4000), with: [1: 1, 2: 1, 3: 1, 4: 1]))
    }

    @Test("a locality with weight 0 gets nothing")
    func weightless() {
        let endpoints = EndpointAssignment([Self.zone("x", 1...2, weight: 0), Self.zone("y", 3...4, weight: 1)])
        var bench = Bench(endpoints, Self.weighted)
        #expect(Set(bench.tally(100).keys) == [3, 4])
        var config = Self.weighted
        config.policy = .maglev(Maglev(tableSize: 101))
        var hashed = Bench(endpoints, config)
        #expect(Set(hashed.tally(500).keys) == [3, 4])
    }

    // MARK: Zones

    private static func siblings(own: String, _ zones: [String: Int], unhealthy: Int = 0) -> LocalCluster {
        let hosts = zones.values.reduce(0, +)
        return LocalCluster(
            own: Locality(zone: own),
            zones: Dictionary(
                uniqueKeysWithValues: zones.map {
                    (
                        Locality(zone: $0.key),
                        LocalCluster.Zone(hosts: $0.value, healthy: $0.value, healthyWeight: UInt64($0.value))
                    )
                }),
            availability: PriorityAvailability(
                hosts: hosts, healthy: hosts - unhealthy, total: UInt64(hosts), healthyPart: UInt64(hosts - unhealthy)))
    }

    private static func share(_ bench: inout Bench, _ numbers: ClosedRange<Int>) -> Double {
        let counts = bench.tally(20_000)
        return Double(counts.filter { numbers.contains($0.key) }.values.reduce(0, +)) / 20_000
    }

    @Test("everything stays in a zone that has at least its share of hosts")
    func direct() {
        let endpoints = EndpointAssignment([Self.zone("b", 11...14), Self.zone("a", 1...4)])
        var bench = Bench(endpoints, local: Self.siblings(own: "a", ["a": 2, "b": 2]))
        #expect(Self.share(&bench, 1...4) == 1)
        #expect(bench.balancer.counters.zoneAllDirectly == 20_000)
    }

    @Test("a zone with too few hosts keeps what they can carry; the rest goes where hosts are to spare")
    func residual() {
        // Proxies 40 % 40 % 20 %, hosts 25 % 50 % 25 %: of the own zone's requests 25/40 stay, and of the rest b gets 10 for
        // each 5 of c, as in Envoy's documentation.
        let endpoints = EndpointAssignment([
            Self.zone("a", 1...5), Self.zone("b", 11...20), Self.zone("c", 21...25),
        ])
        var bench = Bench(endpoints, local: Self.siblings(own: "a", ["a": 4, "b": 4, "c": 2]))
        #expect(abs(Self.share(&bench, 1...5) - 0.625) < 0.01)
        #expect(abs(Self.share(&bench, 11...20) - 0.25) < 0.01)
        #expect(abs(Self.share(&bench, 21...25) - 0.125) < 0.01)
        let counters = bench.balancer.counters
        #expect(counters.zoneSampled + counters.zoneCross == 60_000)
    }

    @Test("zones do not count where they cannot be compared")
    func off() {
        let endpoints = EndpointAssignment([Self.zone("a", 1...4), Self.zone("b", 11...14)])
        // No siblings at all; none in the own zone; a cluster that is too small.
        var alone = Bench(endpoints)
        #expect(abs(Self.share(&alone, 1...4) - 0.5) < 0.01)
        var stranger = Bench(endpoints, local: Self.siblings(own: "z", ["a": 2, "b": 2]))
        #expect(abs(Self.share(&stranger, 1...4) - 0.5) < 0.01)
        #expect(stranger.balancer.set.zoneObstacle == .localClusterNotOK)
        var config = BalanceConfig()
        config.locality = .zoneAware(ZoneAware(minimumClusterSize: 9))
        var small = Bench(endpoints, config, local: Self.siblings(own: "a", ["a": 2, "b": 2]))
        #expect(abs(Self.share(&small, 1...4) - 0.5) < 0.01)
        #expect(small.balancer.set.zoneObstacle == .clusterTooSmall)
    }

    @Test("a zone can be forced, switched for a part of requests, and suspended when siblings are down")
    func options() {
        let endpoints = EndpointAssignment([Self.zone("a", 1...2), Self.zone("b", 11...18)])
        let local = Self.siblings(own: "a", ["a": 4, "b": 4])
        var config = BalanceConfig()
        config.locality = .zoneAware(ZoneAware(forcedLocalHosts: 2))
        var forced = Bench(endpoints, config, local: local)
        #expect(Self.share(&forced, 1...2) == 1)
        config.locality = .zoneAware(ZoneAware(forcedLocalHosts: 3))
        var unforced = Bench(endpoints, config, local: local)
        #expect(abs(Self.share(&unforced, 1...2) - 0.4) < 0.01)
        config.locality = .zoneAware(ZoneAware(routingEnabled: 0))
        var disabled = Bench(endpoints, config, local: local)
        #expect(abs(Self.share(&disabled, 1...2) - 0.2) < 0.01)

        let broken = Self.siblings(own: "a", ["a": 4, "b": 4], unhealthy: 5)
        var suspended = Bench(endpoints, local: broken)
        #expect(abs(Self.share(&suspended, 1...2) - 0.2) < 0.01)
        #expect(suspended.balancer.counters.localClusterNotOK == 20_000)
        config.locality = .zoneAware(ZoneAware(failsTrafficOnPanic: true))
        var failing = Bench(endpoints, config, local: broken)
        #expect(failing.pick() == .none(.inPanic))
    }

    @Test("weights can be compared instead of hosts")
    func basis() {
        let endpoints = EndpointAssignment([
            LocalityEndpoints(
                locality: Locality(zone: "a"), endpoints: [endpoint(1, weight: 3), endpoint(2, weight: 3)]),
            Self.zone("b", 11...16),
        ])
        var config = BalanceConfig()
        config.locality = .zoneAware(ZoneAware(basis: .weights))
        var bench = Bench(endpoints, config, local: Self.siblings(own: "a", ["a": 2, "b": 2]))
        #expect(Self.share(&bench, 1...2) == 1)
    }

    @Test("the local cluster is read from its own hosts")
    func localCluster() {
        let endpoints = EndpointAssignment([
            Self.zone("a", 1...3, unhealthy: 1), Self.zone("b", 4...5),
            LocalityEndpoints(locality: Locality(zone: "c"), priority: 1, endpoints: [endpoint(9)]),
        ])
        let set = HostSet(endpoints, BalanceConfig(), now: MonotonicTime(nanoseconds: 1))
        let local = LocalCluster(own: Locality(zone: "a"), set)
        #expect(local.zones[Locality(zone: "a")] == LocalCluster.Zone(hosts: 3, healthy: 2, healthyWeight: 2))
        #expect(local.zones[Locality(zone: "c")] == nil)
        #expect(local.availability.hosts == 5 && local.availability.healthy == 4)
    }
}
