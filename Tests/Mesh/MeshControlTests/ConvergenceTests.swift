import Bytes
import Testing

@testable import Discovery
@testable import MeshControl
@testable import XDS

/// Our client against our server, without a network: whatever is published, asked for, lost and refused, both end up with the
/// same.
@Suite("Client and server of the discovery protocol")
struct ConvergenceTests {
    @Test("they agree in the end", arguments: 1...60 as ClosedRange<UInt64>)
    func agree(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let form: DiscoveryForm = seed.isMultiple(of: 2) ? .delta : .stateOfTheWorld
        var node = try #require(Message("envoy.config.core.v3.Node"))
        node.set("id", .string("proxy"))
        var client = DiscoveryClient(form, node: node)
        let tables = NameTables()
        let scopes = [ServedScope("own"), ServedScope("mesh")]
        var session = DiscoverySession(form, only: nil, tables: tables, identifier: "test")
        var model: [[String: String]] = [[:], [:]]
        var wanted: Set<String> = []
        var clock: UInt64 = 0
        client.subscribeToAll(.cluster, fetchTime: 0, now: 0)
        client.opened()

        func exchange(rounds: Int) throws {
            for _ in 0..<rounds {
                var idle = true
                while let request = client.nextRequest() {
                    idle = false
                    try session.receive(request) { _ in ServedView(scopes) }
                }
                while let response = session.next() {
                    idle = false
                    if let delivery = try client.received(response) {
                        client.settle(delivery, refusing: [], now: clock, at: Timestamp.now())
                    }
                    while let request = client.nextRequest() {
                        try session.receive(request) { _ in ServedView(scopes) }
                    }
                }
                if idle { return }
            }
        }

        func publish(_ kind: ResourceKind, _ name: String, _ text: String?, scope: Int) throws {
            let id = tables[kind].add(name)
            let bytes: [UInt8]? = try text.map { text in
                var message = try #require(Message(kind.rawValue))
                message.set(kind == .cluster ? "name" : "cluster_name", .string(name))
                if kind == .cluster { message.set("alt_stat_name", .string(text)) }
                return message.binary()
            }
            if scopes[scope].set(kind, id, bytes.map { ServedResource(kind, name, $0) }) {
                session.note(kind, id, in: scopes[scope])
            }
        }

        for step in 0..<120 {
            clock += 1_000_000
            let name = "c\(random.next() % 12)"
            switch random.next() % 8 {
            case 0, 1, 2:
                let scope = Int(random.next() % 2)
                model[scope][name] = "v\(step)"
                try publish(.cluster, name, "v\(step)", scope: scope)
            case 3:
                let scope = Int(random.next() % 2)
                model[scope][name] = nil
                try publish(.cluster, name, nil, scope: scope)
            case 4:
                if wanted.insert(name).inserted {
                    _ = client.subscribe(.clusterLoadAssignment, name, fetchTime: 0, now: clock)
                }
            case 5:
                if wanted.remove(name) != nil { client.unsubscribe(.clusterLoadAssignment, name) }
            case 6:
                try publish(.clusterLoadAssignment, name, random.next() % 3 == 0 ? nil : "e", scope: 1)
            default:
                // The stream is lost with whatever was under way, and another begins.
                client.closed(now: clock, &random)
                session = DiscoverySession(form, only: nil, tables: tables, identifier: "test")
                client.opened()
            }
            try exchange(rounds: Int(random.next() % 3))
        }
        try exchange(rounds: 1000)
        let expected = model[1].merging(model[0]) { $1 }
        let held = try Dictionary(
            uniqueKeysWithValues: client.held.all(.cluster).map { resource in
                (resource.name, try resource.node().string("alt_stat_name"))
            })
        #expect(held == expected)
        let endpoints = Set(client.held.all(.clusterLoadAssignment).map(\.name))
        let published = Set(
            (scopes[1].resources[.clusterLoadAssignment] ?? [:]).values.map(\.name))
        if form == .delta { #expect(endpoints == published.intersection(wanted)) }
        #expect(published.intersection(wanted).isSubset(of: endpoints))
    }
}
