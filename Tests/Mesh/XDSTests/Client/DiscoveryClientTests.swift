import Bytes
import JSON
import Testing

@testable import XDS

/// What a client asks for, and how it answers, without any stream.
@Suite("The xDS client") struct DiscoveryClientTests {
    @Test("all of a kind is asked for by naming nothing, and accepted with version and nonce")
    func wildcard() throws {
        var bench = ClientBench(.stateOfTheWorld)
        bench.client.subscribeToAll(.cluster, fetchTime: 0, now: 0)
        bench.open()
        #expect(try bench.requests() == [.init(.cluster)])
        try bench.answer(.cluster, "v1", "n1", [ClientBench.cluster("a"), ClientBench.cluster("b")])
        #expect(bench.delivered?.added.map(\.name) == ["a", "b"])
        #expect(try bench.requests() == [.init(.cluster, nonce: "n1", version: "v1")])
        try bench.answer(.cluster, "v2", "n2", [ClientBench.cluster("b"), ClientBench.cluster("c")])
        #expect(bench.delivered?.removed == ["a"])
        #expect(bench.delivered?.unchanged == 1)
        #expect(try bench.requests() == [.init(.cluster, nonce: "n2", version: "v2")])
    }

    @Test("what is refused is named, what stands beside it is held, and the version stays")
    func partly() throws {
        var bench = ClientBench(.stateOfTheWorld)
        bench.client.subscribeToAll(.cluster, fetchTime: 0, now: 0)
        bench.open()
        try bench.answer(.cluster, "v1", "n1", [ClientBench.cluster("a")])
        _ = try bench.requests()
        try bench.answer(
            .cluster, "v2", "n2", [ClientBench.cluster("a", timeout: 9), ClientBench.cluster("b")],
            refusing: [ResourceRefusal("a", "no such thing")])
        let nack = try bench.requests()
        #expect(nack.first?.error == "Error adding/updating cluster(s) a: no such thing")
        #expect(nack.first?.nonce == "n2" && nack.first?.version == "v1")
        #expect(bench.client.held.all(.cluster).map(\.name) == ["a", "b"])
        let statuses = bench.client.statuses(.cluster)
        #expect(statuses.map(\.client) == [.refused, .accepted])
        #expect(statuses[0].failure?.version == "v2" && statuses[0].resource?.version == "v1")
        // The same again is refused again: what is held is not what was refused.
        try bench.answer(.cluster, "v3", "n3", [ClientBench.cluster("a", timeout: 9), ClientBench.cluster("b")])
        #expect(bench.delivered?.updated.map(\.name) == ["a"] && bench.delivered?.unchanged == 1)
        #expect(bench.client.statuses(.cluster).map(\.client) == [.accepted, .accepted])
    }

    @Test("a resource that cannot be read is refused, and is not taken for gone")
    func unreadable() throws {
        var bench = ClientBench(.stateOfTheWorld)
        bench.client.subscribeToAll(.cluster, fetchTime: 0, now: 0)
        bench.open()
        try bench.answer(.cluster, "v1", "n1", [ClientBench.cluster("a"), ClientBench.cluster("b")])
        _ = try bench.requests()
        // A name, and a field that is cut off.
        try bench.answer(.cluster, "v2", "n2", raw: [[0x0a, 1, 0x61, 0x22, 5, 1]])
        #expect(bench.delivered?.removed == ["b"])
        #expect(
            try bench.requests().first?.error.hasPrefix("Error adding/updating cluster(s) a: cds: resources[0]") == true
        )
        #expect(bench.client.held.all(.cluster).map(\.name) == ["a"])
        // Where not even the name can be read, nothing is gone.
        try bench.answer(.cluster, "v3", "n3", raw: [[0xff]])
        #expect(bench.delivered?.removed == [])
    }

    @Test("names are asked for together, and a change of them says the newest nonce")
    func names() throws {
        var bench = ClientBench(.stateOfTheWorld)
        bench.want(.clusterLoadAssignment, "b", "a")
        bench.open()
        #expect(try bench.requests() == [.init(.clusterLoadAssignment, names: ["a", "b"])])
        try bench.answer(.clusterLoadAssignment, "e1", "n1", [ClientBench.endpoints("a")])
        bench.want(.clusterLoadAssignment, "c")
        let both = try bench.requests()
        #expect(both == [.init(.clusterLoadAssignment, nonce: "n1", version: "e1", names: ["a", "b", "c"])])
        bench.client.unsubscribe(.clusterLoadAssignment, "a")
        bench.client.unsubscribe(.clusterLoadAssignment, "b")
        #expect(try bench.requests() == [.init(.clusterLoadAssignment, nonce: "n1", version: "e1", names: ["c"])])
        #expect(bench.client.held[.clusterLoadAssignment, "a"] == nil)
        // Wanted twice, given up once.
        bench.want(.clusterLoadAssignment, "c")
        bench.client.unsubscribe(.clusterLoadAssignment, "c")
        #expect(try bench.requests() == [])
        bench.client.unsubscribe(.clusterLoadAssignment, "c")
        #expect(try bench.requests() == [.init(.clusterLoadAssignment, nonce: "n1", version: "e1")])
    }

    @Test("while a response is taken over nothing is asked, and then all at once")
    func together() throws {
        var bench = ClientBench(.stateOfTheWorld)
        bench.client.subscribeToAll(.cluster, fetchTime: 0, now: 0)
        bench.open()
        _ = try bench.requests()
        let delivery = try bench.receive(.cluster, "v1", "n1", [ClientBench.cluster("a"), ClientBench.cluster("b")])
        bench.want(.clusterLoadAssignment, "a")
        #expect(try bench.requests() == [])
        bench.want(.clusterLoadAssignment, "b")
        bench.client.settle(try #require(delivery), refusing: [], now: 0, at: .epoch)
        #expect(
            try bench.requests() == [
                .init(.cluster, nonce: "n1", version: "v1"), .init(.clusterLoadAssignment, names: ["a", "b"]),
            ])
    }

    @Test("another stream begins with the versions in hand, no nonce, and the node")
    func again() throws {
        var bench = ClientBench(.stateOfTheWorld)
        bench.client.subscribeToAll(.cluster, fetchTime: 0, now: 0)
        bench.open()
        try bench.answer(.cluster, "v1", "n1", [ClientBench.cluster("a")])
        let first = try bench.requests()
        #expect(first.map(\.hasNode) == [true])
        bench.close()
        #expect(try bench.requests() == [])
        bench.open()
        let again = try bench.requests()
        #expect(again == [.init(.cluster, version: "v1")] && again.map(\.hasNode) == [true])
    }

    @Test("a response that is settled after its stream's end is held, and not answered")
    func late() throws {
        var bench = ClientBench(.delta)
        bench.client.subscribeToAll(.cluster, fetchTime: 0, now: 0)
        bench.open()
        _ = try bench.requests()
        let delivery = try #require(try bench.receive(.cluster, "v1", "n1", [ClientBench.cluster("a")]))
        bench.close()
        bench.open()
        bench.client.settle(delivery, refusing: [], now: 0, at: .epoch)
        #expect(try bench.requests() == [.init(.cluster, held: ["a": "v1"])])
    }

    @Test("delta: interest is told by what changes, answers carry a nonce, a new stream says what is held")
    func delta() throws {
        var bench = ClientBench(.delta)
        bench.want(.clusterLoadAssignment, "a", "b")
        bench.open()
        #expect(try bench.requests() == [.init(.clusterLoadAssignment, names: ["a", "b"])])
        try bench.answer(.clusterLoadAssignment, "1", "n1", [ClientBench.endpoints("a")], removed: ["b", "nobody"])
        #expect(bench.absent == ["b"])
        #expect(bench.client.statuses(.clusterLoadAssignment).map(\.client) == [.accepted, .absent])
        #expect(try bench.requests() == [.init(.clusterLoadAssignment, nonce: "n1")])
        bench.want(.clusterLoadAssignment, "c")
        bench.client.unsubscribe(.clusterLoadAssignment, "b")
        #expect(try bench.requests() == [.init(.clusterLoadAssignment, names: ["c"], dropped: ["b"])])
        // Given up and wanted again in between: it may be another by now.
        bench.client.unsubscribe(.clusterLoadAssignment, "a")
        bench.want(.clusterLoadAssignment, "a")
        #expect(try bench.requests() == [.init(.clusterLoadAssignment, names: ["a"])])
        try bench.answer(.clusterLoadAssignment, "2", "n2", [ClientBench.endpoints("a"), ClientBench.endpoints("c")])
        _ = try bench.requests()
        bench.close()
        bench.open()
        #expect(
            try bench.requests() == [.init(.clusterLoadAssignment, names: ["a", "c"], held: ["a": "2", "c": "2"])])
    }

    @Test("delta: a name besides all says that all are wanted still")
    func wildcardAndName() throws {
        var bench = ClientBench(.delta)
        bench.client.subscribeToAll(.cluster, fetchTime: 0, now: 0)
        bench.open()
        #expect(try bench.requests() == [.init(.cluster)])
        bench.want(.cluster, "x")
        #expect(try bench.requests() == [.init(.cluster, names: ["*", "x"])])
        bench.client.unsubscribe(.cluster, "x")
        #expect(try bench.requests() == [.init(.cluster, dropped: ["x"])])
    }

    @Test("what was not heard of in time is given up, and taken when it comes")
    func timeouts() throws {
        var bench = ClientBench(.stateOfTheWorld)
        bench.client.subscribeToAll(.cluster, fetchTime: 50, now: 0)
        _ = bench.client.subscribe(.clusterLoadAssignment, "a", fetchTime: 100, now: 0)
        _ = bench.client.subscribe(.clusterLoadAssignment, "b", fetchTime: 0, now: 0)
        bench.open()
        #expect(bench.client.deadline == 50)
        #expect(bench.advance(to: 49) == [])
        #expect(bench.advance(to: 50) == ["timedOutAll cds"])
        #expect(bench.client.isKnown(.cluster))
        #expect(bench.advance(to: 100) == ["timedOut eds a"])
        #expect(bench.client.statuses(.clusterLoadAssignment).map(\.client) == [.timedOut, .requested])
        #expect(bench.client.isGivenUp(.clusterLoadAssignment, "a"))
        #expect(bench.client.deadline == .max)
        _ = try bench.requests()
        try bench.answer(.clusterLoadAssignment, "1", "n", [ClientBench.endpoints("a")])
        #expect(bench.client.statuses(.clusterLoadAssignment).map(\.client) == [.accepted, .requested])
    }

    @Test(
        "a resource lives as long as it is said to, heartbeats renew it",
        arguments: [DiscoveryForm.delta, .stateOfTheWorld])
    func lifetimes(form: DiscoveryForm) throws {
        var bench = ClientBench(form)
        bench.client.subscribeToAll(.cluster, fetchTime: 0, now: 0)
        bench.open()
        _ = try bench.requests()
        try bench.answer(.cluster, "1", "n1", [ClientBench.cluster("a")], ttl: "2s")
        #expect(bench.client.deadline == 2_000_000_000)
        bench.now = 1_000_000_000
        try bench.heartbeat(.cluster, "1", "n2", "a", ttl: "2s")
        #expect(bench.delivered?.isEmpty == true)
        #expect(bench.client.held[.cluster, "a"] != nil)
        #expect(bench.advance(to: 2_999_999_999) == [])
        #expect(bench.advance(to: 3_000_000_000) == ["expired cds a"])
        #expect(bench.client.held[.cluster, "a"] == nil)
    }

    @Test("tries are further and further apart, up to a bound, until a response comes")
    func backOff() throws {
        var bench = ClientBench(.stateOfTheWorld)
        bench.client.subscribeToAll(.cluster, fetchTime: 0, now: 0)
        var longest: [UInt64] = []
        for attempt in 0..<10 {
            #expect(bench.advance(to: bench.client.deadline) == ["connect"])
            longest.append(min(500_000_000 << UInt64(attempt), 30_000_000_000))
            bench.now += 1
            bench.client.closed(now: bench.now, &bench.random)
            #expect(bench.client.deadline < bench.now + longest[attempt])
            bench.now = bench.client.deadline
        }
        #expect(bench.client.counters(of: .cluster)?.failures == 10)
        _ = bench.client.advance(to: bench.now)
        bench.client.opened()
        try bench.answer(.cluster, "1", "n", [])
        bench.client.closed(now: bench.now, &bench.random)
        #expect(bench.client.deadline < bench.now + 500_000_000)
    }
}
