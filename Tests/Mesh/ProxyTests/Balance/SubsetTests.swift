import Bytes
import JSON
import Reactor
import Testing

@testable import Proxy

@Suite("Subsets")
struct SubsetTests {
    /// The hosts of Envoy's documentation.
    private static let endpoints = assignment([
        endpoint(1, ["v": "1.0", "stage": "prod"]), endpoint(2, ["v": "1.0", "stage": "prod"]),
        endpoint(3, ["v": "1.1", "stage": "canary"]), endpoint(4, ["v": "1.2-pre", "stage": "dev"]),
        endpoint(5),
    ])

    private static let documented = SubsetConfig(
        fallback: .defaultSubset, defaultSubset: ["stage": "prod"],
        selectors: [
            SubsetConfig.Selector(["v", "stage"]), SubsetConfig.Selector(["stage"], fallback: .noFallback),
        ])

    private static func hosts(
        _ subsets: SubsetConfig, _ criteria: JSONObject?, _ endpoints: EndpointAssignment = endpoints
    )
        -> Set<Int>
    {
        var config = BalanceConfig()
        config.subsets = subsets
        // Then what is not healthy is not chosen either.
        config.panicThreshold = 0
        var bench = Bench(endpoints, config)
        let query = criteria.map(subsets.query)
        return withExtendedLifetime(query) {
            Set(bench.tally(60, PickRequest(subset: query?.view)).keys).subtracting([0])
        }
    }

    @Test(
        "as Envoy's documentation tables it",
        arguments: [
            (["stage": "canary"], [3]), (["v": "1.2-pre", "stage": "dev"], [4]), (["v": "1.0"], [1, 2]),
            (["other": "x"], [1, 2]), ([:], [1, 2]), (["stage": "test"], []),
        ] as [([String: String], Set<Int>)])
    func documented(criteria: [String: String], expected: Set<Int>) {
        let object = JSONObject(criteria.map { (key: $0.key, value: .string($0.value)) })
        #expect(Self.hosts(Self.documented, object) == expected)
        if criteria.isEmpty { #expect(Self.hosts(Self.documented, nil) == expected) }
    }

    @Test("fallbacks of the cluster")
    func clusterFallback() {
        var subsets = Self.documented
        subsets.fallback = .noFallback
        #expect(Self.hosts(subsets, ["other": "x"]) == [])
        #expect(Self.hosts(subsets, nil) == [])
        subsets.fallback = .anyEndpoint
        #expect(Self.hosts(subsets, ["other": "x"]) == [1, 2, 3, 4, 5])
        subsets.fallback = .defaultSubset
        subsets.defaultSubset = ["stage": "nowhere"]
        #expect(Self.hosts(subsets, nil) == [])
        subsets.panicModeAny = true
        #expect(Self.hosts(subsets, nil) == [1, 2, 3, 4, 5])
    }

    @Test("fallbacks of a selector")
    func selectorFallback() {
        func subsets(_ fallback: SubsetConfig.Selector.Fallback) -> SubsetConfig {
            SubsetConfig(
                fallback: .noFallback, defaultSubset: ["stage": "prod"],
                selectors: [
                    SubsetConfig.Selector(["stage", "v"], fallback: fallback), SubsetConfig.Selector(["stage"]),
                ])
        }
        let missing: JSONObject = ["stage": "canary", "v": "9"]
        #expect(Self.hosts(subsets(.notDefined), missing) == [])
        #expect(Self.hosts(subsets(.noFallback), missing) == [])
        #expect(Self.hosts(subsets(.anyEndpoint), missing) == [1, 2, 3, 4, 5])
        #expect(Self.hosts(subsets(.defaultSubset), missing) == [1, 2])
        #expect(Self.hosts(subsets(.keysSubset(["stage"])), missing) == [3])
        #expect(Self.hosts(subsets(.keysSubset(["stage"])), ["stage": "none", "v": "9"]) == [])
    }

    @Test("a subset whose hosts are all unhealthy is still the answer")
    func unhealthySubset() {
        let endpoints = assignment([
            endpoint(1, ["stage": "prod"]), endpoint(2, health: .unhealthy, ["stage": "canary"]),
        ])
        #expect(Self.hosts(Self.documented, ["stage": "canary"], endpoints) == [])
        var config = BalanceConfig()
        config.subsets = Self.documented
        // And panics on its own.
        var bench = Bench(endpoints, config)
        let query = Self.documented.query(["stage": "canary"])
        withExtendedLifetime(query) { #expect(bench.number(PickRequest(subset: query.view)) == 2) }
    }

    @Test("values of any kind are compared, lists also by their elements")
    func values() {
        let endpoints = assignment([
            endpoint(1, ["n": 1]), endpoint(2, ["n": "1"]), endpoint(3, ["n": true]), endpoint(4, ["n": [1, 2]]),
            endpoint(5, ["n": ["a": [1]]]),
        ])
        var subsets = SubsetConfig(selectors: [SubsetConfig.Selector(["n"])])
        let table: [(JSONValue, Set<Int>)] = [
            (1, [1]), ("1", [2]), (true, [3]), ([1, 2], [4]), (["a": [1]], [5]), (2, []),
        ]
        for (value, expected) in table { #expect(Self.hosts(subsets, ["n": value], endpoints) == expected) }
        subsets.listAsAny = true
        #expect(Self.hosts(subsets, ["n": 1], endpoints) == [1, 4])
        #expect(Self.hosts(subsets, ["n": 2], endpoints) == [4])
    }

    @Test("a selector may have one host for each subset, and others are counted")
    func single() {
        let subsets = SubsetConfig(selectors: [SubsetConfig.Selector(["stage"], singleHostPerSubset: true)])
        #expect(Self.hosts(subsets, ["stage": "prod"]) == [1])
        var config = BalanceConfig()
        config.subsets = subsets
        let set = HostSet(Self.endpoints, config, now: MonotonicTime(nanoseconds: 1))
        #expect(set.singleHostDuplicates == 1)
        #expect(set.subsetCount == 3)
    }

    @Test("keys that no selector has may be allowed")
    func redundantKeys() {
        var subsets = SubsetConfig(selectors: [SubsetConfig.Selector(["stage"])])
        #expect(Self.hosts(subsets, ["stage": "canary", "team": "a"]) == [])
        subsets.allowRedundantKeys = true
        #expect(Self.hosts(subsets, ["stage": "canary", "team": "a"]) == [3])
    }

    @Test("a request's list of alternatives is tried in order")
    func fallbackList() {
        var subsets = SubsetConfig(selectors: [
            SubsetConfig.Selector(["stage"]), SubsetConfig.Selector(["stage", "v"]),
        ])
        subsets.usesFallbackList = true
        let criteria: JSONObject = [
            "stage": "dev", "fallback_list": [["v": "9"], ["v": "1.2-pre"], ["stage": "prod"]],
        ]
        #expect(Self.hosts(subsets, criteria) == [4])
        #expect(Self.hosts(subsets, ["stage": "none", "fallback_list": [["v": "9"], ["stage": "prod"]]]) == [1, 2])
        #expect(Self.hosts(subsets, ["stage": "canary", "fallback_list": []]) == [3])
    }

    @Test("locality weights count in subsets when they shall, scaled by what is in the subset")
    func localities() {
        func zone(_ name: String, _ weight: UInt32, _ numbers: ClosedRange<Int>, chosen: Int) -> LocalityEndpoints {
            LocalityEndpoints(
                locality: Locality(zone: name), weight: weight,
                endpoints: numbers.map { endpoint($0, $0 < numbers.lowerBound + chosen ? ["s": "x"] : ["s": "y"]) })
        }
        let endpoints = EndpointAssignment([zone("a", 50, 1...4, chosen: 1), zone("b", 50, 11...14, chosen: 4)])
        func share(_ aware: Bool, _ scaled: Bool) -> Double {
            var config = BalanceConfig()
            config.locality = .weighted
            var subsets = SubsetConfig(selectors: [SubsetConfig.Selector(["s"])])
            subsets.localityWeightAware = aware
            subsets.scaleLocalityWeight = scaled
            config.subsets = subsets
            var bench = Bench(endpoints, config)
            let query = subsets.query(["s": "x"])
            return withExtendedLifetime(query) {
                Double(bench.tally(8000, PickRequest(subset: query.view))[1] ?? 0) / 8000
            }
        }
        #expect(abs(share(false, false) - 0.2) < 0.01)
        #expect(abs(share(true, false) - 0.5) < 0.01)
        // Round(50 · 1/4) = 13 against 50.
        #expect(abs(share(true, true) - 13.0 / 63) < 0.01)
    }

    @Test("what is wrong in a selector is refused")
    func validation() {
        func error(_ selector: SubsetConfig.Selector) -> String? {
            var config = BalanceConfig()
            config.subsets = SubsetConfig(selectors: [selector])
            do { try config.validate() } catch { return error.description }
            return nil
        }
        #expect(error(SubsetConfig.Selector(["a"])) == nil)
        #expect(error(SubsetConfig.Selector([])) == "subset_selectors: keys must not be empty")
        #expect(
            error(SubsetConfig.Selector(["a"], fallback: .keysSubset([])))?.contains("fallback_keys_subset") ?? false)
        #expect(error(SubsetConfig.Selector(["a"], fallback: .keysSubset(["a"])))?.contains("fewer") ?? false)
    }
}
