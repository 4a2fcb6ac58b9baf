import Bytes
import ClusterAPI
import JSON
import Netlink
import NodeTables
import TestSupport
import Testing

@testable import ServiceProxy

@Suite("Source ranges, decided")
struct SourceRangesTests {
    static let texts: [(String, String?)] = [
        ("10.0.0.0/8", "10.0.0.0/8"), (" 10.0.0.0/8", "10.0.0.0/8"), ("10.0.0.0/8\t", "10.0.0.0/8"),
        ("10.1.2.3/8", "10.0.0.0/8"), ("010.0.0.0/8", "10.0.0.0/8"), ("2001:db8::/32", "2001:db8::/32"),
        ("0.0.0.0/0", "0.0.0.0/0"), ("10.0.0.0", nil), ("10.0.0.0/33", nil), ("ten/8", nil), ("", nil), ("/", nil),
    ]

    @Test("prefixes are read as people write them", arguments: texts)
    func parsing(row: (String, String?)) {
        #expect(SourceRanges.parse([row.0]).map { "\($0)" } == (row.1.map { [$0] } ?? []))
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var prefixes: [String]
        var node: [String] = []
        /// nil: everybody.
        var v4: [String]?
        var v6: [String]?
    }

    static let rows: [Row] = [
        Row(testDescription: "none", prefixes: []),
        Row(
            testDescription: "of one family only: the other one stays open", prefixes: ["10.0.0.0/8"],
            v4: ["10.0.0.0-10.255.255.255"]),
        Row(
            testDescription: "of both", prefixes: ["10.0.0.0/8", "2001:db8::/127"], v4: ["10.0.0.0-10.255.255.255"],
            v6: ["2001:db8::-2001:db8::1"]),
        Row(testDescription: "a prefix of length 0 is no restriction", prefixes: ["10.0.0.0/8", "0.0.0.0/0"]),
        Row(testDescription: "of IPv6, too", prefixes: ["::/0", "2001:db8::/32"]),
        Row(
            testDescription: "the same twice, and one within another",
            prefixes: ["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8"],
            v4: ["10.0.0.0-10.255.255.255"]),
        Row(
            testDescription: "neighbours become one", prefixes: ["10.0.0.0/9", "10.128.0.0/9"],
            v4: ["10.0.0.0-10.255.255.255"]),
        Row(
            testDescription: "the node within them: its way to the address has the address for its source",
            prefixes: ["192.0.2.0/24"], node: ["192.0.2.1"], v4: ["192.0.2.0-192.0.2.255", "198.51.100.1-198.51.100.1"]),
        Row(
            testDescription: "the node outside of them", prefixes: ["192.0.2.0/24"],
            node: ["192.0.3.1", "2001:db8::1"],
            v4: ["192.0.2.0-192.0.2.255"]),
    ]

    @Test("whom a load balancer's addresses admit", arguments: rows)
    func admitted(row: Row) {
        for (family, addresses, expected) in [
            (IPAddress.Family.v4, ["198.51.100.1"], row.v4), (.v6, ["2001:db8:f::1"], row.v6),
        ] {
            let admitted = SourceRanges.admitted(
                SourceRanges.parse(row.prefixes), to: addresses.map { address($0) }, family,
                node: row.node.map { address($0) })
            #expect(admitted?.map { "\($0.first)-\($0.last)" } == expected, "\(family)")
        }
    }

    @Test("disjoint ranges hold the same addresses, and neither overlap nor touch", arguments: 0..<20)
    func disjoint(seed: Int) {
        var random = SplitMix64(seed: UInt64(seed))
        // At the end of the address space, where the next address is none.
        let base: UInt32 = 0xFFFF_FF00
        let ranges = (0..<Int.random(in: 0...12, using: &random)).map { _ in
            let first = UInt32.random(in: 0...255, using: &random)
            return AddressRange(
                IPAddress(v4: base + first), IPAddress(v4: base + UInt32.random(in: first...255, using: &random)))
        }
        let result = AddressRange.disjoint(ranges)
        for number in 0..<UInt32(256) {
            let address = IPAddress(v4: base + number)
            let wanted = ranges.contains { $0.first <= address && address <= $0.last }
            #expect(result.count { $0.first <= address && address <= $0.last } == (wanted ? 1 : 0), "seed \(seed)")
        }
        for (one, next) in zip(result, result.dropFirst()) { #expect(one.end.map { $0 < next.first } == true) }
    }

    @Test("a Service's fields are read")
    func spec() throws {
        let object = KubeObject(
            json: try JSONValue.parse(
                """
                {"metadata": {"name": "x", "creationTimestamp": "1970-01-02T00:00:00Z",
                  "annotations": {"weft.dev/load-balancing": "maglev"}},
                 "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "ports": [{"port": 80}],
                  "loadBalancerSourceRanges": [" 10.0.0.0/8 ", "nonsense"]}}
                """))
        let spec = try #require(ServiceSpec(object))
        #expect(spec.sourceRanges == [prefix("10.0.0.0/8")])
        #expect(spec.created == 86_400)
        #expect(spec.balancing == .maglev)
    }
}

@Suite("Source ranges and ServiceCIDRs in the kernel", .ownThreads)
struct RangeTableTests {
    private static let http = EndpointSliceSpec.Port("", .tcp, 8080)

    private static func service(_ prefixes: [String]) -> ServiceSpec {
        var spec = ServiceSpec.test("cart", "10.96.0.10", .init("", .tcp, 80, nodePort: 30080))
        spec.clusterIPs.append(address("fd00:96::10"))
        spec.ingressIPs = [address("198.51.100.1"), address("198.51.100.2"), address("2001:db8:f::1")]
        spec.sourceRanges = prefixes.map { prefix($0) }
        return spec
    }

    @Test("each change costs what it changes, in element operations")
    func cost() throws {
        let bench = try ProxyBench()
        bench.proxy.set(Self.service([]))
        bench.proxy.set(.test("cart", [Self.http], ["10.244.2.1"]))
        try bench.proxy.sync()
        // Both addresses become restricted, and have a range each.
        bench.proxy.set(Self.service(["10.0.0.0/8"]))
        #expect(try bench.proxy.sync().elementWrites == 2 * 2 + 2)
        // One range more for each.
        bench.proxy.set(Self.service(["10.0.0.0/8", "172.16.0.0/12"]))
        #expect(try bench.proxy.sync().elementWrites == 2)
        // A range that grows is another one, and one within it changes nothing.
        bench.proxy.set(Self.service(["10.0.0.0/7", "10.3.0.0/16", "172.16.0.0/12"]))
        #expect(try bench.proxy.sync().elementWrites == 2 * 2)
        let text = try bench.run("nft list ruleset; nft -j list ruleset")
        #expect(text.contains("198.51.100.1 . tcp . 80 . 10.0.0.0/7"))
        #expect(text.contains("ip daddr . meta l4proto . th dport . ip saddr != @allowed-sources drop"))
        // A node that the ranges admit brings the addresses themselves in: two neighbours, one range.
        bench.proxy.setNodeIPs([address("172.16.0.9")])
        #expect(try bench.proxy.sync().elementWrites == 2)
        try bench.restart()
        bench.proxy.setNodeIPs([address("172.16.0.9")])
        bench.proxy.set(Self.service(["10.0.0.0/7", "172.16.0.0/12"]))
        bench.proxy.set(.test("cart", [Self.http], ["10.244.2.1"]))
        #expect(try bench.proxy.sync().elementWrites == 0)
        bench.proxy.set(Self.service([]))
        #expect(try bench.proxy.sync().elementWrites == 2 * 2 + 3 * 2)
        #expect(try bench.elements(.allowedSources).isEmpty)
    }

    @Test("ServiceCIDRs are boundaries in a set, merged, at once, and adopted by a restart")
    func serviceCIDRs() throws {
        let bench = try ProxyBench()
        bench.proxy.setServiceCIDRs([prefix("10.96.0.0/12"), prefix("fd00:96::/108")])
        #expect(try bench.proxy.sync().elementWrites == 4)
        bench.proxy.setServiceCIDRs([prefix("10.96.0.0/12"), prefix("10.112.0.0/12"), prefix("fd00:96::/108")])
        // One range for another, of two elements each.
        #expect(try bench.proxy.sync().elementWrites == 4)
        let text = try bench.run("nft list ruleset; nft -j list ruleset")
        #expect(text.contains("10.96.0.0/11") && text.contains("fd00:96::/108"), "\(text)")
        try bench.restart()
        bench.proxy.setServiceCIDRs([prefix("10.96.0.0/11"), prefix("fd00:96::/108")])
        #expect(try bench.proxy.sync().elementWrites == 0)
        // Up to the last address there is, and all there are.
        for all in ["240.0.0.0/4", "0.0.0.0/0", "255.255.255.255/32", "10.0.0.0/8"] {
            bench.proxy.setServiceCIDRs([prefix(all)])
            try bench.proxy.sync()
            #expect(try bench.elements(.serviceRanges).count == (all == "10.0.0.0/8" ? 2 : 1))
            #expect(try bench.run("nft list set ip weft-services service-cidrs").contains("elements"))
        }
        bench.proxy.setServiceCIDRs([])
        try bench.proxy.sync()
        #expect(try bench.kernelState().isEmpty)
    }

    @Test("ranges that change at random are taken by the kernel in one transaction, each time", arguments: 0..<4)
    func history(seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed))
        let bench = try ProxyBench()
        bench.proxy.set(.test("cart", [Self.http], ["10.244.2.1"]))
        for step in 0..<30 {
            func some() -> [CIDR] {
                (0..<Int.random(in: 1...6, using: &random)).compactMap { _ in
                    CIDR(
                        IPAddress(v4: UInt32.random(in: 0...31, using: &random) << 27),
                        prefixLength: UInt8.random(in: 1...8, using: &random))?.network
                }
            }
            var spec = Self.service([])
            spec.sourceRanges = some()
            bench.proxy.set(spec)
            let cidrs = Set(some())
            bench.proxy.setServiceCIDRs(cidrs)
            try bench.proxy.sync()
            let expected = AddressRange.disjoint(spec.sourceRanges.map { AddressRange($0) })
            let state = try bench.kernelState()
            for ingress in spec.ingressIPs where ingress.family == .v4 {
                let present = state.keys.compactMap { key -> AddressRange? in
                    guard case .allowedSource(let source) = key, source.address == ingress else { return nil }
                    return source.sources
                }
                #expect(Set(present) == Set(expected), "seed \(seed) step \(step)")
            }
            let ranges = AddressRange.disjoint(cidrs.map { AddressRange($0) }).map {
                ServiceElementKey.serviceRange($0)
            }
            let found = state.keys.filter { if case .serviceRange = $0 { true } else { false } }
            #expect(Set(found) == Set(ranges), "seed \(seed) step \(step)")
        }
    }
}

@Suite("Source ranges and ServiceCIDRs, real packets", .serialized, .ownThreads)
struct RangePacketTests {
    private static let here: EndpointSliceSpec.Flags = [.ready, .serving, .local]

    private static func service(_ name: String, _ number: Int, _ prefixes: String...) -> ServiceSpec {
        var spec = ServiceSpec.test(
            name, "10.96.0.\(number)", .init("http", .tcp, 80, nodePort: Port(UInt16(30000 + number))))
        spec.clusterIPs.append(address("fd00:96::\(number)"))
        spec.externalIPs = [address("192.0.2.\(100 + number)")]
        spec.ingressIPs = [address("198.51.100.\(number)"), address("fd00:7::\(number)")]
        spec.sourceRanges = SourceRanges.parse(prefixes)
        return spec
    }

    private static func slices(_ name: String) -> [EndpointSliceSpec] {
        [("10.244.1.2", IPAddress.Family.v4), ("fd00:1::2", .v6)].map { text, family in
            EndpointSliceSpec(
                ObjectKey(namespace: "test", name: "\(name)-\(family)"), of: ObjectKey(namespace: "test", name: name),
                family, ports: [.init("http", .tcp, 8080)], endpoints: [.init(address(text), here)])
        }
    }

    @Test("sources outside of the ranges are dropped at load balancer addresses, and nowhere else")
    func sourceRanges() throws {
        let lab = try PacketLab()
        let proxy = lab.bench.proxy
        // The client outside is 203.0.113.2 and fd00:8::2.
        proxy.set(Self.service("in", 1, " 203.0.113.0/24", "fd00:8::/64"))
        proxy.set(Self.service("out", 2, "203.0.112.0/24", "fd00:9::/64"))
        proxy.set(Self.service("four", 3, "10.244.1.3/32"))
        var local = Self.service("local", 4, "203.0.112.0/24", "fd00:9::/64")
        local.isExternalLocal = true
        proxy.set(local)
        proxy.set(Self.service("none", 5, "203.0.112.0/24"))
        proxy.set(Self.service("all", 6, "203.0.112.0/24", "0.0.0.0/0"))
        for name in ["in", "out", "four", "local", "all"] { for slice in Self.slices(name) { proxy.set(slice) } }
        try proxy.sync()
        let rows: [(PacketLab.Place, String, String)] = [
            (.external, "tcp 198.51.100.1 80", "podA as node"), (.external, "tcp fd00:7::1 80", "podA as node"),
            (.external, "tcp 198.51.100.2 80", "timeout"), (.external, "tcp fd00:7::2 80", "timeout"),
            (.podB, "tcp 198.51.100.2 80", "timeout"), (.node, "tcp 198.51.100.2 80", "timeout"),
            // Not at other addresses of the same Service.
            (.external, "tcp 10.96.0.2 80", "podA as node"), (.external, "tcp 203.0.113.1 30002", "podA as node"),
            (.external, "tcp 192.0.2.102 80", "podA as node"),
            // A list of one family leaves the other one open.
            (.podB, "tcp 198.51.100.3 80", "podA as node"), (.external, "tcp 198.51.100.3 80", "timeout"),
            (.external, "tcp fd00:7::3 80", "podA as node"),
            // Also where the external policy has an element of its own, and where nothing could serve.
            (.external, "tcp 198.51.100.4 80", "timeout"), (.external, "tcp 203.0.113.1 30004", "podA as client"),
            (.external, "tcp 198.51.100.5 80", "timeout"), (.external, "tcp 203.0.113.1 30005", "refused"),
            (.external, "tcp 198.51.100.6 80", "podA as node"),
        ]
        for (place, target, expected) in rows {
            let outcome = try lab.outcome(place, target)
            #expect(outcome == PacketLab.Outcome(expected), "\(place) to \(target)")
        }
        // The node's own way to an address that is local to it: the address is its source.
        try lab.bench.run("ip addr add 198.51.100.2/32 dev lo")
        #expect(try lab.outcome(.node, "tcp 198.51.100.2 80") == PacketLab.Outcome("timeout"))
        proxy.setNodeIPs([address("203.0.112.7")])
        try proxy.sync()
        #expect(try lab.ask(.node, "tcp 198.51.100.2 80").hasPrefix("podA"))
    }

    @Test("addresses of a ServiceCIDR that no Service has lead nowhere; allocated ones refuse unknown ports")
    func serviceCIDRs() throws {
        let lab = try PacketLab()
        let proxy = lab.bench.proxy
        // Where the default route leads there is somebody who answers.
        try lab.run(.external, "ip addr add 10.96.77.77/32 dev lo; ip -6 addr add fd00:96::77/128 dev lo nodad")
        proxy.set(Self.service("one", 1))
        for slice in Self.slices("one") { proxy.set(slice) }
        try proxy.sync()
        #expect(try lab.ask(.podB, "tcp 10.96.77.77 80") == "refused")
        #expect(try lab.ask(.node, "tcp 10.96.77.77 80") == "refused")
        proxy.setServiceCIDRs([prefix("10.96.0.0/16"), prefix("fd00:96::/108")])
        try proxy.sync()
        for (place, target, expected) in [
            (PacketLab.Place.podB, "tcp 10.96.77.77 80", "timeout"), (.node, "tcp 10.96.77.77 80", "timeout"),
            (.external, "udp 10.96.77.78 53", "timeout"), (.podB, "tcp fd00:96::77 80", "timeout"),
            (.podB, "tcp 10.96.0.1 80", "podA as client"), (.podB, "tcp 10.96.0.1 81", "refused"),
            (.podB, "tcp fd00:96::1 80", "podA as client"),
        ] {
            let outcome = try lab.outcome(place, target)
            #expect(outcome == PacketLab.Outcome(expected), "\(place) to \(target)")
        }
        proxy.setServiceCIDRs([prefix("10.96.0.0/24")])
        try proxy.sync()
        #expect(try lab.ask(.podB, "tcp 10.96.77.77 80") == "refused")
    }
}
