import Bytes
import ClusterAPI
import Netlink
import TestSupport
import Testing

@testable import ServiceProxy

@Suite("Real packets through the table", .serialized, .ownThreads)
struct PacketTests {
    private static let here: EndpointSliceSpec.Flags = [.ready, .serving, .local]
    private static let there: EndpointSliceSpec.Flags = [.ready, .serving]

    private static func service(
        _ name: String, _ clusterIP: String, nodePort: UInt16, local: Bool = false, external: String? = nil
    ) -> ServiceSpec {
        var spec = ServiceSpec.test(
            name, clusterIP, .init("http", .tcp, 80, nodePort: Port(nodePort)), .init("dns", .udp, 53))
        spec.isInternalLocal = local
        spec.isExternalLocal = local
        if let external { spec.externalIPs = [address(external)] }
        return spec
    }

    private static func slice(
        _ service: String, _ endpoints: [(String, EndpointSliceSpec.Flags)], _ family: IPAddress.Family = .v4
    ) -> EndpointSliceSpec {
        EndpointSliceSpec(
            ObjectKey(namespace: "test", name: "\(service)-\(family)"), of: ObjectKey(namespace: "test", name: service),
            family, ports: [.init("http", .tcp, 8080), .init("dns", .udp, 8053)],
            endpoints: endpoints.map { .init(address($0.0), $0.1) })
    }

    /// From where, to what, with what result.
    static let matrix: [(PacketLab.Place, String, String)] = [
        // Policies Cluster
        (.podB, "tcp 10.96.0.1 80", "podA+remote as client"), (.node, "tcp 10.96.0.1 80", "podA+remote as node"),
        (.external, "tcp 10.96.0.1 80", "podA+remote as node"),
        (.podB, "tcp 192.0.2.1 30001", "podA+remote as node"),
        (.node, "tcp 192.0.2.1 30001", "podA+remote as node"),
        (.external, "tcp 203.0.113.1 30001", "podA+remote as node"),
        (.external, "tcp 198.51.100.1 80", "podA+remote as node"),
        (.podB, "tcp 198.51.100.1 80", "podA+remote as node"), (.node, "tcp 198.51.100.1 80", "podA+remote as node"),
        (.podB, "udp 10.96.0.1 53", "podA+remote as client"), (.node, "udp 10.96.0.1 53", "podA+remote as node"),
        // Policies Local, with endpoints here and there
        (.podB, "tcp 10.96.0.2 80", "podA as client"), (.node, "tcp 10.96.0.2 80", "podA as node"),
        (.external, "tcp 10.96.0.2 80", "podA as node"), (.external, "tcp 203.0.113.1 30002", "podA as client"),
        (.podB, "tcp 203.0.113.1 30002", "podA+remote as client"),
        (.node, "tcp 203.0.113.1 30002", "podA+remote as node"),
        // Policies Local, with none here
        (.podB, "tcp 10.96.0.3 80", "timeout"), (.external, "tcp 203.0.113.1 30003", "timeout"),
        (.podB, "tcp 203.0.113.1 30003", "remote as client"), (.node, "tcp 203.0.113.1 30003", "remote as node"),
        // None at all
        (.podB, "tcp 10.96.0.4 80", "refused"), (.node, "tcp 10.96.0.4 80", "refused"),
        (.external, "tcp 203.0.113.1 30004", "refused"), (.podB, "udp 10.96.0.4 53", "refused"),
        // A port that no Service has, and node ports on loopback
        (.podB, "tcp 10.96.0.1 81", "refused"), (.node, "tcp 10.96.0.1 81", "refused"),
        (.node, "tcp 127.0.0.1 30001", "refused"),
        // Through any address to oneself
        (.podA, "tcp 10.96.0.5 80", "podA as node"), (.podA, "tcp 203.0.113.1 30005", "podA as node"),
        // IPv6
        (.podB, "tcp fd00:96::1 80", "podA as client"), (.node, "tcp fd00:96::1 80", "podA as node"),
        (.external, "tcp fd00:8::1 30001", "podA as node"),
        // TCP over IPv6 takes an ICMPv6 port-unreachable for passing trouble and keeps trying; UDP believes it.
        (.podB, "udp fd00:96::4 53", "refused"),
    ]

    @Test("the packet matrix of kube-proxy: who answers whom, and which source it sees")
    func packetMatrix() throws {
        let lab = try PacketLab()
        let proxy = lab.bench.proxy
        var first = Self.service("one", "10.96.0.1", nodePort: 30001, external: "198.51.100.1")
        first.clusterIPs.append(address("fd00:96::1"))
        proxy.set(first)
        proxy.set(Self.slice("one", [("10.244.1.2", Self.here), ("10.244.2.5", Self.there)]))
        proxy.set(Self.slice("one", [("fd00:1::2", Self.here)], .v6))
        proxy.set(Self.service("two", "10.96.0.2", nodePort: 30002, local: true))
        proxy.set(Self.slice("two", [("10.244.1.2", Self.here), ("10.244.2.5", Self.there)]))
        proxy.set(Self.service("three", "10.96.0.3", nodePort: 30003, local: true))
        proxy.set(Self.slice("three", [("10.244.2.5", Self.there)]))
        var fourth = Self.service("four", "10.96.0.4", nodePort: 30004)
        fourth.clusterIPs.append(address("fd00:96::4"))
        proxy.set(fourth)
        proxy.set(Self.service("five", "10.96.0.5", nodePort: 30005))
        proxy.set(Self.slice("five", [("10.244.1.2", Self.here)]))
        try proxy.sync()
        for (place, target, expected) in Self.matrix {
            let outcome = try lab.outcome(place, target)
            #expect(outcome == PacketLab.Outcome(expected), "\(place) to \(target)")
        }
        // What we borrow from packets stays among us: marks of others pass through.
        #expect(try lab.bench.run("nft list ruleset").contains("meta priority set"))
    }

    @Test("connections are split equally among the endpoints, also by a number that is no power of two")
    func distribution() throws {
        let lab = try PacketLab()
        lab.bench.proxy.set(Self.service("one", "10.96.0.1", nodePort: 0))
        lab.bench.proxy.set(
            Self.slice("one", [("10.244.1.2", Self.here), ("10.244.1.3", Self.here), ("10.244.2.5", Self.there)]))
        try lab.bench.proxy.sync()
        let count = 600
        var answers: [Substring: Int] = [:]
        for answer in try lab.ask(.external, Array(repeating: "tcp 10.96.0.1 80", count: count)) {
            answers[answer.prefix { $0 != " " }, default: 0] += 1
        }
        #expect(Set(answers.keys) == ["podA", "podB", "remote"])
        // Six standard deviations of a binomial with p = 1/3.
        for (name, number) in answers { #expect(abs(number - count / 3) < 70, "\(name): \(number) of \(count)") }
    }

    @Test("a UDP client that keeps sending from one port follows its Service: to another endpoint, to none, and back")
    func staleFlows() throws {
        let lab = try PacketLab()
        let proxy = lab.bench.proxy
        proxy.set(Self.service("one", "10.96.0.1", nodePort: 0))
        func serve(_ endpoints: [(String, EndpointSliceSpec.Flags)]) throws -> Int {
            proxy.set(Self.slice("one", endpoints))
            return try proxy.sync().deletedFlows
        }
        _ = try serve([("10.244.1.2", Self.here)])
        let datagram = "udp 10.96.0.1 53 5555"
        #expect(try lab.ask(.podB, datagram).hasPrefix("podA"))
        #expect(try serve([("10.244.2.5", Self.there)]) == 1)
        #expect(try lab.ask(.podB, datagram).hasPrefix("remote"))
        // One more endpoint disturbs no flow that is good.
        #expect(try serve([("10.244.2.5", Self.there), ("10.244.1.2", Self.here)]) == 0)
        for _ in 0..<4 { #expect(try lab.ask(.podB, datagram).hasPrefix("remote")) }
        #expect(try serve([]) == 1)
        #expect(try lab.ask(.podB, datagram) == "refused")
        #expect(try serve([("10.244.1.2", Self.here)]) == 0)
        #expect(try lab.ask(.podB, datagram).hasPrefix("podA"))
    }

    @Test("established connections outlive the daemon, its restart and their endpoint's removal from the Service")
    func established() throws {
        let lab = try PacketLab()
        lab.bench.proxy.set(Self.service("one", "10.96.0.1", nodePort: 0))
        lab.bench.proxy.set(Self.slice("one", [("10.244.1.2", Self.here)]))
        try lab.bench.proxy.sync()
        try lab.bench.restart()
        #expect(try lab.ask(.podB, "tcp 10.96.0.1 80").hasPrefix("podA"))
        lab.bench.proxy.set(Self.service("one", "10.96.0.1", nodePort: 0))
        lab.bench.proxy.set(Self.slice("one", [("10.244.1.2", Self.here)]))
        #expect(try lab.bench.proxy.sync().elementWrites == 0)
        #expect(try lab.ask(.podB, "tcp 10.96.0.1 80").hasPrefix("podA"))
    }

    @Test("node ports on chosen addresses answer there and nowhere else")
    func nodePortAddresses() throws {
        var configuration = ServiceProxyConfiguration.testing
        configuration.nodePortAddresses = .prefixes([prefix("203.0.113.0/24")])
        let lab = try PacketLab(configuration)
        let proxy = lab.bench.proxy
        proxy.set(Self.service("one", "10.96.0.1", nodePort: 30001))
        proxy.set(Self.slice("one", [("10.244.1.2", Self.here)]))
        proxy.setNodeAddresses([address("203.0.113.1"), address("192.0.2.1"), address("127.0.0.1")])
        try proxy.sync()
        #expect(try lab.outcome(.external, "tcp 203.0.113.1 30001") == PacketLab.Outcome("podA as node"))
        #expect(try lab.outcome(.external, "tcp 192.0.2.1 30001") == PacketLab.Outcome("refused"))
        // The node got another address.
        proxy.setNodeAddresses([address("203.0.113.1"), address("203.0.113.9")])
        try lab.bench.run("ip addr add 203.0.113.9/32 dev external")
        #expect(try proxy.sync().elementWrites == 1)
        #expect(try lab.outcome(.external, "tcp 203.0.113.9 30001") == PacketLab.Outcome("podA as node"))
    }
}
