import Bytes
import JSON
import Reactor
import Testing

@testable import Proxy

@Suite("Picking a host")
struct BalancerTests {
    // MARK: Round robin

    @Test("round robin goes around, and workers begin at different hosts")
    func roundRobin() {
        var starts: Set<Int> = []
        for seed in 0..<20 {
            var bench = Bench(assignment((1...5).map { endpoint($0) }), seed: UInt64(seed))
            let first = (0..<5).map { _ in bench.number() }
            #expect(Set(first) == [1, 2, 3, 4, 5])
            let second = (0..<5).map { _ in bench.number() }
            #expect(first == second)
            starts.insert(first[0])
        }
        #expect(starts.count > 2)
    }

    @Test("round robin follows weights exactly")
    func weightedRoundRobin() {
        var bench = Bench(assignment([endpoint(1, weight: 1), endpoint(2, weight: 2), endpoint(3, weight: 5)]))
        let counts = bench.tally(8000)
        #expect(abs(counts[1]! - 1000) <= 1 && abs(counts[2]! - 2000) <= 1 && abs(counts[3]! - 5000) <= 1)
    }

    @Test("unhealthy hosts are left out, degraded ones too while healthy ones do")
    func health() {
        let flags: [HostHealth] = [[], .unhealthy, .draining, .timedOut, .degraded, []]
        var bench = Bench(assignment(flags.enumerated().map { endpoint($0.offset + 1, health: $0.element) }))
        // Two of five counted hosts are healthy and one is degraded: 56 % and 28 % of what is needed.
        let counts = bench.tally(3000)
        #expect(Set(counts.keys) == [1, 5, 6])
        #expect(agrees(counts, with: [1: 33.5, 6: 33.5, 5: 33]))
    }

    @Test("below the panic threshold health is ignored, and counted")
    func panic() {
        var bench = Bench(priorities([(hosts: 10, healthy: 4, degraded: 0)]))
        let counts = bench.tally(1000)
        #expect(counts.count == 10)
        #expect(bench.balancer.counters.healthyPanic == 1000)
        var config = BalanceConfig()
        config.locality = .zoneAware(ZoneAware(failsTrafficOnPanic: true))
        var strict = Bench(priorities([(hosts: 10, healthy: 4, degraded: 0)]), config)
        #expect(strict.pick() == .none(.inPanic))
        config.panicThreshold = 0
        var calm = Bench(priorities([(hosts: 10, healthy: 4, degraded: 0)]), config)
        #expect(Set(calm.tally(1000).keys) == [1, 2, 3, 4])
        var lost = Bench(priorities([(hosts: 10, healthy: 0, degraded: 0)]), config)
        #expect(lost.pick() == .none(.noHealthyHosts))
        var empty = Bench(EndpointAssignment([]))
        #expect(empty.pick() == .none(.noHosts))
    }

    @Test("load spills over to the next priority")
    func spill() {
        var bench = Bench(priorities([(hosts: 2, healthy: 1, degraded: 0), (hosts: 2, healthy: 2, degraded: 0)]))
        #expect(agrees(bench.tally(20_000), with: [1: 70, 3: 15, 4: 15]))
    }

    // MARK: Least request

    @Test("least request prefers the less busy of two that are drawn")
    func leastRequest() {
        var bench = Bench(assignment((1...4).map { endpoint($0) }), BalanceConfig(.leastRequest(LeastRequest())))
        for index in 0..<3 { bench.balancer.begin(bench.balancer.set.hosts[index].id) }
        // The idle host is taken when either draw hits it: 1 − (3/4)² = 7/16; the others share the rest evenly.
        #expect(agrees(bench.tally(32_000), with: [1: 3, 2: 3, 3: 3, 4: 7]))
    }

    @Test("least request with a full scan always takes the least busy, ties by lot")
    func fullScan() {
        var bench = Bench(
            assignment((1...5).map { endpoint($0) }), BalanceConfig(.leastRequest(LeastRequest(scansAll: true))))
        for index in [0, 2] { bench.balancer.begin(bench.balancer.set.hosts[index].id) }
        #expect(agrees(bench.tally(9000), with: [2: 1, 4: 1, 5: 1]))
    }

    @Test("with different weights least request divides them by what is under way", arguments: [0.0, 1.0, 2.0])
    func weightedLeastRequest(bias: Double) {
        let config = BalanceConfig(.leastRequest(LeastRequest(activeRequestBias: bias)))
        var bench = Bench(assignment([endpoint(1, weight: 2), endpoint(2, weight: 1)]), config)
        let first = bench.balancer.set.hosts[0].id
        for _ in 0..<3 { bench.balancer.begin(first) }
        // 2/(3+1)^bias against 1.
        let share = bias == 0 ? 2.0 : bias == 1 ? 0.5 : 0.125
        let counts = bench.tally(9000)
        let expected = 9000 * share / (1 + share)
        #expect(abs(Double(counts[1]!) - expected) <= 5, "\(counts)")
    }

    @Test("a request that ends no longer counts; one of a host that is gone counts for nobody")
    func activeRequests() {
        var bench = Bench(assignment([endpoint(1), endpoint(2)]))
        let id = bench.balancer.set.hosts[0].id
        bench.balancer.begin(id)
        bench.balancer.begin(id)
        bench.balancer.end(id)
        #expect(bench.balancer.activeRequests(id) == 1)
        // Host 1 leaves, and later host 3 gets its slot.
        for endpoints in [[endpoint(2)], [endpoint(3), endpoint(2)]] {
            bench.adopt(
                HostSet(assignment(endpoints), BalanceConfig(), previous: bench.balancer.set, now: bench.now))
        }
        let heir = bench.balancer.set.hosts[0].id
        #expect(heir.slot == id.slot && heir.generation != id.generation)
        #expect(bench.balancer.activeRequests(heir) == 0)
        bench.balancer.begin(heir)
        bench.balancer.end(id)
        #expect(bench.balancer.activeRequests(heir) == 1)
        #expect(bench.balancer.totalActiveRequests == 1)
    }

    // MARK: Random

    @Test("random is even, whatever the weights")
    func random() {
        var bench = Bench(
            assignment([endpoint(1, weight: 9), endpoint(2), endpoint(3)]), BalanceConfig(.random))
        #expect(agrees(bench.tally(9000), with: [1: 1, 2: 1, 3: 1]))
    }

    @Test("ORIGINAL_DST has nothing to choose")
    func originalDestination() {
        var bench = Bench(EndpointAssignment([]), BalanceConfig(.originalDestination))
        #expect(bench.pick() == .originalDestination)
    }

    // MARK: Slow start

    @Test("a host's weight grows over its window, never below the minimum")
    func slowStartFactor() {
        let even = SlowStart(window: .seconds(10))
        #expect(even.factor(after: 0) == 0.1)
        #expect(even.factor(after: 5_000_000_000) == 0.5)
        #expect(even.factor(after: 10_000_000_000) == 1)
        let fast = SlowStart(window: .seconds(10), aggression: 2, minimumWeightPercent: 0)
        #expect(abs(fast.factor(after: 2_500_000_000) - 0.5) < 1e-9)
        #expect(fast.factor(after: 0) == (0.0001).squareRoot())
    }

    @Test("a host that joins gets its share little by little", arguments: [false, true])
    func slowStart(isLeastRequest: Bool) {
        let slow = SlowStart(window: .seconds(60))
        let config = BalanceConfig(
            isLeastRequest ? .leastRequest(LeastRequest(slowStart: slow)) : .roundRobin(slow))
        var bench = Bench(assignment([endpoint(1), endpoint(2)]), config)
        bench.adopt(
            HostSet(
                assignment([endpoint(1), endpoint(2), endpoint(3)]), config, previous: bench.balancer.set,
                now: bench.now))
        bench.now = bench.now.adding(.seconds(15))
        let counts = bench.tally(9000)
        #expect(abs(counts[3]! - 1000) <= 10, "a quarter of a share: \(counts)")
        bench.now = bench.now.adding(.seconds(46))
        #expect(agrees(bench.tally(9000), with: [1: 1, 2: 1, 3: 1]))
    }

    // MARK: Retries and sessions

    @Test("a retry avoids the hosts that it was at, as often as it may look")
    func previousHosts() {
        var bench = Bench(assignment((1...3).map { endpoint($0) }))
        let ids = bench.balancer.set.hosts.map(\.id)
        let request = PickRequest(avoiding: HostExclusions(previous: [ids[0], ids[1]], attempts: 3))
        #expect(Set(bench.tally(100, request).keys) == [3])
        // When nothing else is found the last one found is taken.
        let hopeless = PickRequest(avoiding: HostExclusions(previous: ids, attempts: 5))
        #expect(bench.number(hopeless) != 0)
    }

    @Test("a retry omits marked hosts")
    func marks() {
        let marks: [HostMarks] = [.canary, .metadata(0), .metadata(14), []]
        var bench = Bench(assignment(marks.enumerated().map { endpoint($0.offset + 1, marks: $0.element) }))
        let request = PickRequest(avoiding: HostExclusions(marks: [.canary, .metadata(14)], attempts: 4))
        #expect(Set(bench.tally(100, request).keys) == [2, 4])
    }

    @Test(
        "a hashed retry finds another host", arguments: [.ringHash(RingHash()), .maglev(Maglev())] as [BalancePolicy])
    func hashedRetry(policy: BalancePolicy) {
        var bench = Bench(assignment((1...5).map { endpoint($0) }), BalanceConfig(policy))
        for hash in 0..<UInt64(50) {
            let hash = hash &* 0x9E37_79B9_7F4A_7C15
            let first = bench.id(PickRequest(hash: hash))!
            #expect(bench.id(PickRequest(hash: hash)) == first)
            let again = bench.id(PickRequest(hash: hash, avoiding: HostExclusions(previous: [first], attempts: 30)))
            #expect(again != first)
        }
    }

    @Test("a session returns to its host while that may be used")
    func sticky() {
        let flags: [HostHealth] = [[], .degraded, .unhealthy, .draining]
        let endpoints = flags.enumerated().map { endpoint($0.offset + 1, health: $0.element) }
        var bench = Bench(assignment(endpoints + (5...9).map { endpoint($0) }))
        func request(_ number: Int, strict: Bool = false) -> PickRequest {
            PickRequest(sticky: StickyHost(endpoint: address(number).endpoint!, isStrict: strict))
        }
        #expect(bench.number(request(1)) == 1)
        #expect(bench.number(request(2)) == 2)
        #expect(![0, 3].contains(bench.number(request(3))))
        #expect(![0, 4].contains(bench.number(request(4))))
        #expect(bench.pick(request(3, strict: true)) == .none(.stickyHostUnavailable))
        #expect(bench.pick(request(77, strict: true)) == .none(.stickyHostUnavailable))
        var config = BalanceConfig()
        config.overrideHostStatus = HealthStatusSet([.healthy, .draining])
        var lenient = Bench(assignment(endpoints), config)
        #expect(lenient.number(request(4)) == 4)
        #expect(lenient.pick(request(2, strict: true)) == .none(.stickyHostUnavailable))
    }

    // MARK: Bounded load

    @Test("a host with more than its share sends its requests elsewhere, always to the same host")
    func boundedLoad() {
        var maglev = Maglev()
        maglev.balanceFactor = 150
        var bench = Bench(assignment((1...4).map { endpoint($0) }), BalanceConfig(.maglev(maglev)))
        let request = PickRequest(hash: 99)
        let home = bench.id(request)!
        for _ in 0..<2 { bench.balancer.begin(home) }
        // Three slots of (2+1)·1.5 = 5, a quarter each is 2: two are not above it.
        #expect(bench.id(request) == home)
        bench.balancer.begin(home)
        let away = bench.id(request)!
        #expect(away != home)
        #expect(bench.id(request) == away)
        // 20 under way allow 8 each: then that one has too many as well.
        for _ in 0..<7 { bench.balancer.begin(home) }
        for _ in 0..<10 { bench.balancer.begin(away) }
        #expect(![home, away].contains(bench.id(request)))
    }

    // MARK: Snapshots

    @Test("a rotation goes on over a new snapshot, and a host that stays loses no turn")
    func rotationSurvives() {
        var bench = Bench(assignment([endpoint(1, weight: 1), endpoint(2, weight: 100)]))
        var turns = 0
        // A new host each 40 picks: had every snapshot a new rotation, host 1 would be due by chance only.
        for round in 0..<50 {
            turns += bench.tally(40)[1] ?? 0
            bench.adopt(
                HostSet(
                    assignment([endpoint(1, weight: 1), endpoint(2, weight: 100), endpoint(10 + round, weight: 1)]),
                    BalanceConfig(), previous: bench.balancer.set, now: bench.now))
        }
        #expect((19...20).contains(turns), "2000 picks at 1 of 101 or 102: \(turns)")
    }

    @Test("hosts keep their names and what is known of them; others get names that nobody has")
    func names() {
        var health = HostHealth()
        health.insert(.ejected)
        let now = MonotonicTime(nanoseconds: 5)
        let first = HostSet(assignment([endpoint(1), endpoint(2), endpoint(1)]), BalanceConfig(), now: now)
        #expect(Set(first.hosts.map(\.id)).count == 3)
        let second = first.changing([first.hosts[1].id: health], now: now)
        #expect(second.hosts.map(\.id) == first.hosts.map(\.id))
        let later = MonotonicTime(nanoseconds: 9)
        let third = HostSet(
            assignment([endpoint(3), endpoint(2, weight: 7), endpoint(1), endpoint(1)]), BalanceConfig(),
            membership: Membership(newHosts: .failedActiveCheck), previous: second, now: later)
        #expect(third.hosts[1].id == first.hosts[1].id)
        #expect(third.hosts[1].health == .ejected)
        #expect(third.hosts[1].weight == 7)
        #expect(third.hosts[0].health == .failedActiveCheck)
        #expect(third.hosts[0].healthySince == later && third.hosts[1].healthySince == now)
        #expect(third.hosts[2].id == first.hosts[0].id && third.hosts[3].id == first.hosts[2].id)
        #expect(Set(third.hosts.map(\.id)).count == 4)
        #expect(third.index(of: first.hosts[0].id) == HostIndex(2))
    }

    @Test("a host is found by its address, among few and among many", arguments: [1, 3, 16, 17, 200])
    func byAddress(count: Int) throws {
        let now = MonotonicTime(nanoseconds: 5)
        let set = HostSet(assignment((0..<count).map { endpoint($0) }), BalanceConfig(), now: now)
        for host in set.hosts {
            let endpoint = try #require(host.address.endpoint)
            let found = try #require(set.host(at: endpoint))
            #expect(set[found].id == host.id)
        }
        #expect(set.host(at: IPEndpoint(IPAddress(v4: 192, 0, 2, 1), 1)) == nil)
    }

    @Test("a host is in full what discovery named: sockets of every family, names, metadata, locality")
    func inFull() throws {
        let v6 = try #require(IPAddress("fe80::1"))
        let addresses: [SocketAddress] = [
            .ip(IPAddress(v4: 10, 0, 0, 1), 80), .ip(v6, 81, scope: 3), .unix(path: "/run/a.sock"),
            .abstract(name: "b"),
        ]
        let metadata = HostMetadata(["canary": true])
        let endpoints = addresses.map {
            Endpoint($0, hostname: "h.test", weight: 3, health: .degraded, metadata: metadata, marks: .canary)
        }
        let places = [
            LocalityEndpoints(locality: Locality(region: "r"), priority: 1, endpoints: endpoints),
            LocalityEndpoints(locality: Locality(zone: "z"), weight: 2, endpoints: [Endpoint(addresses[0])]),
        ]
        let now = MonotonicTime(nanoseconds: 5)
        let set = HostSet(EndpointAssignment(places), BalanceConfig(), now: now)
        #expect(set.hosts.map(\.address) == [addresses[0]] + addresses)
        #expect(set.hosts.dropFirst().allSatisfy { $0.hostname == "h.test" && $0.metadata === metadata })
        #expect(set.hosts.dropFirst().allSatisfy { $0.weight == 3 && $0.health == .degraded && $0.marks == .canary })
        #expect(set.hosts[0].hostname.isEmpty && set.hosts[0].metadata == nil)
        #expect(set.hosts.map { set.places[Int($0.place)].priority } == [0, 1, 1, 1, 1])
        #expect(set.places[Int(set.hosts[0].place)].locality.zone == "z" && set.level(of: HostIndex(4)) == 1)
        #expect(set.availability.map(\.hosts) == [1, 4] && set.availability[1].degraded == 4)
    }

    @Test("a host that discovery drops stays while its checks succeed")
    func removalWaits() {
        let membership = Membership(keepsRemovedWhileHealthy: true)
        let now = MonotonicTime(nanoseconds: 5)
        let first = HostSet(assignment([endpoint(1), endpoint(2)]), BalanceConfig(), membership: membership, now: now)
        let second = HostSet(
            assignment([endpoint(1)]), BalanceConfig(), membership: membership, previous: first, now: now)
        #expect(second.hosts.map(\.health) == [[], .pendingRemoval])
        let third = second.changing([first.hosts[1].id: [.pendingRemoval, .failedActiveCheck]], now: now)
        #expect(third.hosts.map(\.id) == [first.hosts[0].id])
    }

    @Test("hash tables are made anew only when their hosts change")
    func tablesShared() {
        let config = BalanceConfig(.maglev(Maglev()))
        let now = MonotonicTime(nanoseconds: 5)
        let first = HostSet(assignment([endpoint(1), endpoint(2)]), config, now: now)
        let second = HostSet(assignment([endpoint(1), endpoint(2)]), config, previous: first, now: now)
        let third = HostSet(assignment([endpoint(1), endpoint(3)]), config, previous: second, now: now)
        #expect(first.tables[0] === second.tables[0])
        #expect(third.tables[0] !== second.tables[0])
    }

    @Test("a host that is excluded neither panics nor spills")
    func excluded() {
        let now = MonotonicTime(nanoseconds: 5)
        let set = HostSet(
            assignment((1...10).map { endpoint($0) }), BalanceConfig(),
            membership: Membership(newHosts: [.failedActiveCheck, .pendingFirstCheck]), now: now)
        let first = set.changing([set.hosts[0].id: []], now: now)
        #expect(first.load.isInPanic == [false])
        #expect(first.availability[0].health == 100)
    }

    @Test("an aggregate's clusters are priorities one after another")
    func aggregate() {
        let now = MonotonicTime(nanoseconds: 5)
        let near = HostSet(
            priorities([(hosts: 2, healthy: 1, degraded: 0), (hosts: 4, healthy: 1, degraded: 0)]), BalanceConfig(),
            now: now)
        let far = HostSet(assignment([endpoint(50)]), BalanceConfig(), now: now)
        let aggregate = AggregateSet([near, far])
        #expect(aggregate.load.healthy == [70, 30, 0])
        var random = SplitMix64(seed: 1)
        var balancer = Balancer(near, random: &random)
        for number in 0..<UInt64(100) {
            let choice = aggregate.choose(hash: number, random: &random)!
            #expect(choice.member == 0)
            guard case .host(let index) = balancer.pick(PickRequest(load: choice.load), now: now, random: &random)
            else {
                Issue.record("no host")
                continue
            }
            #expect(near.level(of: index) == (number < 70 ? 0 : 1))
        }
        let gone = near.changing(Dictionary(uniqueKeysWithValues: near.hosts.map { ($0.id, .unhealthy) }), now: now)
        #expect(AggregateSet([gone, far]).choose(hash: 5, random: &random)?.member == 1)
        #expect(AggregateSet([]).choose(hash: 5, random: &random) == nil)
    }
}
