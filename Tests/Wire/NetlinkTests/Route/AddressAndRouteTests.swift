import Bytes
import Foundation
import Testing

@testable import Netlink

@Suite("Addresses, routes, neighbours, forwarding entries and rules, as iproute2 sees them")
struct AddressAndRouteTests {
    /// A namespace with one interface, up, whose peer is up too.
    struct Bench {
        let namespace: RouteNamespace
        let connection: RouteConnection
        let device: InterfaceIndex

        init() throws {
            namespace = try RouteNamespace()
            connection = try namespace.connection()
            try connection.perform([
                .create(LinkSpec(name: "eth0", kind: .veth(peer: LinkSpec(name: "far")), isUp: true)),
                .add(
                    InterfaceAddress(
                        device: try #require(try connection.link(named: "lo")).index,
                        address: try #require(CIDR("127.0.0.1/8")), scope: .host), existing: .replace),
            ])
            device = try #require(try connection.link(named: "eth0")).index
            let far = try #require(try connection.link(named: "far")).index
            try connection.perform([.change(far, LinkChange(isUp: true))])
        }

        func has(_ text: String) throws -> CIDR { try #require(CIDR(text)) }
    }

    @Test("an address is added, replaced and deleted", arguments: ["10.1.2.3/24", "10.244.0.5/32", "fd00::5/64"])
    func addresses(text: String) throws {
        let bench = try Bench()
        let cidr = try #require(CIDR(text))
        let address = InterfaceAddress(
            device: bench.device, address: cidr, flags: cidr.address.family == .v6 ? .noDuplicateDetection : [])
        try bench.connection.perform([.add(address)])
        let shown = try bench.namespace.ip("addr show eth0").first?["addr_info"] as? [[String: Any]] ?? []
        #expect(
            shown.contains {
                $0["local"] as? String == "\(cidr.address)" && $0["prefixlen"] as? Int == Int(cidr.prefixLength)
            }
        )
        #expect(try bench.connection.addresses(on: bench.device).contains { $0.address == cidr })
        #expect { try bench.connection.perform([.add(address)]) } throws: { ($0 as? NetlinkError)?.isPresence == true }
        try bench.connection.perform([.add(address, existing: .replace)])
        try bench.connection.perform([.delete(address)])
        #expect(try !bench.connection.addresses(on: bench.device).contains { $0.address == cidr })
        #expect { try bench.connection.perform([.delete(address)]) } throws: {
            ($0 as? NetlinkError)?.isAbsence == true
        }
    }

    static let ways: [(String, @Sendable (InterfaceIndex) -> Route, [String: String])] = [
        (
            "to a pod on a link",
            { Route(destination: CIDR("10.244.0.5/32")!, device: $0) },
            ["dst": "10.244.0.5", "dev": "eth0", "scope": "link"]
        ),
        (
            "by an on-link gateway",
            {
                Route(destination: CIDR("10.244.2.0/24")!, device: $0, gateway: IPAddress("10.244.2.0"), flags: .onlink)
            },
            ["dst": "10.244.2.0/24", "gateway": "10.244.2.0"]
        ),
        (
            "by default",
            { Route(destination: CIDR("0.0.0.0/0")!, device: $0, gateway: IPAddress("10.9.0.1"), priority: 50) },
            ["dst": "default", "gateway": "10.9.0.1", "metric": "50"]
        ),
        (
            "unreachable", { _ in Route(destination: CIDR("10.244.1.0/24")!, type: .unreachable) },
            ["dst": "10.244.1.0/24", "type": "unreachable"]
        ),
        (
            "with packet sizes",
            {
                Route(
                    destination: CIDR("10.7.0.0/16")!, device: $0, preferredSource: IPAddress("10.9.0.2"), mtu: 1300,
                    advertisedMSS: 1260)
            },
            ["dst": "10.7.0.0/16", "prefsrc": "10.9.0.2"]
        ),
        (
            "in a table of a large number",
            { Route(destination: CIDR("10.8.0.0/16")!, device: $0, table: RouteTable(rawValue: 70_000)) },
            ["dst": "10.8.0.0/16", "table": "70000"]
        ),
        (
            "IPv4 by an IPv6 gateway",
            { Route(destination: CIDR("10.6.0.0/16")!, device: $0, gateway: IPAddress("fe80::1")) },
            ["dst": "10.6.0.0/16"]
        ),
        (
            "IPv6", { Route(destination: CIDR("fd01::/64")!, device: $0, gateway: IPAddress("fe80::1")) },
            ["dst": "fd01::/64", "gateway": "fe80::1"]
        ),
    ]

    @Test("a route is made, read back, replaced and deleted", arguments: ways.indices)
    func routes(row: Int) throws {
        let (_, make, expected) = Self.ways[row]
        let bench = try Bench()
        try bench.connection.perform([
            .add(InterfaceAddress(device: bench.device, address: try bench.has("10.9.0.2/24")))
        ])
        let route = make(bench.device)
        try bench.connection.perform([.add(route, existing: .refuse)])
        let six = route.destination.address.family == .v6 ? "-6 " : ""
        let shown = try bench.namespace.ip("\(six)route show table all proto 87")
        let seen = try #require(shown.first, "ip shows no route of ours")
        for (key, value) in expected {
            let text = (seen[key] as? NSNumber)?.stringValue ?? seen[key] as? String ?? "absent"
            #expect(text == value, "\(key) of \(seen)")
        }
        let read = try #require(try bench.connection.routes(table: route.table, origin: .weft).first)
        #expect(read.destination == route.destination)
        #expect(read.gateway == route.gateway)
        #expect(read.mtu == route.mtu)
        #expect(read.advertisedMSS == route.advertisedMSS)
        #expect(read.type == route.type)
        #expect(read.flags.contains(.onlink) == route.flags.contains(.onlink))
        #expect { try bench.connection.perform([.add(route, existing: .refuse)]) } throws: {
            ($0 as? NetlinkError)?.isPresence == true
        }
        try bench.connection.perform([.add(route, existing: .replace)])
        #expect(try bench.connection.routes(table: route.table, origin: .weft).count == 1)
        try bench.connection.perform([.delete(route)])
        #expect(try bench.connection.routes(table: route.table, origin: .weft).isEmpty)
        #expect { try bench.connection.perform([.delete(route)]) } throws: { ($0 as? NetlinkError)?.isAbsence == true }
    }

    @Test("a route of several ways keeps their gateways and weights")
    func multipath() throws {
        let bench = try Bench()
        try bench.connection.perform([
            .add(InterfaceAddress(device: bench.device, address: try bench.has("10.9.0.2/24")))
        ])
        let hops = [
            Route.NextHop(device: bench.device, gateway: IPAddress("10.9.0.3"), weight: 1),
            Route.NextHop(device: bench.device, gateway: IPAddress("10.9.0.4"), weight: 256),
        ]
        let route = Route(destination: try bench.has("10.5.0.0/16"), nextHops: hops)
        try bench.connection.perform([.add(route)])
        #expect(try bench.connection.routes(origin: .weft).first?.nextHops == hops)
        let shown = try bench.namespace.ip("route show 10.5.0.0/16").first?["nexthops"] as? [[String: Any]]
        #expect(shown?.compactMap { $0["weight"] as? Int } == [1, 256])
    }

    @Test("the kernel tells which route a packet would take")
    func lookup() throws {
        let bench = try Bench()
        try bench.connection.perform([
            .add(InterfaceAddress(device: bench.device, address: try bench.has("10.9.0.2/24"))),
            .add(Route(destination: try bench.has("10.5.0.0/16"), gateway: IPAddress("10.9.0.7"))),
        ])
        let route = try #require(try bench.connection.lookup(IPAddress(v4: 10, 5, 1, 1)))
        #expect(route.gateway == IPAddress("10.9.0.7"))
        #expect(route.device == bench.device)
        #expect(route.preferredSource == IPAddress("10.9.0.2"))
    }

    @Test("a permanent neighbour is made, moved and deleted", arguments: ["10.244.2.0", "fd00::2"])
    func neighbours(text: String) throws {
        let bench = try Bench()
        let address = try #require(IPAddress(text))
        let first = MACAddress(0x0E57_0000_0001)
        let second = MACAddress(0x0E57_0000_0002)
        try bench.connection.perform([.add(Neighbour(device: bench.device, address: address, hardwareAddress: first))])
        try bench.connection.perform([.add(Neighbour(device: bench.device, address: address, hardwareAddress: second))])
        let shown = try bench.namespace.ip("neigh show \(text)")
        #expect(shown.first?["lladdr"] as? String == second.description)
        #expect((shown.first?["state"] as? [String]) == ["PERMANENT"])
        let read = try bench.connection.neighbours(on: bench.device).filter { $0.address == address }
        #expect(read == [Neighbour(device: bench.device, address: address, hardwareAddress: second)])
        try bench.connection.perform([.delete(read[0])])
        #expect(try bench.connection.neighbours(on: bench.device).allSatisfy { $0.address != address })
    }

    @Test("a tunnel's forwarding entry is made, moved and deleted")
    func forwarding() throws {
        let bench = try Bench()
        try bench.connection.perform([
            .create(LinkSpec(name: "flannel.1", kind: .vxlan(.init(vni: 1, port: 8472)), isUp: true))
        ])
        let device = try #require(try bench.connection.link(named: "flannel.1")).index
        let mac = MACAddress(0x0E57_0000_0009)
        var entry = ForwardingEntry(device: device, hardwareAddress: mac, remote: IPAddress("172.30.0.12"))
        try bench.connection.perform([.add(entry)])
        entry.remote = IPAddress("172.30.0.13")
        try bench.connection.perform([.add(entry)])
        #expect(try bench.connection.forwardingEntries(on: device) == [entry])
        let shown = try bench.namespace.run("bridge fdb show dev flannel.1")
        #expect(shown.contains("\(mac) dst 172.30.0.13 self permanent"), "\(shown)")
        try bench.connection.perform([.delete(entry)])
        #expect(try bench.connection.forwardingEntries(on: device).isEmpty)
    }

    @Test("a bridge's forwarding entry is made on a port and deleted")
    func bridgeForwarding() throws {
        let bench = try Bench()
        try bench.connection.perform([.create(LinkSpec(name: "br0", kind: .bridge(.init()), isUp: true))])
        let bridge = try #require(try bench.connection.link(named: "br0")).index
        try bench.connection.perform([.change(bench.device, LinkChange(master: .link(bridge)))])
        let mac = MACAddress(0x0E57_0000_0008)
        let entry = ForwardingEntry(device: bench.device, hardwareAddress: mac, bridge: bridge, state: .noARP)
        try bench.connection.perform([.add(entry)])
        #expect(try bench.namespace.run("bridge fdb show dev eth0").contains("\(mac) master br0 static"))
        #expect(
            try bench.connection.forwardingEntries(on: bench.device).contains {
                $0.hardwareAddress == mac && $0.bridge == bridge
            })
        try bench.connection.perform([.delete(entry)])
        #expect(try !bench.namespace.run("bridge fdb show dev eth0").contains("\(mac)"))
    }

    @Test("a rule is added, listed and deleted")
    func rules() throws {
        let bench = try Bench()
        let rule = RoutingRule(
            family: .v4, priority: 100, source: try bench.has("10.244.0.0/16"), incomingInterface: "eth0", mark: 0x4000,
            markMask: 0xF000, table: RouteTable(rawValue: 100), suppressPrefixLength: 0)
        try bench.connection.perform([.add(rule)])
        let read = try #require(try bench.connection.rules(.v4).first { $0.priority == 100 })
        #expect(read == rule)
        let shown = try bench.namespace.ip("rule show").first { $0["priority"] as? Int == 100 }
        #expect(shown?["src"] as? String == "10.244.0.0")
        #expect(shown?["fwmark"] as? String == "0x4000")
        #expect(shown?["table"] as? String == "100")
        #expect { try bench.connection.perform([.add(rule)]) } throws: { ($0 as? NetlinkError)?.isPresence == true }
        try bench.connection.perform([.delete(rule)])
        #expect(try bench.connection.rules(.v4).allSatisfy { $0.priority != 100 })
    }

    @Test("a namespace is numbered, and the number found again")
    func namespaceIDs() throws {
        let here = try RouteNamespace().connection()
        let there = try RouteNamespace()
        #expect(try here.namespaceID(of: there.descriptor) == nil)
        try here.perform([.assignID(NamespaceID(rawValue: 7), toNamespace: there.descriptor)])
        #expect(try here.namespaceID(of: there.descriptor) == NamespaceID(rawValue: 7))
    }
}
