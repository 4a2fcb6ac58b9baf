import Bytes
import ClusterAPI
import TestSupport
import Testing

@testable import ServiceProxy

@Suite("Frontends that several Services claim", .ownThreads)
struct FrontendClaimsTests {
    private static let frontend = Frontend(address: nil, transport: .tcp, port: 30080)

    private static func claimant(_ name: String, _ created: Int64) -> FrontendClaims.Claimant {
        .init(created: created, key: ObjectKey(namespace: "test", name: name))
    }

    @Test("the oldest has it, by name among those of one age, in whatever order they come", arguments: 0..<30)
    func order(seed: Int) {
        var random = SplitMix64(seed: UInt64(seed))
        var claims = FrontendClaims()
        let all = (0..<6).map { Self.claimant("s\($0)", Int64.random(in: 1...3, using: &random)) }.shuffled(
            using: &random)
        for claimant in all { _ = claims.claim(Self.frontend, by: claimant) }
        let oldest = all.min()
        #expect(claims.claim(Self.frontend, by: all.min() ?? all[0]) == .owned)
        for claimant in all where claimant != oldest {
            #expect(claims.claim(Self.frontend, by: claimant) == .waits)
        }
        #expect(claims.contested == 1)
        let conflicts = claims.takeConflicts()
        // Each loser once, however often it asks.
        #expect(Set(conflicts.map(\.loser)) == Set(all.map(\.key)).subtracting([oldest?.key].compactMap { $0 }))
        #expect(claims.takeConflicts().isEmpty)
    }

    private static let http = EndpointSliceSpec.Port("", .tcp, 8080)

    private static func service(_ name: String, _ number: Int, _ created: Int64) -> ServiceSpec {
        var spec = ServiceSpec.test(name, "10.96.0.\(number)", .init("", .tcp, 80, nodePort: 30080))
        spec.externalIPs = [address("192.0.2.9")]
        spec.ingressIPs = [address("198.51.100.9")]
        spec.sourceRanges = [prefix("10.\(number).0.0/16")]
        spec.created = created
        return spec
    }

    /// Whose endpoint each frontend leads to, and which sources it admits.
    private static func owners(_ bench: ProxyBench) throws -> Set<String> {
        let state = try bench.kernelState()
        var owners: Set<String> = []
        let addresses = [address("192.0.2.9"), address("198.51.100.9")]
        for key in [ServiceElementKey.nodePort(.tcp, 30080)] + addresses.map({ .service($0, .tcp, 80) }) {
            guard case .dispatch(let dispatch)? = state[key],
                case .endpoint(let address, _)? = state[.endpoint(list: dispatch.list, slot: 0)]
            else { continue }
            owners.insert("\(address)")
        }
        for case .allowedSource(let source) in state.keys { owners.insert("\(source.sources.first)") }
        return owners
    }

    @Test(
        "an older Service that comes later takes over at once, with sources and all; when it goes, the other has it back"
    )
    func takeOver() throws {
        let bench = try ProxyBench()
        func feed(_ name: String, _ number: Int, _ created: Int64) {
            bench.proxy.set(Self.service(name, number, created))
            bench.proxy.set(.test(name, [Self.http], ["10.244.2.\(number)"]))
        }
        feed("young", 1, 200)
        try bench.proxy.sync()
        let alone = try bench.kernelState()
        #expect(bench.proxy.takeConflicts().new.isEmpty)
        #expect(try Self.owners(bench) == ["10.244.2.1", "10.1.0.0"])
        feed("old", 2, 100)
        try bench.proxy.sync()
        #expect(try Self.owners(bench) == ["10.244.2.2", "10.2.0.0"])
        let (new, contested) = bench.proxy.takeConflicts()
        #expect(contested == 3)
        #expect(new.count == 3 && new.allSatisfy { $0.owner.name == "old" && $0.loser.name == "young" })
        #expect(
            Set(new.map { "\($0.frontend)" }) == ["node port TCP 30080", "192.0.2.9 TCP 80", "198.51.100.9 TCP 80"])
        // A restart that hears of them the other way round changes nothing.
        try bench.restart()
        feed("old", 2, 100)
        feed("young", 1, 200)
        #expect(try bench.proxy.sync().elementWrites == 0)
        #expect(bench.proxy.takeConflicts().contested == 3)
        // One that waits goes, and nothing of it stays; it comes back, and the owner goes.
        bench.proxy.removeService(ObjectKey(namespace: "test", name: "young"))
        try bench.proxy.sync()
        #expect(bench.proxy.takeConflicts().contested == 0)
        feed("young", 1, 200)
        try bench.proxy.sync()
        bench.proxy.removeService(ObjectKey(namespace: "test", name: "old"))
        try bench.proxy.sync()
        #expect(try Self.owners(bench) == ["10.244.2.1", "10.1.0.0"])
        #expect(bench.proxy.takeConflicts().contested == 0)
        #expect(try bench.kernelState().count == alone.count)
        // One that no longer wants it waits no more.
        feed("old", 2, 100)
        try bench.proxy.sync()
        var modest = Self.service("young", 1, 200)
        (modest.externalIPs, modest.ingressIPs, modest.ports[0].nodePort) = ([], [], 0)
        bench.proxy.set(modest)
        try bench.proxy.sync()
        #expect(bench.proxy.takeConflicts().contested == 0)
    }
}
