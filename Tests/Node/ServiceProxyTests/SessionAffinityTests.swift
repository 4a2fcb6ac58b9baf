import Bytes
import ClusterAPI
import JSON
import Netlink
import TestSupport
import Testing

@testable import ServiceProxy

@Suite("Session affinity, decided")
struct SessionAffinityTests {
    static let specs: [(String, UInt32?)] = [
        (#"{"sessionAffinity": "None"}"#, nil), ("{}", nil),
        (#"{"sessionAffinity": "ClientIP"}"#, 10800),
        (#"{"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {}}}"#, 10800),
        (#"{"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}}"#, 1),
        (#"{"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86400}}}"#, 86400),
        (#"{"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 99999}}}"#, 86400),
        (#"{"sessionAffinity": "None", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}}"#, nil),
    ]

    @Test("a Service's fields become a time-out, with the API's default and bounds", arguments: specs)
    func parsing(row: (String, UInt32?)) throws {
        #expect(SessionAffinity(try JSONValue.parse(row.0))?.timeout == row.1)
    }

    private static func endpoint(_ number: Int) -> Endpoint {
        Endpoint(address: IPAddress(v4: 0x0A00_0000 + UInt32(number)), port: 80)
    }

    @Test("a member keeps its number, and a number that is free is not given to the next one", arguments: 0..<5)
    func members(seed: Int) {
        var random = SplitMix64(seed: UInt64(seed))
        var members = StickyMembers()
        var present: Set<Int> = []
        var lastUser: [UInt32: (endpoint: Endpoint, step: Int)] = [:]
        for step in 0..<300 {
            present.formSymmetricDifference((0..<3).map { _ in Int.random(in: 1...40, using: &random) })
            let before = members.numbers
            let gone = members.set(present.sorted().map(Self.endpoint))
            #expect(Set(members.numbers.keys) == Set(present.map(Self.endpoint)))
            #expect(Set(members.numbers.values).count == present.count)
            #expect(Set(gone).isDisjoint(with: members.numbers.values))
            for (endpoint, number) in members.numbers {
                if let had = before[endpoint] { #expect(had == number) }
                if let last = lastUser[number], last.endpoint != endpoint {
                    Issue.record("number \(number) came back after \(step - last.step) steps")
                }
                lastUser[number] = (endpoint, step)
            }
        }
    }

    @Test("numbers come round, and never belong to two")
    func membersWrap() {
        var members = StickyMembers()
        for round in 0..<3 * StickyMembers.limit / 100 {
            _ = members.set((0..<100).map { Self.endpoint(round * 100 + $0) })
            #expect(Set(members.numbers.values).count == 100)
            #expect(members.numbers.values.allSatisfy { (1...StickyMembers.limit).contains(Int($0)) })
        }
        let all = (0..<StickyMembers.limit).map(Self.endpoint)
        _ = members.set(all)
        #expect(members.numbers.count == StickyMembers.limit)
        // One for another while every number is in use.
        #expect(members.set(all.dropFirst() + [Self.endpoint(1_000_000)]).isEmpty)
        #expect(Set(members.numbers.values).count == StickyMembers.limit)
    }

    @Test("classes are shared, given back, and run out with an answer")
    func classes() throws {
        var classes = StickyClasses()
        let three = try #require(SlotClass(endpoints: 3))
        func sticky(_ timeout: UInt32) -> StickyClass {
            StickyClass(slots: three, affinity: SessionAffinity(timeout: timeout))
        }
        let first = classes.retain(sticky(10))
        let second = classes.retain(sticky(10))
        #expect(first == second && first?.isSticky == true)
        let kept = classes.release(sticky(10))
        let released = classes.release(sticky(10))
        #expect(kept == nil && released == first)
        let count = UInt32(SlotClass.lastSticky - SlotClass.firstSticky + 1)
        let given = (1...count).map { classes.retain(sticky($0)) }
        #expect(Set(given.compactMap { $0 }).count == Int(count))
        let tooMany = classes.retain(sticky(count + 1))
        #expect(tooMany == nil)
        let free = classes.release(sticky(7))
        let next = classes.retain(sticky(count + 1))
        #expect(next != nil && next == free)
    }
}

@Suite("Session affinity in the kernel", .ownThreads)
struct SessionAffinityTableTests {
    private static let http = EndpointSliceSpec.Port("", .tcp, 8080)

    private static func service(_ timeout: UInt32 = 10800) -> ServiceSpec {
        var spec = ServiceSpec.test("cart", "10.96.0.10", .init("", .tcp, 80, nodePort: 30080))
        spec.clusterIPs.append(address("fd00:96::10"))
        spec.affinity = SessionAffinity(timeout: timeout)
        return spec
    }

    private static func slice(_ numbers: [Int]) -> EndpointSliceSpec {
        .test("cart", [http], numbers.map { "10.244.2.\($0)" })
    }

    /// As the kernel has them: list and client, and the member.
    private static func clients(_ bench: ProxyBench) throws -> [NFElement] {
        try bench.nftables.elements(
            of: NFSetName(NFTableName(.ip, bench.configuration.tableName), "sticky-clients"))
    }

    @Test("each change costs what it changes, in element operations")
    func cost() throws {
        let bench = try ProxyBench()
        bench.proxy.set(Self.service())
        bench.proxy.set(Self.slice([1, 2, 3]))
        // IPv4: service, node port, cluster IP, a class, and for each endpoint a slot and a member. IPv6 has no endpoints:
        // service, node port, cluster IP.
        #expect(try bench.proxy.sync().elementWrites == 3 + 1 + 3 * 2 + 3)
        #expect(try bench.proxy.sync().elementWrites == 0)
        // One exchanged for another: a member for a member, and the slot's value.
        bench.proxy.set(Self.slice([1, 2, 4]))
        #expect(try bench.proxy.sync().elementWrites == 2 + 2)
        // One less: its member, the last slot, its own slot's value; another class for both frontends, and that class.
        bench.proxy.set(Self.slice([2, 4]))
        #expect(try bench.proxy.sync().elementWrites == 1 + 1 + 2 + 2 * 2 + 2)
        // Another time-out: both frontends, to a class for the one that nobody uses any more.
        bench.proxy.set(Self.service(60))
        #expect(try bench.proxy.sync().elementWrites == 2 * 2 + 2)
        // Without affinity: slots and members become plain slots.
        var plain = Self.service()
        plain.affinity = nil
        bench.proxy.set(plain)
        #expect(try bench.proxy.sync().elementWrites == 2 * 2 + 2 + 2 + 2 + 1)
        bench.proxy.removeService(plain.key)
        try bench.proxy.sync()
        #expect(try bench.kernelState().isEmpty)
        #expect(!(try bench.run("nft list chains").contains("sticky")))
    }

    @Test("a restart adopts members, slots, classes and clients; other rules around them keep them, too")
    func restart() throws {
        var configuration = ServiceProxyConfiguration.testing
        configuration.ownsTable = false
        let bench = try ProxyBench(configuration)
        func feed() {
            bench.proxy.set(Self.service())
            bench.proxy.set(Self.slice([1, 2, 3]))
        }
        feed()
        try bench.proxy.sync()
        bench.proxy.set(Self.slice([2, 3, 4]))
        try bench.proxy.sync()
        let state = try bench.kernelState()
        let members = state.keys.filter { if case .stickyMember = $0 { true } else { false } }
        #expect(members.count == 3)
        // As if a client had come.
        try bench.run("nft add element ip weft-services sticky-clients '{ 0:2000 . 192.0.2.7 timeout 1h : 0:2001 }'")
        try bench.restart()
        bench.proxy.set(Self.service())
        bench.proxy.set(Self.slice([2, 3, 4]))
        #expect(try bench.proxy.sync().elementWrites == 0)
        #expect(try bench.kernelState() == state)
        #expect(try Self.clients(bench).count == 1)
        configuration.masqueradeMark = 0x8000
        try bench.restart(configuration)
        bench.proxy.set(Self.service())
        bench.proxy.set(Self.slice([2, 3, 4]))
        #expect(try bench.proxy.sync().elementWrites == 0)
        #expect(try bench.kernelState() == state)
        #expect(try Self.clients(bench).count == 1)
    }

    @Test("a table of a version that knew no affinity keeps its elements and gets the sets that it lacks")
    func olderVersion() throws {
        var configuration = ServiceProxyConfiguration.testing
        configuration.ownsTable = false
        let bench = try ProxyBench(configuration)
        bench.proxy.set(.test("old", "10.96.0.1", .init("", .tcp, 80)))
        bench.proxy.set(.test("old", [Self.http], ["10.244.2.9"]))
        try bench.proxy.sync()
        let endpoints = try bench.elements(.endpoints)
        // What only we know is taken out as if it had never been; a set that nobody knows is put in.
        try bench.run(
            """
            nft flush chain ip weft-services services; nft delete set ip weft-services service-cidrs
            nft add set ip weft-services former '{ type mark; }'
            """)
        try bench.restart()
        #expect(try bench.elements(.endpoints) == endpoints)
        bench.proxy.set(.test("old", "10.96.0.1", .init("", .tcp, 80)))
        bench.proxy.set(.test("old", [Self.http], ["10.244.2.9"]))
        #expect(try bench.proxy.sync().elementWrites == 0)
        let text = try bench.run("nft list table ip weft-services")
        #expect(text.contains("set service-cidrs") && !text.contains("set former"))
    }

    @Test("nft prints tables with affinity, of both families and with clients, as text and as JSON")
    func listing() throws {
        var configuration = ServiceProxyConfiguration.testing
        configuration.ownsTable = false
        let bench = try ProxyBench(configuration)
        bench.proxy.set(Self.service(7))
        bench.proxy.set(Self.slice([1, 2, 3]))
        bench.proxy.set(
            EndpointSliceSpec(
                ObjectKey(namespace: "test", name: "cart-6"), of: Self.service().key, .v6, ports: [Self.http],
                endpoints: [.init(address("fd00:2::1")), .init(address("fd00:2::2"))]))
        try bench.proxy.sync()
        try bench.run(
            """
            nft add element ip weft-services sticky-clients '{ 0:2000 . 192.0.2.7 timeout 1h : 0:2001 }'
            nft add element ip6 weft-services sticky-clients '{ 0:2000 . 2001:db8::7 timeout 1h : 0:2001 }'
            """)
        let text = try bench.run("nft list ruleset")
        for line in [
            "chain sticky-3-7", "chain sticky-2-7", "0:2000 . 192.0.2.7 timeout 1h expires", "timeout 7s",
            "0:2000 . 2001:db8::7 timeout 1h expires", "goto sticky-3-7", "10.244.2.1 . 8080", "fd00:2::1 . 8080",
        ] {
            #expect(text.contains(line), "\(line) in \(text)")
        }
        #expect(try bench.run("nft -j list ruleset 2>/dev/null").contains("sticky-members"))
    }
}

@Suite("Session affinity, real packets", .serialized, .ownThreads)
struct SessionAffinityPacketTests {
    private static let here: EndpointSliceSpec.Flags = [.ready, .serving, .local]
    private static let there: EndpointSliceSpec.Flags = [.ready, .serving]
    private static let all = ["podA": "10.244.1.2", "podB": "10.244.1.3", "remote": "10.244.2.5"]
    private static let all6 = ["podA": "fd00:1::2", "podB": "fd00:1::3"]

    private static func service(_ timeout: UInt32 = 10800) -> ServiceSpec {
        var spec = ServiceSpec.test(
            "one", "10.96.0.1", .init("http", .tcp, 80, nodePort: 30001), .init("dns", .udp, 53))
        spec.clusterIPs.append(address("fd00:96::1"))
        spec.externalIPs = [address("198.51.100.1")]
        spec.affinity = SessionAffinity(timeout: timeout)
        return spec
    }

    private static func slice(_ endpoints: some Sequence<String>, _ family: IPAddress.Family = .v4) -> EndpointSliceSpec
    {
        EndpointSliceSpec(
            ObjectKey(namespace: "test", name: "one-\(family)"), of: service().key, family,
            ports: [.init("http", .tcp, 8080), .init("dns", .udp, 8053)],
            endpoints: endpoints.map { .init(address($0), $0 == "10.244.2.5" ? there : here) })
    }

    /// Which endpoints answered.
    private static func endpoints(_ lab: PacketLab, _ place: PacketLab.Place, _ target: String, _ tries: Int = 12)
        throws
        -> Set<String>
    {
        Set(try lab.ask(place, Array(repeating: target, count: tries)).map { String($0.prefix { $0 != " " }) })
    }

    private static func one(_ lab: PacketLab, _ place: PacketLab.Place, _ target: String) throws -> String {
        let seen = try endpoints(lab, place, target)
        guard seen.count == 1, let name = seen.first, all[name] != nil else {
            throw ProxyBench.Failure(description: "\(place) to \(target) reached \(seen)")
        }
        return name
    }

    private static func clients(_ lab: PacketLab) throws -> [NFElement] {
        try lab.bench.nftables.elements(
            of: NFSetName(NFTableName(.ip, lab.bench.configuration.tableName), "sticky-clients"))
    }

    @Test(
        "a client keeps its endpoint, by whichever address; loses it with the endpoint at once; and keeps the next one")
    func sticks() throws {
        let lab = try PacketLab()
        lab.bench.proxy.set(Self.service())
        lab.bench.proxy.set(Self.slice(Self.all.values))
        lab.bench.proxy.set(Self.slice(Self.all6.values, .v6))
        try lab.bench.proxy.sync()
        for place in [PacketLab.Place.podB, .external, .node] {
            #expect(Self.all[try Self.one(lab, place, "tcp 10.96.0.1 80")] != nil)
        }
        let kept = try Self.one(lab, .external, "tcp 10.96.0.1 80")
        // The same port by other addresses; another port is another matter, but sticks as well.
        #expect(try Self.one(lab, .external, "tcp 198.51.100.1 80") == kept)
        #expect(try Self.one(lab, .external, "tcp 203.0.113.1 30001") == kept)
        _ = try Self.one(lab, .podB, "udp 10.96.0.1 53")
        _ = try Self.one(lab, .external, "tcp fd00:96::1 80")

        // A restart, and a client goes on as if nothing had been.
        try lab.bench.restart()
        lab.bench.proxy.set(Self.service())
        lab.bench.proxy.set(Self.slice(Self.all.values))
        lab.bench.proxy.set(Self.slice(Self.all6.values, .v6))
        #expect(try lab.bench.proxy.sync().elementWrites == 0)
        #expect(try Self.one(lab, .external, "tcp 10.96.0.1 80") == kept)

        // Its endpoint goes: the next connection has another, and keeps it when the first one is back.
        lab.bench.proxy.set(Self.slice(Self.all.filter { $0.key != kept }.values))
        try lab.bench.proxy.sync()
        let next = try Self.one(lab, .external, "tcp 10.96.0.1 80")
        #expect(next != kept)
        lab.bench.proxy.set(Self.slice(Self.all.values))
        try lab.bench.proxy.sync()
        #expect(try Self.one(lab, .external, "tcp 10.96.0.1 80") == next)
        let text = try lab.bench.run("nft list ruleset; nft -j list ruleset 2>/dev/null")
        #expect(text.contains("203.0.113.2 timeout 3h expires"))
    }

    @Test("each new connection begins the time-out anew, and a client that stays away is forgotten")
    func timeout() async throws {
        let lab = try PacketLab()
        lab.bench.proxy.set(Self.service(3))
        lab.bench.proxy.set(Self.slice(Self.all.values))
        try lab.bench.proxy.sync()
        let target = "tcp 10.96.0.1 80"
        func left() throws -> UInt64 { try Self.clients(lab).compactMap(\.expiration).max() ?? 0 }
        // Nearly over, then refreshed: more is left than before, with nobody else there to leave it.
        try await until("refreshed") {
            let before = try left()
            guard before > 0, before < 2000 else {
                if before == 0 { _ = try lab.ask(.podB, target) }
                return false
            }
            _ = try lab.ask(.podB, target)
            return try left() > before
        }
        // Forgotten clients get any endpoint again: some other one soon, by chance.
        var seen: Set<String> = []
        try await until("another endpoint") {
            guard try Self.clients(lab).isEmpty else { return false }
            seen.formUnion(try Self.endpoints(lab, .podB, target, 1))
            return seen.count == 2
        }
    }

    @Test("when the kernel has no room for another client, that one is served without affinity")
    func full() throws {
        var configuration = ServiceProxyConfiguration.testing
        configuration.ownsTable = false
        let lab = try PacketLab(configuration)
        lab.bench.proxy.set(Self.service())
        lab.bench.proxy.set(Self.slice(Self.all.values))
        try lab.bench.proxy.sync()
        let set = NFSetName(NFTableName(.ip, configuration.tableName), "sticky-clients")
        var batch = NFBatch()
        for number in 0..<ServiceTable.stickyClientLimit {
            let key = UInt32(0x00FF_E000).registerBytes + (0x0100_0000 + number).networkBytes
            batch.element(
                .add, NFElement(key: key, data: .value(UInt32(0x00FF_E001).registerBytes), timeout: 3_600_000), in: set)
        }
        try lab.bench.nftables.commit(batch)
        let seen = try Self.endpoints(lab, .podB, "tcp 10.96.0.1 80", 60)
        #expect(seen == Set(Self.all.keys))
    }
}
