import Testing

@testable import Proxy

@Suite("Configuration of balancing")
struct BalanceConfigTests {
    @Test(
        "what Envoy refuses is refused",
        arguments: [
            (
                .ringHash(RingHash(minimumSize: 10, maximumSize: 5)),
                "minimum_ring_size (10) is above maximum_ring_size (5)"
            ),
            (.maglev(Maglev(tableSize: 65536)), "maglev table_size must be a prime number, and 65536 is none"),
            (.maglev(Maglev(tableSize: 5_000_081)), "maglev table_size 5000081 is above 5000011"),
            (.maglev(Maglev(balanceFactor: 99)), "hash_balance_factor must be at least 100, and is 99"),
            (.leastRequest(LeastRequest(choices: 1)), "least_request choice_count must be at least 2"),
            (
                .roundRobin(SlowStart(window: .seconds(1), aggression: 0)),
                "slow_start_config aggression must be above 0"
            ),
        ] as [(BalancePolicy, String)])
    func refused(policy: BalancePolicy, words: String) {
        #expect(throws: BalanceConfigError(words)) { try BalanceConfig(policy).validate() }
    }

    @Test("defaults and the largest values are accepted")
    func accepted() throws {
        for policy in [
            .roundRobin(nil), .leastRequest(LeastRequest()), .random, .ringHash(RingHash()), .maglev(Maglev()),
            .maglev(Maglev(tableSize: 5_000_011, balanceFactor: 100)), .originalDestination,
        ] as [BalancePolicy] {
            try BalanceConfig(policy).validate()
        }
    }

    @Test("policies are known by their messages' names, and others refused by theirs")
    func names() throws {
        #expect(try BalancePolicyName(message: "envoy.extensions.load_balancing_policies.maglev.v3.Maglev") == .maglev)
        let refused =
            "envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin"
        let error = #expect(throws: BalanceConfigError.self) { try BalancePolicyName(message: refused) }
        #expect(error?.description.hasPrefix("load balancing policy \(refused) is not supported") ?? false)
    }
}
