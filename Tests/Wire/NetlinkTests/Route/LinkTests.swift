import Bytes
import Foundation
import Testing

@testable import Netlink

@Suite("Links, as iproute2 sees them")
struct LinkTests {
    static let kinds: [(LinkSpec, [String: String])] = [
        (
            LinkSpec(name: "br7", kind: .bridge(.init(spanningTree: true, forwardDelay: 200)), mtu: 1400, isUp: true),
            ["info_kind": "bridge", "forward_delay": "200", "stp_state": "1"]
        ),
        (
            LinkSpec(
                name: "flannel.1",
                kind: .vxlan(.init(vni: 1, port: 8472, local: IPAddress(v4: 127, 0, 0, 1), learning: false)),
                hardwareAddress: MACAddress(0x0E57_0102_0304), isUp: true),
            ["info_kind": "vxlan", "id": "1", "port": "8472", "local": "127.0.0.1", "learning": "0"]
        ),
        (
            LinkSpec(name: "v6", kind: .vxlan(.init(vni: 16_777_215, port: 4789, local: IPAddress("fd00::1")))),
            ["info_kind": "vxlan", "id": "16777215", "local6": "fd00::1"]
        ),
        (
            LinkSpec(name: "a0", kind: .veth(peer: LinkSpec(name: "a1", mtu: 1300))),
            ["info_kind": "veth"]
        ),
    ]

    @Test("a link of each kind is made as asked for, read back the same, and deleted", arguments: kinds.indices)
    func lifeOfALink(row: Int) throws {
        let (spec, expected) = Self.kinds[row]
        let namespace = try RouteNamespace()
        let connection = try namespace.connection()
        try connection.perform([.create(spec)])

        let seen = try #require(try namespace.ip("link show \(spec.name)").first)
        let info = try #require(seen["linkinfo"] as? [String: Any])
        let data = info["info_data"] as? [String: Any] ?? [:]
        for (key, value) in expected {
            let found = key == "info_kind" ? info[key] : data[key]
            let text = (found as? NSNumber)?.stringValue ?? found as? String ?? "\(found ?? "absent")"
            #expect(text == value, "\(key)")
        }
        if let mtu = spec.mtu { #expect(seen["mtu"] as? Int == Int(mtu)) }
        if let mac = spec.hardwareAddress { #expect(seen["address"] as? String == mac.description) }
        #expect((seen["flags"] as? [String])?.contains("UP") == spec.isUp)

        let read = try #require(try connection.link(named: spec.name))
        #expect(read.kind?.name == spec.kind?.name)
        #expect(read.isUp == spec.isUp)
        if case .vxlan(let options) = spec.kind { #expect(read.kind == .vxlan(options)) }

        try connection.perform([.delete(link: read.index)])
        #expect(try connection.link(named: spec.name) == nil)
        #expect(try namespace.ip("link").count == 1)
    }

    @Test("a veth's other end is born in another namespace, named and addressed")
    func vethAcross() throws {
        let here = try RouteNamespace()
        let there = try RouteNamespace()
        let mac = MACAddress(0x0A58_0AF4_0005)
        let peer = LinkSpec(
            name: "eth0", index: InterfaceIndex(2), mtu: 1350, hardwareAddress: mac,
            namespace: there.descriptor)
        let connection = try here.connection()
        let answers = try connection.perform([
            .create(LinkSpec(name: "weft0", kind: .veth(peer: peer), mtu: 1350, isUp: true)), .get(linkNamed: "weft0"),
        ])
        let host = try #require(answers.links.first)
        #expect(host.linkNamespace != nil)
        let pod = try #require(try there.connection().link(named: "eth0"))
        #expect(pod.hardwareAddress == mac)
        #expect(pod.index == InterfaceIndex(2))
        try there.connection().perform([.change(pod.index, LinkChange(isUp: true))])
        #expect(try connection.link(named: "weft0")?.hasCarrier == true)
        #expect(host.link == pod.index)
        #expect(try there.ip("link show eth0").first?["operstate"] as? String == "UP")
    }

    @Test("a macvlan stands on its lower device")
    func macvlan() throws {
        let namespace = try RouteNamespace()
        let connection = try namespace.connection()
        try connection.perform([.create(LinkSpec(name: "a0", kind: .veth(peer: LinkSpec(name: "a1"))))])
        let lower = try #require(try connection.link(named: "a0"))
        try connection.perform([
            .create(LinkSpec(name: "mac0", kind: .macvlan(.init(mode: .bridge)), link: lower.index))
        ])
        let read = try #require(try connection.link(named: "mac0"))
        #expect(read.kind == .macvlan(.init(mode: .bridge)))
        #expect(read.link == lower.index)
        let info = try namespace.ip("link show mac0").first?["linkinfo"] as? [String: Any]
        #expect((info?["info_data"] as? [String: Any])?["mode"] as? String == "bridge")
    }

    @Test("every property of a link can be changed, and only what is named changes")
    func change() throws {
        let namespace = try RouteNamespace()
        let connection = try namespace.connection()
        try connection.perform([
            .create(LinkSpec(name: "br0", kind: .bridge(.init()), isUp: true)),
            .create(LinkSpec(name: "a0", kind: .veth(peer: LinkSpec(name: "a1")), mtu: 1450)),
        ])
        let bridge = try #require(try connection.link(named: "br0"))
        let link = try #require(try connection.link(named: "a0"))

        try connection.perform([.change(link.index, LinkChange(master: .link(bridge.index)))])
        #expect(try connection.link(named: "a0")?.master == bridge.index)
        #expect(try connection.link(named: "a0")?.isUp == false)
        #expect(try namespace.ip("link show a0").first?["master"] as? String == "br0")

        let mac = MACAddress(0x0200_0000_0009)
        try connection.perform([
            .change(
                link.index,
                LinkChange(
                    name: "b0", isUp: true, mtu: 1280, hardwareAddress: mac, alias: "x", master: LinkChange.Master.none)
            )
        ])
        let changed = try #require(try connection.link(named: "b0"))
        #expect(changed.index == link.index)
        #expect(changed.isUp)
        #expect(changed.mtu == 1280)
        #expect(changed.hardwareAddress == mac)
        #expect(changed.alias == "x")
        #expect(changed.master == nil)

        try connection.perform([.change(link.index, LinkChange(isUp: false))])
        #expect(try connection.link(named: "b0")?.isUp == false)

        let other = try RouteNamespace()
        try connection.perform([.change(link.index, LinkChange(namespace: other.descriptor))])
        #expect(try connection.link(named: "b0") == nil)
        #expect(try other.connection().link(named: "b0") != nil)
    }

    @Test("of requests sent together each has its own answer, and a failure between them stops none")
    func pipelined() throws {
        let connection = try RouteNamespace().connection()
        let results = try connection.results([
            .create(LinkSpec(name: "br1", kind: .bridge(.init()))),
            .create(LinkSpec(name: "br1", kind: .bridge(.init()))),
            .create(LinkSpec(name: "br2", kind: .bridge(.init()))),
            .delete(linkNamed: "nowhere"),
            .get(linkNamed: "br2"),
        ])
        #expect(throws: Never.self) { try results[0].get() }
        #expect { try results[1].get() } throws: { ($0 as? NetlinkError)?.isPresence == true }
        #expect { try results[3].get() } throws: { ($0 as? NetlinkError)?.isAbsence == true }
        #expect(try results[4].get().links.first?.name == "br2")
        #expect("\(try #require(throws: NetlinkError.self) { try results[1].get() })".contains("br1"))
    }

    @Test(
        "a link's name is judged as the kernel judges it",
        arguments: [
            ("eth0", true), ("", false), (".", false), ("..", false), ("a/b", false), ("a b", false), ("a:b", false),
            ("fifteen-bytes-1", true), ("sixteen-bytes-16", false), ("weft00a1b2c3d4e", true),
        ])
    func names(name: String, good: Bool) throws {
        #expect(isInterfaceName(name) == good)
        guard !name.isEmpty else { return }
        let connection = try RouteNamespace().connection()
        let result = try connection.results([.create(LinkSpec(name: name, kind: .bridge(.init())))])[0]
        #expect((try? result.get()) != nil ? good : !good)
    }
}
