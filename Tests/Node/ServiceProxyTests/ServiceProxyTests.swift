import Bytes
import ClusterAPI
import JSON
import Netlink
import Testing

@testable import ServiceProxy

func address(_ text: String) -> IPAddress {
    guard let address = IPAddress(text) else { preconditionFailure("a test's address: \(text)") }
    return address
}

func prefix(_ text: String) -> CIDR {
    guard let prefix = CIDR(text) else { preconditionFailure("a test's prefix: \(text)") }
    return prefix
}

extension ServiceProxyConfiguration {
    /// For tests of the kernel's side: no servers, pods are 10.244.1.0/24.
    static var testing: ServiceProxyConfiguration {
        var configuration = ServiceProxyConfiguration(node: NodeIdentity(name: "node-1"))
        configuration.localDetector = .prefixes([prefix("10.244.1.0/24"), prefix("fd00:1::/64")])
        configuration.healthzAddress = nil
        configuration.metricsAddress = nil
        return configuration
    }
}

@Suite("Which endpoints a packet may go to")
struct EndpointChoiceTests {
    typealias Flags = EndpointSliceSpec.Flags
    static let leaving: Flags = [.serving, .terminating]
    static let ready: Flags = [.ready, .serving]

    /// Endpoints by number (10.0.0.N) with their flags; then the numbers expected for `Cluster` and for `Local`.
    struct Row: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var endpoints: [(UInt8, Flags)]
        var cluster: [UInt8]
        var local: [UInt8] = []
        var hasEndpoints = true
    }

    static let rows: [Row] = [
        Row(testDescription: "none at all", endpoints: [], cluster: [], hasEndpoints: false),
        Row(testDescription: "all ready ones", endpoints: [(1, ready), (2, ready)], cluster: [1, 2]),
        Row(
            testDescription: "local ones among them", endpoints: [(1, ready), (2, ready.union(.local))],
            cluster: [1, 2], local: [2]),
        Row(
            testDescription: "not ready and not leaving: nothing", endpoints: [(1, [])], cluster: [],
            hasEndpoints: false),
        Row(
            testDescription: "leaving ones only where none is ready", endpoints: [(1, ready), (2, leaving)],
            cluster: [1]),
        Row(
            testDescription: "leaving ones serve as long as they are the last", endpoints: [(2, leaving)], cluster: [2]),
        Row(
            testDescription: "a leaving local one, where other nodes have ready ones",
            endpoints: [(1, ready), (2, leaving.union(.local))], cluster: [1], local: [2]),
        Row(
            testDescription: "leaving and not serving: nothing", endpoints: [(1, [.terminating])], cluster: [],
            hasEndpoints: false),
        Row(
            testDescription: "zone hints on all, some ours",
            endpoints: [(1, ready.union([.hasZoneHints, .hintsThisZone])), (2, ready.union(.hasZoneHints))],
            cluster: [1]),
        Row(
            testDescription: "zone hints on all, none ours", endpoints: [(1, ready.union(.hasZoneHints))], cluster: [1]),
        Row(
            testDescription: "one endpoint without a hint voids the hints",
            endpoints: [(1, ready.union([.hasZoneHints, .hintsThisZone])), (2, ready)], cluster: [1, 2]),
        Row(
            testDescription: "node hints before zone hints",
            endpoints: [
                (1, ready.union([.hasZoneHints, .hintsThisZone, .hasNodeHints])),
                (2, ready.union([.hasZoneHints, .hasNodeHints, .hintsThisNode])),
            ], cluster: [2]),
        Row(
            testDescription: "an unready endpoint's missing hint voids nothing",
            endpoints: [(1, ready.union([.hasZoneHints, .hintsThisZone])), (2, [])], cluster: [1]),
        Row(
            testDescription: "leaving ones ignore hints",
            endpoints: [(1, leaving.union(.hasZoneHints)), (2, leaving)], cluster: [1, 2]),
        Row(
            testDescription: "local policy ignores hints",
            endpoints: [
                (1, ready.union([.hasZoneHints, .hintsThisZone])), (2, ready.union([.hasZoneHints, .local])),
            ],
            cluster: [1], local: [2]),
        Row(
            testDescription: "the same address twice: the one that stays counts",
            endpoints: [(1, leaving), (1, ready), (1, leaving)], cluster: [1]),
    ]

    @Test("the choice is kube-proxy's", arguments: rows)
    func choice(row: Row) {
        func endpoint(_ number: UInt8) -> Endpoint { Endpoint(address: IPAddress(v4: 10, 0, 0, number), port: 80) }
        let choice = EndpointChoice(row.endpoints.map { (endpoint($0.0), $0.1) })
        #expect(choice.cluster == row.cluster.map(endpoint))
        #expect(choice.local == row.local.map(endpoint))
        #expect(choice.hasEndpoints == row.hasEndpoints)
    }
}

@Suite("What a Service means to packets")
struct ServicePlannerTests {
    private static let vip = Frontend(address: address("10.96.0.10"), transport: .tcp, port: 80)
    private static let lb = Frontend(address: address("192.0.2.7"), transport: .tcp, port: 80)
    private static let nodePort = Frontend(address: nil, transport: .tcp, port: 30080)

    private static func service(internalLocal: Bool = false, externalLocal: Bool = false) -> ServiceSpec {
        var service = ServiceSpec(
            ObjectKey(namespace: "shop", name: "cart"), clusterIPs: [address("10.96.0.10")],
            ports: [.init("http", .tcp, 80, nodePort: 30080)])
        service.ingressIPs = [address("192.0.2.7")]
        service.isInternalLocal = internalLocal
        service.isExternalLocal = externalLocal
        return service
    }

    private static func slice(_ flags: EndpointSliceSpec.Flags...) -> EndpointSliceSpec {
        EndpointSliceSpec(
            ObjectKey(namespace: "shop", name: "cart-1"), of: ObjectKey(namespace: "shop", name: "cart"),
            ports: [.init("http", .tcp, 8080)],
            endpoints: flags.enumerated().map { .init(IPAddress(v4: 10, 244, 0, UInt8($0.offset + 1)), $0.element) })
    }

    private static func plan(_ service: ServiceSpec, _ slice: EndpointSliceSpec, knowsPods: Bool = true) -> PortPlan {
        ServicePlanner(family: .v4, knowsPods: knowsPods).plan(service, [slice]).ports[0]
    }

    static let remote: EndpointSliceSpec.Flags = [.ready, .serving]
    static let here: EndpointSliceSpec.Flags = [.ready, .serving, .local]

    @Test("policies Cluster: everything to all endpoints, and what comes in from outside masqueraded")
    func cluster() {
        let plan = Self.plan(Self.service(), Self.slice(Self.remote, Self.here))
        #expect(plan.frontends[Self.vip] == .dispatch(.cluster, .unlessFromPod))
        #expect(plan.frontends[Self.lb] == .dispatch(.cluster, .always))
        #expect(plan.frontends[Self.nodePort] == .dispatch(.cluster, .always))
        #expect(plan.external.isEmpty)
        #expect(plan.lists[.cluster]?.count == 2)
        #expect(plan.lists[.local] == nil)
    }

    @Test("internal policy Local: local endpoints, or a drop where there are none")
    func internalLocal() {
        let service = Self.service(internalLocal: true)
        #expect(
            Self.plan(service, Self.slice(Self.remote, Self.here)).frontends[Self.vip]
                == .dispatch(.local, .unlessFromPod))
        #expect(Self.plan(service, Self.slice(Self.remote)).frontends[Self.vip] == .drop)
        #expect(Self.plan(service, Self.slice()).frontends[Self.vip] == .reject)
    }

    @Test("external policy Local: from outside local ones with the client's address, from within all")
    func externalLocal() {
        let service = Self.service(externalLocal: true)
        let plan = Self.plan(service, Self.slice(Self.remote, Self.here))
        for frontend in [Self.lb, Self.nodePort] {
            #expect(plan.frontends[frontend] == .dispatch(.cluster, .unlessFromPod))
            #expect(plan.external[frontend] == .dispatch(.local, .never))
        }
        #expect(plan.lists[.local]?.count == 1)
        let without = Self.plan(service, Self.slice(Self.remote))
        #expect(without.external[Self.lb] == .drop)
        #expect(without.frontends[Self.lb] == .dispatch(.cluster, .unlessFromPod))
        #expect(Self.plan(service, Self.slice()).external[Self.lb] == .reject)
    }

    @Test("where pods cannot be told, cluster IPs keep the source and the node's own traffic is masqueraded")
    func noDetector() {
        let plan = Self.plan(Self.service(externalLocal: true), Self.slice(Self.here), knowsPods: false)
        #expect(plan.frontends[Self.vip] == .dispatch(.cluster, .never))
        #expect(plan.frontends[Self.lb] == .dispatch(.cluster, .always))
    }

    @Test("ports meet by name and protocol, and each slice's own number counts")
    func namedPorts() {
        var slice = Self.slice(Self.remote)
        slice.ports = [.init("http", .udp, 1), .init("other", .tcp, 2)]
        #expect(Self.plan(Self.service(), slice).frontends[Self.vip] == .reject)
    }
}

@Suite("Objects as the API has them")
struct SpecDecodingTests {
    private static func object(_ text: String) throws -> KubeObject { KubeObject(json: try JSONValue.parse(text)) }

    @Test("a LoadBalancer Service with everything")
    func service() throws {
        let object = try Self.object(
            """
            {"metadata": {"namespace": "a", "name": "b"}, "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.9",
             "clusterIPs": ["10.96.0.9", "fd00::9"], "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Cluster",
             "externalIPs": ["192.0.2.1"], "ports": [
               {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 5353, "nodePort": 30053},
               {"name": "bad", "port": 0}]},
             "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}, {"ip": "198.51.100.2", "ipMode": "Proxy"},
               {"hostname": "lb.example"}]}}}
            """)
        let spec = try #require(ServiceSpec(object))
        #expect(spec.key == ObjectKey(namespace: "a", name: "b"))
        #expect(spec.clusterIPs == [address("10.96.0.9"), address("fd00::9")])
        #expect(spec.externalIPs == [address("192.0.2.1")])
        #expect(spec.ingressIPs == [address("198.51.100.1")])
        #expect(spec.ports == [.init("dns", .udp, 53, nodePort: 30053)])
        #expect(spec.isExternalLocal && !spec.isInternalLocal)
    }

    static let ignored = [
        #"{"metadata": {"name": "x"}, "spec": {"clusterIP": "None", "ports": []}}"#,
        #"{"metadata": {"name": "x"}, "spec": {"type": "ExternalName", "externalName": "y"}}"#,
        #"{"metadata": {"name": "x"}, "spec": {"ports": [{"port": 80}]}}"#,
        """
        {"metadata": {"name": "x", "labels": {"service.kubernetes.io/service-proxy-name": "other"}},
         "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 80}]}}
        """,
    ]

    @Test("headless, external, unallocated and other proxies' Services are not ours", arguments: ignored)
    func ignoredService(text: String) throws { #expect(ServiceSpec(try Self.object(text)) == nil) }

    @Test("an address of an old object with leading zeros is read as Kubernetes reads it")
    func sloppy() {
        #expect(IPAddress(sloppy: "010.096.000.007") == address("10.96.0.7"))
        #expect(IPAddress(sloppy: "10.96.0.256") == nil)
        #expect(IPAddress(sloppy: "10.96.0") == nil)
    }

    @Test("a slice seen from one node: conditions that are not there have their defaults")
    func slice() throws {
        let object = try Self.object(
            """
            {"metadata": {"namespace": "a", "name": "b-1", "labels": {"kubernetes.io/service-name": "b"}},
             "addressType": "IPv4", "ports": [{"name": "http", "protocol": "TCP", "port": 8080}, {"name": "none"}],
             "endpoints": [
               {"addresses": ["10.244.1.5", "10.244.1.6"], "nodeName": "node-1"},
               {"addresses": ["10.244.2.5"], "nodeName": "node-2", "conditions": {"ready": false, "terminating": true},
                "hints": {"forZones": [{"name": "z1"}]}},
               {"addresses": ["not an address"]}]}
            """)
        let spec = try #require(EndpointSliceSpec(object, on: NodeIdentity(name: "node-1", zone: "z1")))
        #expect(spec.service == ObjectKey(namespace: "a", name: "b"))
        #expect(spec.ports == [.init("http", .tcp, 8080)])
        #expect(
            spec.endpoints == [
                .init(address("10.244.1.5"), [.ready, .serving, .local]),
                .init(address("10.244.2.5"), [.serving, .terminating, .hasZoneHints, .hintsThisZone]),
            ])
    }

    static let ignoredSlices = [
        #"{"metadata": {"name": "x"}, "addressType": "IPv4"}"#,
        #"{"metadata": {"name": "x", "labels": {"kubernetes.io/service-name": "b"}}, "addressType": "FQDN"}"#,
        """
        {"metadata": {"name": "x", "labels": {"kubernetes.io/service-name": "b",
         "service.kubernetes.io/headless": ""}}, "addressType": "IPv4"}
        """,
    ]

    @Test("slices behind no virtual address are not ours", arguments: ignoredSlices)
    func ignoredSlice(text: String) throws {
        #expect(EndpointSliceSpec(try Self.object(text), on: NodeIdentity(name: "n")) == nil)
    }
}

@Suite("Slots")
struct SlotTableTests {
    private static func endpoints(_ numbers: some Sequence<Int>) -> [Endpoint] {
        numbers.map { Endpoint(address: IPAddress(v4: UInt32($0)), port: 80) }.sorted()
    }

    @Test("a slot each while they are few: one that leaves has the last one moved into its place")
    func few() {
        let five = Self.endpoints(1...5)
        let slots = SlotTable.assign(five, present: [], slots: 5)
        #expect(slots == five)
        let without = SlotTable.assign(Self.endpoints([1, 3, 4, 5]), present: slots, slots: 4)
        #expect(without == [five[0], five[4], five[2], five[3]])
    }

    @Test("shares stay equal, and little moves, through a random history", arguments: 0..<20)
    func history(seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed))
        var present: [Endpoint] = []
        var members: Set<Int> = []
        for _ in 0..<60 {
            let goal = Bool.random(using: &random) ? Int.random(in: 1...80, using: &random) : members.count + 1
            while members.count > goal, let victim = members.randomElement(using: &random) { members.remove(victim) }
            while members.count < goal { members.insert(Int.random(in: 1...100_000, using: &random)) }
            let count = try #require(SlotClass(endpoints: members.count)).slots
            let slots = SlotTable.assign(Self.endpoints(members), present: present, slots: count)
            #expect(slots.count == count)
            var held: [Endpoint: Int] = [:]
            for slot in slots { held[slot, default: 0] += 1 }
            #expect(held.count == members.count)
            let share = count / members.count
            #expect(held.values.allSatisfy { $0 == share || $0 == share + 1 })
            // The same question gives the same answer: a restart changes nothing.
            #expect(SlotTable.assign(Self.endpoints(members), present: slots, slots: count) == slots)
            present = slots
        }
    }

    @Test("one more endpoint of many takes only its share")
    func oneMore() throws {
        let before = SlotTable.assign(Self.endpoints(1...100), present: [], slots: 1024)
        let after = SlotTable.assign(Self.endpoints(1...101), present: before, slots: 1024)
        let moved = zip(before, after).count { $0 != $1 }
        #expect(moved <= 2 * (1024 / 101 + 1), "\(moved)")
    }
}
