import Bytes
import JSON
import Testing

@testable import XDS

@Suite("What a client remembers") struct DiscoveryMemoryTests {
    /// A client that holds all clusters, one more by its name, and a secret.
    private func bench() throws -> ClientBench {
        var bench = ClientBench(.delta)
        bench.client.subscribeToAll(.cluster, fetchTime: 0, now: 0)
        bench.want(.cluster, "named")
        bench.want(.secret, "secret")
        bench.open()
        _ = try bench.requests()
        try bench.answer(
            .cluster, "1", "n1",
            [ClientBench.cluster("a"), ClientBench.cluster("b"), ClientBench.cluster("named")])
        _ = try bench.requests()
        return bench
    }

    private func written(_ owner: String = "me") throws -> [UInt8] {
        try #require(try bench().client.memory.encoded(owner))
    }

    @Test(
        "a client that recalls it has it at once, says its versions, and gives up what nobody asks for by name any more"
    )
    func recalled() throws {
        let memory = try DiscoveryMemory(try written(), owner: "me")
        #expect(memory.named(.cluster) == ["named"] && memory.problems == [])
        for wantsNamed in [true, false] {
            var bench = ClientBench(.delta)
            bench.client.subscribeToAll(.cluster, fetchTime: 0, now: 0)
            bench.client.recall(memory)
            #expect(bench.client.recalledOfAll(.cluster).map(\.name) == ["a", "b"])
            if wantsNamed {
                #expect(bench.client.subscribe(.cluster, "named", fetchTime: 5, now: 0)?.name == "named")
                // It is not waited for.
                #expect(bench.client.advance(to: 6).count == 1)
                bench.client.opened()
            } else {
                bench.open()
            }
            let held = try #require(try bench.requests().first?.held)
            #expect(held.keys.sorted() == (wantsNamed ? ["a", "b", "named"] : ["a", "b"]))
            #expect(held["a"] == "1")
            // Streams that end without a word change nothing.
            #expect(bench.client.held[.cluster, "named"] != nil)
            try bench.answer(.cluster, "2", "n2", [ClientBench.cluster("c")])
            #expect((bench.client.held[.cluster, "named"] != nil) == wantsNamed)
        }
    }

    @Test("what came from a control plane is not overlaid by what is remembered")
    func fresh() throws {
        let memory = try DiscoveryMemory(try written(), owner: "me")
        var bench = ClientBench(.delta)
        bench.client.subscribeToAll(.cluster, fetchTime: 0, now: 0)
        bench.open()
        _ = try bench.requests()
        try bench.answer(.cluster, "2", "n1", [ClientBench.cluster("c")])
        bench.close()
        bench.client.recall(memory)
        #expect(bench.client.held.all(.cluster).map(\.name) == ["c"])
        #expect(bench.client.recalledOfAll(.cluster).isEmpty)
    }

    @Test("a file that is cut off, or of which one bit is another, is refused; so is one of another proxy")
    func broken() throws {
        let whole = try written()
        for length in 0..<whole.count {
            #expect(throws: ConfigError.self) { try DiscoveryMemory(Array(whole[..<length]), owner: "me") }
        }
        for index in whole.indices {
            var bytes = whole
            bytes[index] ^= 1 << UInt8(index % 8)
            #expect(throws: ConfigError.self) { try DiscoveryMemory(bytes, owner: "me") }
        }
        #expect(throws: ConfigError.self) { try DiscoveryMemory(whole, owner: "you") }
    }

    @Test("secrets and what has a lifetime are not written, and no more than the limit")
    func leftOut() throws {
        var bench = try bench()
        #expect(!bench.client.memory.isEmpty)
        #expect(bench.client.memory.encoded("me")?.contains("secret".utf8) == false)
        var entries: [DiscoveryMemory.Entry] = []
        let long = ClientBench.cluster(String(repeating: "x", count: 1 << 20))
        for _ in 0..<20 {
            let resource = try Resource(.cluster, long, from: ConfigText(name: "t"), at: ConfigPath([]))
            entries.append(DiscoveryMemory.Entry(resource: resource, isNamed: false))
        }
        #expect(DiscoveryMemory(entries).encoded("me") == nil)
        _ = try bench.requests()
    }
}
