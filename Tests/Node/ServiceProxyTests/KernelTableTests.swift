import Bytes
import ClusterAPI
import Netlink
import TestSupport
import Testing

@testable import ServiceProxy

@Suite("The table in the kernel", .ownThreads)
struct KernelTableTests {
    private static let http = EndpointSliceSpec.Port("", .tcp, 8080)

    @Test("a new table is listed by nft, and holds what the Service means")
    func first() throws {
        let bench = try ProxyBench()
        bench.proxy.set(.test("cart", "10.96.0.10", .init(.init(), .tcp, 80, nodePort: 30080)))
        bench.proxy.set(.test("cart", [Self.http], ["10.244.1.5", "10.244.2.5"], local: ["10.244.1.5"]))
        let report = try bench.proxy.sync()
        // Service, node port, two endpoints, cluster IP, one hairpin.
        #expect(report.elementWrites == 6)
        let text = try bench.run("nft list ruleset")
        for line in ["10.96.0.10 . tcp . 80 :", "tcp . 30080 :", "10.244.1.5 . 8080", "10.244.1.5 . 10.244.1.5"] {
            #expect(text.contains(line), "\(line) in \(text)")
        }
        #expect(try bench.run("nft -j list ruleset").contains("lb-64"))
    }

    @Test("each change costs what it changes, in element operations")
    func cost() throws {
        let bench = try ProxyBench()
        for number in 1...50 {
            bench.proxy.set(.test("s\(number)", "10.96.1.\(number)", .init("", .tcp, 80)))
            bench.proxy.set(.test("s\(number)", [Self.http], (1...10).map { "10.244.\(number + 1).\($0)" }))
        }
        #expect(try bench.proxy.sync().elementWrites == 50 * (1 + 10 + 1))
        #expect(try bench.proxy.sync().elementWrites == 0)
        func endpoints(_ numbers: [Int]) -> EndpointSliceSpec {
            .test("s7", [Self.http], numbers.map { "10.244.8.\($0)" })
        }
        // One endpoint more: a slot, and the service's element with its new class.
        bench.proxy.set(endpoints(Array(1...11)))
        #expect(try bench.proxy.sync().elementWrites == 1 + 2)
        // One less, from the middle: the last moves into its slot.
        bench.proxy.set(endpoints([1, 2, 3, 5, 6, 7, 8, 9, 10, 11]))
        #expect(try bench.proxy.sync().elementWrites == 2 + 1 + 2)
        // One exchanged for another: its slot.
        bench.proxy.set(endpoints([1, 2, 3, 5, 6, 7, 8, 9, 10, 12]))
        #expect(try bench.proxy.sync().elementWrites == 2)
        // The same said again.
        bench.proxy.set(endpoints([1, 2, 3, 5, 6, 7, 8, 9, 10, 12]))
        #expect(try bench.proxy.sync().elementWrites == 0)
        // A Service gone: its element, its endpoints, its cluster IP.
        bench.proxy.removeService(ObjectKey(namespace: "test", name: "s9"))
        #expect(try bench.proxy.sync().elementWrites == 1 + 10 + 1)
        // Three more addresses for one port share its endpoints.
        var wider = ServiceSpec.test("s3", "10.96.1.3", .init("", .tcp, 80, nodePort: 30003))
        wider.externalIPs = [address("192.0.2.1"), address("192.0.2.2")]
        bench.proxy.set(wider)
        #expect(try bench.proxy.sync().elementWrites == 3)
    }

    @Test("a restart finds the table, adopts it, and writes nothing; then only what changed meanwhile")
    func restart() throws {
        let bench = try ProxyBench()
        var random = SplitMix64(seed: 1)
        let model = RandomCluster(&random, services: 30, isRich: true)
        model.feed(bench.proxy)
        #expect(try bench.proxy.sync().elementWrites > 100)
        let before = try bench.nftables.rules(in: NFTableName(.ip, "weft-services")).map(\.handle)
        try bench.restart()
        model.feed(bench.proxy)
        #expect(try bench.proxy.sync().elementWrites == 0)
        #expect(try bench.nftables.rules(in: NFTableName(.ip, "weft-services")).map(\.handle) == before)
        try bench.restart()
        model.feed(bench.proxy)
        bench.proxy.set(.test("late", "10.96.200.200", .init("", .tcp, 80)))
        // A Service without endpoints: rejected, and its cluster IP.
        #expect(try bench.proxy.sync().elementWrites == 2)
        try bench.restart()
        model.feed(bench.proxy)
        #expect(try bench.proxy.sync().elementWrites == 2)
    }

    @Test("a different configuration exchanges the rules in place and keeps every element")
    func reshape() throws {
        let bench = try ProxyBench()
        var random = SplitMix64(seed: 2)
        let model = RandomCluster(&random, services: 20, isRich: true)
        model.feed(bench.proxy)
        try bench.proxy.sync()
        let elements = try bench.elements(.endpoints)
        var other = bench.configuration
        other.masqueradeMark = 0x8000
        try bench.restart(other)
        #expect(try bench.elements(.endpoints) == elements)
        model.feed(bench.proxy)
        #expect(try bench.proxy.sync().elementWrites == 0)
        #expect(try bench.run("nft list ruleset").contains("0x00008000"))
    }

    @Test("a table of that name that is not ours in shape is replaced as a whole")
    func foreignShape() throws {
        let namespace = try NamespaceHandle.create()
        try ProxyBench.run(
            "nft -f -", input: "table ip weft-services { set services { type mark; }; chain x { accept; }; }",
            in: namespace)
        let bench = try ProxyBench(in: namespace)
        bench.proxy.set(.test("cart", "10.96.0.10", .init("", .tcp, 80)))
        #expect(try bench.proxy.sync().elementWrites == 2)
        #expect(!(try bench.run("nft list ruleset").contains("chain x")))
    }

    @Test("others cannot change the table while we live; a flush passes it by, and nothing outside of it is touched")
    func protected() throws {
        let bench = try ProxyBench()
        bench.proxy.set(.test("cart", "10.96.0.10", .init("", .tcp, 80)))
        try bench.proxy.sync()
        try bench.run("nft add table ip other")
        #expect(throws: ProxyBench.Failure.self) { try bench.run("nft delete table ip weft-services") }
        try bench.run("nft flush ruleset")
        #expect(try bench.kernelState().count == 2)
        #expect(try bench.nftables.tables().map(\.id.name).contains("other") == false)
        try bench.run("nft add table ip other")
        try bench.proxy.removeTables()
        #expect(try bench.nftables.tables().map(\.id.name) == ["other"])
    }

    @Test("without ownership a foreign flush is repaired whole by the next sync")
    func repair() throws {
        var configuration = ServiceProxyConfiguration.testing
        configuration.ownsTable = false
        let bench = try ProxyBench(configuration)
        var random = SplitMix64(seed: 3)
        RandomCluster(&random, services: 20).feed(bench.proxy)
        try bench.proxy.sync()
        let state = try bench.kernelState()
        try bench.run("nft flush ruleset")
        bench.proxy.distrust()
        #expect(try bench.proxy.sync().elementWrites >= state.count)
        #expect(try bench.kernelState() == state)
        // A part of it, behind our back: found when the change does not fit, and repaired with it.
        try bench.run("nft flush map ip weft-services endpoints")
        bench.proxy.removeService(ObjectKey(namespace: "test", name: "r3"))
        bench.proxy.set(.test("new", "10.96.200.201", .init("", .tcp, 80)))
        bench.proxy.distrust()
        try bench.proxy.sync()
        try bench.restart()
        #expect(try bench.kernelState().count > 10)
    }

    @Test("slots that no Service names do no harm: a start passes them by, a change that meets them takes them out")
    func foreignSlots() throws {
        var configuration = ServiceProxyConfiguration.testing
        configuration.ownsTable = false
        let bench = try ProxyBench(configuration)
        bench.proxy.set(.test("cart", "10.96.0.10", .init("", .tcp, 80)))
        bench.proxy.set(.test("cart", [Self.http], ["10.244.1.1", "10.244.1.2"]))
        try bench.proxy.sync()
        let state = try bench.kernelState()
        // A third slot of a list that has two.
        let list = try #require(
            state.keys.compactMap { if case .endpoint(let list, 0) = $0 { list } else { nil } }.first)
        var batch = NFBatch()
        let codec = ServiceElementCodec(family: .v4)
        let foreign = codec.elements(.endpoint(list: list, slot: 2), .endpoint(address("192.0.2.9"), 9))
        batch.element(.add, foreign[0], in: ServiceSet.endpoints.name(in: NFTableName(.ip, configuration.tableName)))
        try bench.nftables.commit(batch)
        try bench.restart()
        bench.proxy.set(.test("cart", "10.96.0.10", .init("", .tcp, 80)))
        bench.proxy.set(.test("cart", [Self.http], ["10.244.1.1", "10.244.1.2"]))
        #expect(try bench.proxy.sync().elementWrites == 0)
        bench.proxy.set(.test("cart", [Self.http], ["10.244.1.1", "10.244.1.2", "10.244.1.3"]))
        try bench.proxy.sync()
        #expect(try bench.kernelState()[.endpoint(list: list, slot: 2)] == .endpoint(address("10.244.1.3"), 8080))
    }

    @Test("a second proxy on the same table is refused, and says why")
    func secondOwner() throws {
        let bench = try ProxyBench()
        let error = #expect(throws: (any Error).self) {
            try ServiceProxy(bench.configuration, namespace: bench.namespace.descriptor)
        }
        #expect("\(error.map { "\($0)" } ?? "")".contains("weft-services"))
    }

    @Test("two Services that claim one node port: the first has it, and when it goes the other gets it")
    func conflict() throws {
        let bench = try ProxyBench()
        bench.proxy.set(.test("a", "10.96.0.1", .init("", .tcp, 80, nodePort: 30080)))
        bench.proxy.set(.test("a", [Self.http], ["10.244.1.1"]))
        try bench.proxy.sync()
        bench.proxy.set(.test("b", "10.96.0.2", .init("", .tcp, 80, nodePort: 30080)))
        bench.proxy.set(.test("b", [Self.http], ["10.244.1.2"]))
        try bench.proxy.sync()
        func target() throws -> IPAddress? {
            let state = try bench.kernelState()
            guard case .dispatch(let dispatch)? = state[.nodePort(.tcp, 30080)],
                case .endpoint(let address, _)? = state[.endpoint(list: dispatch.list, slot: 0)]
            else { return nil }
            return address
        }
        #expect(try target() == address("10.244.1.1"))
        bench.proxy.removeService(ObjectKey(namespace: "test", name: "a"))
        try bench.proxy.sync()
        #expect(try target() == address("10.244.1.2"))
    }

    @Test("a random history: after each step the kernel holds what a fresh plan says", arguments: 0..<6)
    func history(seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed) &* 77 &+ 5)
        let bench = try ProxyBench()
        let model = RandomCluster(&random, services: 12, isRich: seed % 2 == 1)
        model.feed(bench.proxy)
        for step in 0..<(seed % 2 == 1 ? 20 : 40) {
            for _ in 0..<Int.random(in: 1...4, using: &random) { model.change(bench.proxy, &random) }
            if step % 13 == 12 {
                try bench.restart()
                model.feed(bench.proxy)
            }
            try bench.proxy.sync()
            for family in [NFFamily.ip, .ip6] {
                let state = try bench.kernelState(family)
                let problems = model.differences(from: state, family == .ip ? .v4 : .v6, bench.configuration)
                #expect(problems.isEmpty, "seed \(seed) step \(step) \(family): \(problems)")
                // nft reads the same from the kernel: our decoder and encoder do not only agree with each other.
                let listed = try bench.listingDifferences(family == .ip ? .v4 : .v6)
                #expect(listed.isEmpty, "seed \(seed) step \(step) \(family): \(listed)")
            }
        }
        // Nothing wanted: nothing left.
        model.clear(bench.proxy)
        try bench.proxy.sync()
        #expect(try bench.kernelState().isEmpty)
        #expect(try bench.kernelState(.ip6).isEmpty)
    }

    @Test("from any state to any other: a restart onto another cluster arrives at exactly it", arguments: 0..<4)
    func anyToAny(seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed) &+ 100)
        let bench = try ProxyBench()
        for _ in 0..<4 {
            let model = RandomCluster(
                &random, services: Int.random(in: 0...40, using: &random), isRich: seed % 2 == 1)
            try bench.restart()
            model.feed(bench.proxy)
            try bench.proxy.sync()
            let problems = model.differences(from: try bench.kernelState(), .v4, bench.configuration)
            #expect(problems.isEmpty, "seed \(seed): \(problems)")
        }
    }
}
