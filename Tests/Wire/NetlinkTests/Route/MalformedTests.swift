import Bytes
import Testing

@testable import Netlink

@Suite("Malformed rtnetlink messages")
struct MalformedTests {
    /// One valid body of each sort, by the type under which the kernel would send it.
    static let valid: [(UInt16, [UInt8])] = {
        let mac = MACAddress(0x0200_0000_0001)
        let device = InterfaceIndex(3)
        let address = IPAddress(v4: 10, 0, 0, 1)
        let six = IPAddress(v6: 0xFD00_0000_0000_0000, 1)
        let prefix = CIDR(IPAddress(v4: 10, 1, 0, 0), prefixLength: 16)!
        let hops = [
            Route.NextHop(device: device, gateway: address, weight: 3), Route.NextHop(device: device, gateway: six),
        ]
        let specs = [
            LinkSpec(name: "b", kind: .bridge(.init(vlanFiltering: true)), mtu: 1500, hardwareAddress: mac, isUp: true),
            LinkSpec(name: "x", kind: .vxlan(.init(vni: 1, port: 8472, local: address, device: device))),
            LinkSpec(name: "m", kind: .macvlan(.init(mode: .vepa)), link: device),
            LinkSpec(name: "v", kind: .veth(peer: LinkSpec(name: "p"))),
        ]
        let links = specs.map { spec in
            var writer = NetlinkWriter()
            spec.encode(into: &writer)
            return (RTM.newLink, writer.bytes)
        }
        return links + [
            (RTM.newAddr, InterfaceAddress(device: device, address: prefix, label: "eth0").encoded()),
            (RTM.newRoute, Route(destination: prefix, device: device, gateway: six, mtu: 1400).encoded()),
            (RTM.newRoute, Route(destination: prefix, nextHops: hops).encoded()),
            (RTM.newNeigh, Neighbour(device: device, address: address, hardwareAddress: mac).encoded()),
            (RTM.newNeigh, ForwardingEntry(device: device, hardwareAddress: mac, remote: six, vni: 3).encoded()),
            (RTM.newRule, RoutingRule(family: .v6, source: CIDR(six, prefixLength: 64), mark: 1).encoded()),
        ]
    }()

    private func decode(_ type: UInt16, _ bytes: some Collection<UInt8>) -> RouteEvent? {
        Array(bytes).withUnsafeBytes { RouteEvent(type: type, payload: $0) }
    }

    @Test("what we write, we read", arguments: valid.indices)
    func roundTrip(row: Int) {
        #expect(decode(Self.valid[row].0, Self.valid[row].1) != nil)
    }

    @Test("no prefix of a message traps", arguments: valid.indices)
    func prefixes(row: Int) {
        let (type, bytes) = Self.valid[row]
        for length in 0..<bytes.count { _ = decode(type, bytes.prefix(length)) }
        #expect(decode(type, []) == nil)
    }

    @Test("no flipped byte traps, whatever type the message claims", arguments: valid.indices)
    func flips(row: Int) {
        let bytes = Self.valid[row].1
        for (type, _) in Self.valid {
            for position in bytes.indices {
                for value: UInt8 in [0, 1, 3, 4, 0x7F, 0x80, 0xFF] {
                    var changed = bytes
                    changed[position] = value
                    _ = decode(type, changed)
                }
            }
        }
    }

    @Test("no random message traps", arguments: [1, 2, 3, 4])
    func random(seed: UInt64) {
        var state = seed
        func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33
        }
        for _ in 0..<20_000 {
            let bytes = (0..<Int(next() % 80)).map { _ in
                UInt8(truncatingIfNeeded: next() % 5 == 0 ? next() : next() % 24)
            }
            _ = decode(UInt16(16 + next() % 20), bytes)
        }
    }

    @Test("an address or prefix of the wrong size counts as absent")
    func wrongSizes() {
        var body = NetlinkWriter()
        body.addressHeader(family: AF.inet, prefixLength: 24, flags: 0, scope: 0, index: 1)
        body.attribute(IFA.local, UInt16(1))
        #expect(decode(RTM.newAddr, body.bytes) == nil)
        var wide = NetlinkWriter()
        wide.routeHeader(family: .v4, destinationLength: 33, sourceLength: 0)
        #expect(decode(RTM.newRoute, wide.bytes) == nil)
    }
}
