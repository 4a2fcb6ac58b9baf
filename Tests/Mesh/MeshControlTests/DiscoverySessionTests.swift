import GRPC
import Testing
import XDS

@testable import Discovery
@testable import MeshControl

/// A stream and what it is told, with responses as messages.
private final class Conversation {
    let tables = NameTables()
    let scope = ServedScope("mesh")
    let session: DiscoverySession
    let form: DiscoveryForm

    init(_ form: DiscoveryForm) {
        self.form = form
        session = DiscoverySession(form, only: nil, tables: tables, identifier: "test")
        scope.sessions[ObjectIdentifier(session)] = session
    }

    /// Publishes clusters (or endpoints) by name and a text that tells versions apart; nil takes one away.
    func publish(_ kind: ResourceKind, _ name: String, _ text: String?) {
        let id = tables[kind].add(name)
        let resource = text.map { ServedResource(kind, name, Array($0.utf8)) }
        if scope.set(kind, id, resource) { session.note(kind, id, in: scope) }
    }

    func ask(_ request: Request) throws {
        let scope = scope
        try session.receive(request.bytes(form)) { _ in [scope] }
    }

    /// The next response: its nonce, what it has, and what it says is gone.
    func hear() -> Response? { session.next().map { Response($0, form) } }
}

/// A request as bytes, written here by the field numbers of the public API.
private struct Request {
    var kind = ResourceKind.cluster
    var node = true
    var version = ""
    var names: [String] = []
    var dropped: [String] = []
    var held: [String: String] = [:]
    var nonce = ""
    var refusal: String?

    func bytes(_ form: DiscoveryForm) -> [UInt8] {
        let isDelta = form == .delta
        var bytes: [UInt8] = []
        if node { bytes += field(isDelta ? 1 : 2, field(1, "proxy-1")) }
        if !isDelta { bytes += field(1, version) }
        for name in names { bytes += field(3, name) }
        for name in dropped { bytes += field(4, name) }
        for (name, version) in held { bytes += field(5, field(1, name) + field(2, version)) }
        bytes += field(isDelta ? 2 : 4, kind.typeURL)
        bytes += field(isDelta ? 6 : 5, nonce)
        if let refusal { bytes += field(isDelta ? 7 : 6, [8, 3] + field(2, refusal)) }
        return bytes
    }

    private func field(_ number: UInt8, _ text: String) -> [UInt8] { field(number, Array(text.utf8)) }
    private func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        bytes.isEmpty ? [] : [number << 3 | 2, UInt8(bytes.count)] + bytes
    }
}

private struct Response {
    var nonce = ""
    var version = ""
    var kind: ResourceKind?
    /// Name and contents, in the order of the response.
    var resources: [String: String] = [:]
    var removed: [String] = []

    init(_ bytes: [UInt8], _ form: DiscoveryForm) {
        for (number, value) in Self.fields(bytes) {
            switch (number, form) {
            case (1, _): version = Self.text(value)
            // An `Any` has no name, and the test's contents are no messages that would tell it.
            case (2, .stateOfTheWorld): resources[Self.text(Self.fields(value).last!.1)] = ""
            case (2, .delta):
                let parts = Self.fields(value)
                let any = Self.fields(parts.first { $0.0 == 2 }!.1)
                resources[Self.text(parts.first { $0.0 == 3 }!.1)] = Self.text(any.first { $0.0 == 2 }!.1)
            case (4, _): kind = ResourceKind(typeURL: Self.text(value))
            case (5, _): nonce = Self.text(value)
            case (6, .delta): removed.append(Self.text(value))
            default: break
            }
        }
    }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    private static func fields(_ bytes: [UInt8]) -> [(Int, [UInt8])] {
        var fields: [(Int, [UInt8])] = []
        var rest = bytes[...]
        while let tag = rest.popFirst() {
            var (length, shift) = (0, 0)
            while let byte = rest.popFirst() {
                length |= Int(byte & 0x7f) << shift
                shift += 7
                if byte < 0x80 { break }
            }
            fields.append((Int(tag >> 3), Array(rest.prefix(length))))
            rest = rest.dropFirst(length)
        }
        return fields
    }
}

@Suite("A stream of the discovery server")
struct DiscoverySessionTests {
    @Test("a delta has what changed since the last one, once it was answered")
    func delta() throws {
        let talk = Conversation(.delta)
        talk.publish(.cluster, "a", "1")
        try talk.ask(Request())
        let first = try #require(talk.hear())
        #expect(first.kind == .cluster && first.resources == ["a": "1"] && first.removed.isEmpty)
        talk.publish(.cluster, "b", "1")
        talk.publish(.cluster, "a", "2")
        talk.publish(.cluster, "b", "2")
        #expect(talk.hear() == nil, "the proxy has not answered yet")
        try talk.ask(Request(node: false, nonce: first.nonce))
        let second = try #require(talk.hear())
        #expect(second.resources == ["a": "2", "b": "2"], "what changed twice is sent once")
        talk.publish(.cluster, "a", nil)
        try talk.ask(Request(node: false, nonce: second.nonce))
        let third = try #require(talk.hear())
        #expect(third.resources.isEmpty && third.removed == ["a"])
        try talk.ask(Request(node: false, nonce: third.nonce))
        talk.publish(.cluster, "b", "2")
        #expect(talk.hear() == nil, "nothing changed")
    }

    @Test(
        "who asks for all of a kind is told once that there is nothing, and then what comes",
        arguments: [DiscoveryForm.stateOfTheWorld, .delta])
    func nothing(form: DiscoveryForm) throws {
        let talk = Conversation(form)
        try talk.ask(Request())
        let empty = try #require(talk.hear())
        #expect(empty.kind == .cluster && empty.resources.isEmpty && empty.removed.isEmpty)
        try talk.ask(Request(node: false, version: empty.version, nonce: empty.nonce))
        #expect(talk.hear() == nil)
        talk.publish(.cluster, "a", "1")
        #expect(talk.hear()?.resources.count == 1)
        // Endpoints are asked for by name, so nobody waits for all.
        try talk.ask(Request(kind: .clusterLoadAssignment, node: false))
        #expect(talk.hear() == nil)
        // Who comes back with something has been told before.
        let again = Conversation(.delta)
        again.publish(.cluster, "a", "1")
        let held = ["a": ServedResource(.cluster, "a", Array("1".utf8)).version]
        try again.ask(Request(held: held))
        #expect(again.hear() == nil)
    }

    @Test("one that is moved to another scope hears what differs, and of clusters that are gone after the rest")
    func moved() throws {
        let talk = Conversation(.delta)
        for name in ["kept", "left"] { talk.publish(.cluster, name, "1") }
        talk.publish(.listener, "in", "1")
        try talk.ask(Request())
        let clusters = try #require(talk.hear())
        try talk.ask(Request(node: false, nonce: clusters.nonce))
        try talk.ask(Request(kind: .listener, node: false))
        let listeners = try #require(talk.hear())
        try talk.ask(Request(kind: .listener, node: false, nonce: listeners.nonce))
        let other = ServedScope("other")
        for (kind, name, text) in [
            (ResourceKind.cluster, "kept", "1"), (.cluster, "new", "1"), (.listener, "in", "2"),
        ] {
            let id = talk.tables[kind].add(name)
            _ = other.set(kind, id, ServedResource(kind, name, Array(text.utf8)))
        }
        talk.session.replace(talk.scope, with: other)
        let added = try #require(talk.hear())
        #expect(added.resources == ["new": "1"] && added.removed.isEmpty)
        #expect(talk.hear() == nil, "what refers to it waits")
        try talk.ask(Request(node: false, nonce: added.nonce))
        let changed = try #require(talk.hear())
        #expect(changed.resources == ["in": "2"] && !talk.session.isSettled)
        try talk.ask(Request(kind: .listener, node: false, nonce: changed.nonce))
        #expect(talk.session.isSettled)
        talk.session.forgetReplaced()
        let gone = try #require(talk.hear())
        #expect(gone.resources.isEmpty && gone.removed == ["left"])
    }

    @Test("scopes on demand are told by name only: when asked, when they change, when they go, and not when given up")
    func onDemand() throws {
        let talk = Conversation(.delta)
        let mesh = ServedScope("big mesh")
        func publish(_ name: String, _ text: String?) -> Bool {
            let id = talk.tables[.cluster].add(name)
            guard mesh.set(.cluster, id, text.map { ServedResource(.cluster, name, Array($0.utf8)) }) else {
                return false
            }
            return talk.session.note(.cluster, id, in: mesh)
        }
        func answer(_ response: Response) throws { try talk.ask(Request(node: false, nonce: response.nonce)) }
        talk.publish(.cluster, "own", "1")
        for name in ["a", "b"] { _ = publish(name, "1") }
        let same = ServedResource(.cluster, "b", Array("1".utf8)).version
        // One that comes back, and holds what it does not ask for any more.
        try talk.session.receive(Request(names: ["*", "a"], held: ["b": same]).bytes(.delta)) { _ in
            ServedView([talk.scope], onDemand: [mesh])
        }
        let first = try #require(talk.hear())
        #expect(first.resources == ["own": "1", "a": "1"] && first.removed == ["b"])
        try answer(first)
        #expect(!publish("b", "2") && !publish("c", "1"), "nobody asked for these")
        #expect(talk.hear() == nil)
        #expect(publish("a", "2"))
        let second = try #require(talk.hear())
        #expect(second.resources == ["a": "2"])
        try answer(second)
        try talk.ask(Request(node: false, names: ["b", "none"]))
        let third = try #require(talk.hear())
        #expect(third.resources == ["b": "2"] && third.removed == ["none"])
        try answer(third)
        #expect(publish("none", "1"), "it came after all")
        let fourth = try #require(talk.hear())
        #expect(fourth.resources == ["none": "1"])
        try answer(fourth)
        try talk.ask(Request(node: false, dropped: ["b", "own"]))
        let fifth = try #require(talk.hear())
        #expect(fifth.removed == ["b"] && fifth.resources.isEmpty, "what is among all stays")
        try answer(fifth)
        #expect(!publish("b", "3") && publish("a", nil))
        #expect(talk.hear()?.removed == ["a"])
    }

    @Test("names are answered even when nobody has them, and told when they come")
    func namesOfNobody() throws {
        let talk = Conversation(.delta)
        talk.publish(.clusterLoadAssignment, "other", "1")
        try talk.ask(Request(kind: .clusterLoadAssignment, names: ["x"]))
        let first = try #require(talk.hear())
        #expect(first.removed == ["x"] && first.resources.isEmpty)
        try talk.ask(Request(kind: .clusterLoadAssignment, node: false, nonce: first.nonce))
        #expect(talk.hear() == nil)
        talk.publish(.clusterLoadAssignment, "x", "1")
        #expect(talk.hear()?.resources == ["x": "1"])
    }

    @Test("a name that is asked for again is sent again")
    func askedAgain() throws {
        let talk = Conversation(.delta)
        talk.publish(.clusterLoadAssignment, "x", "1")
        try talk.ask(Request(kind: .clusterLoadAssignment, names: ["x"]))
        let first = try #require(talk.hear())
        try talk.ask(Request(kind: .clusterLoadAssignment, node: false, nonce: first.nonce))
        try talk.ask(Request(kind: .clusterLoadAssignment, node: false, names: ["x"]))
        #expect(talk.hear()?.resources == ["x": "1"])
    }

    @Test("a proxy that comes back is sent what differs from what it holds")
    func heldVersions() throws {
        let talk = Conversation(.delta)
        for name in ["same", "changed", "new"] { talk.publish(.cluster, name, "1") }
        let same = ServedResource(.cluster, "same", Array("1".utf8)).version
        try talk.ask(Request(held: ["same": same, "changed": "0", "gone": "7"]))
        let response = try #require(talk.hear())
        #expect(response.resources == ["changed": "1", "new": "1"] && response.removed == ["gone"])
    }

    @Test("a proxy that comes back with all there is counts as one that has accepted it")
    func heldAll() throws {
        let talk = Conversation(.delta)
        talk.publish(.cluster, "same", "1")
        try talk.ask(Request(held: ["same": ServedResource(.cluster, "same", Array("1".utf8)).version]))
        #expect(talk.hear() == nil)
        #expect(StreamStatus(talk.session)?.accepted[.cluster]?.isEmpty == false)
    }

    @Test("a name that is dropped while all are subscribed is told whether it stays")
    func droppedUnderWildcard() throws {
        let talk = Conversation(.delta)
        talk.publish(.cluster, "a", "1")
        try talk.ask(Request(names: ["*", "a", "b"]))
        let first = try #require(talk.hear())
        try talk.ask(Request(node: false, dropped: ["a", "b", "never"], nonce: first.nonce))
        let second = try #require(talk.hear())
        #expect(second.resources == ["a": "1"] && Set(second.removed) == ["b", "never"])
    }

    @Test("what is no longer wanted is not sent")
    func dropped() throws {
        let talk = Conversation(.delta)
        talk.publish(.clusterLoadAssignment, "a", "1")
        try talk.ask(Request(kind: .clusterLoadAssignment, names: ["a"]))
        let first = try #require(talk.hear())
        try talk.ask(Request(kind: .clusterLoadAssignment, node: false, dropped: ["a"], nonce: first.nonce))
        talk.publish(.clusterLoadAssignment, "a", "2")
        #expect(talk.hear() == nil)
    }

    @Test("a refused response is not sent again before something changes, and the reason is kept")
    func refused() throws {
        let talk = Conversation(.stateOfTheWorld)
        talk.publish(.cluster, "a", "bad")
        try talk.ask(Request())
        let first = try #require(talk.hear())
        try talk.ask(Request(node: false, nonce: first.nonce, refusal: "no such filter"))
        #expect(talk.hear() == nil)
        #expect(talk.session.kinds[.cluster]?.refusal == "no such filter")
        #expect(talk.session.kinds[.cluster]?.acceptedVersion == "")
        talk.publish(.cluster, "a", "good")
        let second = try #require(talk.hear())
        try talk.ask(Request(node: false, version: second.version, nonce: second.nonce))
        #expect(talk.session.kinds[.cluster]?.refusal == nil)
        #expect(talk.session.kinds[.cluster]?.acceptedVersion == second.version)
    }

    @Test("what is refused is known by name, whether the words name it or not, until it is taken or gone")
    func refusedNames() throws {
        let talk = Conversation(.delta)
        for name in ["one", "two"] { talk.publish(.routeConfiguration, name, "1") }
        try talk.ask(Request(kind: .routeConfiguration, names: ["one", "two"]))
        let first = try #require(talk.hear())
        func refused() throws -> [String: String] {
            try #require(StreamStatus(talk.session)).refused[.routeConfiguration] ?? [:]
        }
        try talk.ask(Request(kind: .routeConfiguration, node: false, nonce: first.nonce, refusal: "table two: no"))
        #expect(try refused() == ["two": "table two: no"])
        // Another that is taken makes this one no better.
        talk.publish(.routeConfiguration, "one", "2")
        let second = try #require(talk.hear())
        try talk.ask(Request(kind: .routeConfiguration, node: false, nonce: second.nonce))
        #expect(try refused() == ["two": "table two: no"])
        #expect(talk.session.isRefusing)
        talk.publish(.routeConfiguration, "one", "3")
        let third = try #require(talk.hear())
        try talk.ask(Request(kind: .routeConfiguration, node: false, nonce: third.nonce, refusal: "nameless"))
        #expect(try refused() == ["one": "nameless", "two": "table two: no"])
        #expect(talk.session.kinds[.routeConfiguration]?.refusal == "nameless; table two: no")
        talk.publish(.routeConfiguration, "two", "2")
        talk.publish(.routeConfiguration, "one", nil)
        let fourth = try #require(talk.hear())
        try talk.ask(Request(kind: .routeConfiguration, node: false, nonce: fourth.nonce))
        #expect(try refused().isEmpty)
        #expect(!talk.session.isRefusing)
    }

    @Test("an answer to an older response is passed over")
    func stale() throws {
        let talk = Conversation(.stateOfTheWorld)
        talk.publish(.cluster, "a", "1")
        try talk.ask(Request())
        let first = try #require(talk.hear())
        try talk.ask(Request(node: false, version: first.version, nonce: first.nonce))
        talk.publish(.cluster, "a", "2")
        let second = try #require(talk.hear())
        try talk.ask(Request(node: false, names: ["nothing"], nonce: first.nonce))
        #expect(talk.session.kinds[.cluster]?.isWildcard == true)
        talk.publish(.cluster, "a", "3")
        #expect(talk.hear() == nil, "the second response is still unanswered")
        try talk.ask(Request(node: false, version: second.version, nonce: second.nonce))
        #expect(talk.hear() != nil)
    }

    @Test("a whole state is not sent to a proxy that has it")
    func sameVersion() throws {
        let first = Conversation(.stateOfTheWorld)
        for name in ["a", "b"] { first.publish(.cluster, name, "1") }
        try first.ask(Request())
        let version = try #require(first.hear()).version
        let second = Conversation(.stateOfTheWorld)
        // Another order and another history, the same state.
        for name in ["c", "b", "a"] { second.publish(.cluster, name, "1") }
        second.publish(.cluster, "c", nil)
        try second.ask(Request(version: version))
        #expect(second.hear() == nil)
        #expect(StreamStatus(second.session)?.accepted[.cluster] == version)
        second.publish(.cluster, "a", "2")
        #expect(second.hear() != nil)
    }

    @Test("answers that repeat all names change nothing, and those that name others do")
    func repeatedNames() throws {
        let talk = Conversation(.stateOfTheWorld)
        for name in ["a", "b", "c"] { talk.publish(.clusterLoadAssignment, name, name + "1") }
        try talk.ask(Request(kind: .clusterLoadAssignment, names: ["a", "b", "late"]))
        func answer(_ names: [String], to response: Response) throws {
            try talk.ask(
                Request(
                    kind: .clusterLoadAssignment, node: false, version: response.version, names: names,
                    nonce: response.nonce))
        }
        let first = try #require(talk.hear())
        #expect(Set(first.resources.keys) == ["a1", "b1"])
        try answer(["a", "b", "late"], to: first)
        #expect(talk.hear() == nil)
        talk.publish(.clusterLoadAssignment, "late", "late1")
        talk.publish(.clusterLoadAssignment, "c", "c2")
        let second = try #require(talk.hear())
        #expect(Set(second.resources.keys) == ["late1"] && second.version != first.version)
        try answer(["a", "b", "late"], to: second)
        talk.publish(.clusterLoadAssignment, "a", "a2")
        let third = try #require(talk.hear())
        #expect(Set(third.resources.keys) == ["a2"])
        try answer(["b", "late", "c"], to: third)
        let fourth = try #require(talk.hear())
        #expect(Set(fourth.resources.keys) == ["c2"])
        try answer(["b", "late", "c"], to: fourth)
        talk.publish(.clusterLoadAssignment, "a", "a3")
        #expect(talk.hear() == nil)
        // One name must not pass for two that make the same text.
        try answer(["bl", "atec"], to: fourth)
        talk.publish(.clusterLoadAssignment, "b", "b2")
        #expect(talk.hear() == nil)
    }

    @Test("scopes share what they have in common, until one of them has something else")
    func shared() {
        var table = NameTable()
        let id = table.add("virtualInbound")
        let first = table.resource(.listener, id, [1, 2])
        #expect(table.resource(.listener, id, [1, 2]) === first)
        let other = table.resource(.listener, id, [1, 3])
        #expect(other !== first && other.version != first.version)
        #expect(table.resource(.listener, id, [1, 2]) !== other)
        let last = table.resource(.listener, id, [1, 3])
        table.forget(id)
        #expect(table.resource(.listener, id, [1, 3]) !== last)
    }

    @Test("endpoints that are asked for again without need are sent: a cluster warms up with them")
    func warming() throws {
        let talk = Conversation(.stateOfTheWorld)
        talk.publish(.clusterLoadAssignment, "a", "1")
        try talk.ask(Request(kind: .clusterLoadAssignment, names: ["a"]))
        let first = try #require(talk.hear())
        let answer = Request(
            kind: .clusterLoadAssignment, node: false, version: first.version, names: ["a"], nonce: first.nonce)
        try talk.ask(answer)
        #expect(talk.hear() == nil)
        try talk.ask(answer)
        #expect(talk.hear() != nil)
    }

    @Test(
        "the endpoints of a cluster that changed follow it unasked, of no other",
        arguments: [DiscoveryForm.delta, .stateOfTheWorld])
    func changedClusters(form: DiscoveryForm) throws {
        let talk = Conversation(form)
        func publish(_ name: String, version: String) {
            // Name, type (EDS), and something that may change: field 6 is the policy of balance.
            talk.publish(.cluster, name, "\u{a}\u{1}\(name)\u{10}\u{3}\u{30}\(version)")
        }
        for name in ["a", "b"] {
            publish(name, version: "\u{1}")
            talk.publish(.clusterLoadAssignment, name, "1")
        }
        func answer(_ response: Response, _ names: [String] = []) throws {
            try talk.ask(
                Request(
                    kind: try #require(response.kind), node: false, version: form == .delta ? "" : response.version,
                    names: form == .delta ? [] : names, nonce: response.nonce))
        }
        try talk.ask(Request())
        try answer(try #require(talk.hear()))
        try talk.ask(Request(kind: .clusterLoadAssignment, node: false, names: ["a", "b"]))
        try answer(try #require(talk.hear()), ["a", "b"])
        #expect(talk.hear() == nil)
        publish("a", version: "\u{2}")
        let clusters = try #require(talk.hear())
        #expect(clusters.kind == .cluster)
        // Before the answer, which Envoy does not give until it has them.
        let endpoints = try #require(talk.hear())
        #expect(endpoints.kind == .clusterLoadAssignment && endpoints.resources.count == 1)
        try answer(clusters)
        try answer(endpoints, ["a", "b"])
        #expect(talk.hear() == nil)
    }

    @Test("a proxy that comes back with endpoints is sent those of a cluster that changed meanwhile")
    func changedClustersAfterAll() throws {
        let before = Conversation(.delta)
        before.publish(.cluster, "a", "\u{a}\u{1}a\u{10}\u{3}")
        before.publish(.clusterLoadAssignment, "a", "1")
        let version = try #require(before.scope.resource(.clusterLoadAssignment, 0)).version
        try before.ask(Request(held: ["a": "older"]))
        #expect(before.hear()?.resources.count == 1)
        try before.ask(Request(kind: .clusterLoadAssignment, node: false, names: ["a"], held: ["a": version]))
        #expect(before.hear()?.resources == ["a": "1"])
    }

    @Test("clusters go before endpoints, endpoints before listeners, listeners before routes")
    func order() throws {
        let talk = Conversation(.delta)
        for kind in [ResourceKind.routeConfiguration, .listener, .clusterLoadAssignment, .cluster] {
            talk.publish(kind, "a", "1")
            try talk.ask(Request(kind: kind, node: kind == .routeConfiguration, names: ["a"]))
        }
        var heard: [ResourceKind?] = []
        while let response = talk.hear() {
            heard.append(response.kind)
            try talk.ask(Request(kind: try #require(response.kind), node: false, nonce: response.nonce))
        }
        #expect(heard == [.cluster, .clusterLoadAssignment, .listener, .routeConfiguration])
    }

    @Test("a route waits until the proxy has the endpoints of a new cluster, but not for ever")
    func routesWait() throws {
        let talk = Conversation(.delta)
        // Field 1 is the name, field 2 the type, of which 3 is EDS.
        let cluster = "\u{a}\u{1}a\u{10}\u{3}"
        try talk.ask(Request())
        try talk.ask(Request(node: false, nonce: try #require(talk.hear()).nonce))
        try talk.ask(Request(kind: .routeConfiguration, node: false, names: ["r"]))
        let missing = try #require(talk.hear())
        #expect(missing.removed == ["r"])
        try talk.ask(Request(kind: .routeConfiguration, node: false, nonce: missing.nonce))
        talk.publish(.routeConfiguration, "r", "1")
        talk.publish(.clusterLoadAssignment, "a", "1")
        talk.publish(.cluster, "a", cluster)
        let clusters = try #require(talk.hear())
        #expect(clusters.kind == .cluster && talk.hear() == nil)
        try talk.ask(Request(node: false, nonce: clusters.nonce))
        #expect(talk.hear() == nil, "the proxy has not yet asked for the endpoints")
        try talk.ask(Request(kind: .clusterLoadAssignment, node: false, names: ["a"]))
        let endpoints = try #require(talk.hear())
        #expect(endpoints.kind == .clusterLoadAssignment && talk.hear() == nil)
        try talk.ask(Request(kind: .clusterLoadAssignment, node: false, nonce: endpoints.nonce))
        let routes = try #require(talk.hear())
        #expect(routes.kind == .routeConfiguration)
        try talk.ask(Request(kind: .routeConfiguration, node: false, nonce: routes.nonce))
        talk.publish(.clusterLoadAssignment, "b", "1")
        talk.publish(.routeConfiguration, "r", "2")
        talk.publish(.cluster, "b", "\u{a}\u{1}b\u{10}\u{3}")
        let more = try #require(talk.hear())
        try talk.ask(Request(node: false, nonce: more.nonce))
        #expect(talk.hear() == nil && talk.session.isExpecting)
        talk.session.giveUpExpecting()
        #expect(talk.hear()?.kind == .routeConfiguration)
    }

    @Test("a long answer comes in parts, each once the last was taken")
    func parts() throws {
        let talk = Conversation(.delta)
        let text = String(repeating: "x", count: DiscoverySession.responseBytes / 4)
        for index in 0..<10 { talk.publish(.cluster, "c\(index)", text) }
        try talk.ask(Request())
        var (seen, count): ([String], Int) = ([], 0)
        while let response = talk.hear() {
            count += 1
            seen += response.resources.keys
            #expect(response.resources.count < 10)
            try talk.ask(Request(node: false, nonce: response.nonce))
        }
        #expect(count > 1 && seen.sorted() == (0..<10).map { "c\($0)" })
    }

    @Test("what is no request, or comes from nobody, ends the stream")
    func refusedStreams() {
        let talk = Conversation(.delta)
        let nobody = #expect(throws: GRPCEnding.self) { try talk.ask(Request(node: false)) }
        #expect(nobody?.code == GRPCEnding.Code.invalidArgument.rawValue)
        #expect(throws: GRPCEnding.self) { try talk.session.receive([0xff]) { _ in [] } }
    }
}
