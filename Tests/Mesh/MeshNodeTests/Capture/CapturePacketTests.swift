import MeshAPI
import MeshNode
import TestSupport
import Testing

/// Real packets through real namespaces; the sidecar is a server that says what it was given.
@Suite("Capture of a pod's connections", .serialized)
struct CapturePacketTests {
    typealias Family = CaptureLab.Family
    private let lab: CaptureLab
    /// One for all: each test says what is captured.
    private static let shared = Result { try CaptureLab() }

    init() throws {
        lab = try Self.shared.get()
        try lab.capture(plan(["mesh.weft.dev/interceptionMode": "NONE"]))
    }

    private func plan(_ annotations: [String: String]) throws -> CapturePlan {
        try CapturePlan(MeshAnnotations(annotations))
    }

    private func pod(_ family: Family) -> String { CaptureLab.Place.pod.address(family) }
    private func world(_ family: Family) -> String { CaptureLab.Place.world.address(family) }

    @Test("what is captured, and what is not", arguments: Family.allCases)
    func standard(_ family: Family) throws {
        try lab.capture(CapturePlan())
        let (pod, world, sidecar) = (pod(family), world(family), MeshName.user)
        func out(_ port: UInt16, as user: UInt32 = CaptureLab.appUser) throws -> String {
            try lab.ask(.pod, as: user, world, port)
        }
        #expect(
            try out(80) == "15001 \(world),80 \(pod)", "an app's connection goes to the sidecar, with its destination")
        #expect(try out(9000) == "15001 \(world),9000 \(pod)")
        #expect(
            try out(80, as: sidecar) == "80 - \(pod)",
            "the sidecar's own does not come back")
        #expect(try out(53).hasPrefix("53 "), "names are asked for directly")
        #expect(
            try lab.ask(.world, pod, 8080) == "15006 \(pod),8080 \(world)",
            "what comes in goes to the sidecar, and keeps its client")
        for port: UInt16 in [15021, 15090] {
            #expect(try lab.ask(.world, pod, port).hasPrefix("\(port) "), "the sidecar's own pages")
        }
        for port: UInt16 in [15001, 15006] {
            #expect(try lab.ask(.world, pod, port, patience: 1) == "no", "the sidecar cannot be made to call itself")
        }
        let loopback = CaptureLab.loopback(family)
        #expect(try lab.ask(.pod, loopback, 8080).hasPrefix("8080 "), "containers of a pod speak with each other")
        #expect(try lab.ask(.pod, pod, 8080).hasPrefix("8080 "))
    }

    @Test(
        "a call to oneself through a Service passes the sidecar twice, and reaches the app", arguments: Family.allCases)
    func selfCall(_ family: Family) throws {
        try lab.capture(CapturePlan())
        let (pod, service, sidecar) = (pod(family), CaptureLab.service(family), MeshName.user)
        #expect(try lab.ask(.pod, service, 80) == "15001 \(service),80 \(pod)")
        #expect(try lab.ask(.pod, as: sidecar, pod, 8080) == "15006 \(pod),8080 \(pod)")
        let own = CaptureLab.own(family)
        #expect(try lab.ask(.pod, as: sidecar, pod, 8080, from: own).hasPrefix("8080 "))
        #expect(try lab.ask(.pod, as: sidecar, CaptureLab.loopback(family), 8080).hasPrefix("8080 "))
    }

    @Test("UDP is left alone, out and in", arguments: Family.allCases)
    func datagrams(_ family: Family) throws {
        try lab.capture(CapturePlan())
        #expect(try lab.ask(.pod, over: "udp", world(family), 80) == "80 udp \(pod(family))")
        #expect(try lab.ask(.world, over: "udp", pod(family), 8080) == "8080 udp \(world(family))")
    }

    @Test("ports and ranges are excluded by annotation", arguments: Family.allCases)
    func exclusions(_ family: Family) throws {
        let neighbour = CaptureLab.Place.neighbour.address(family)
        try lab.capture(
            plan([
                "traffic.sidecar.istio.io/excludeOutboundPorts": "443, 8000-8100,8050-8090",
                "traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.244.1.6/32,fd00:1::6",
                "traffic.sidecar.istio.io/excludeInboundPorts": "9000",
            ]))
        let (pod, world) = (pod(family), world(family))
        #expect(try lab.ask(.pod, world, 443).hasPrefix("443 "))
        #expect(try lab.ask(.pod, world, 8080).hasPrefix("8080 "))
        #expect(try lab.ask(.pod, world, 80).hasPrefix("15001 "))
        #expect(try lab.ask(.pod, neighbour, 80).hasPrefix("80 "))
        #expect(try lab.ask(.world, pod, 9000).hasPrefix("9000 "))
        #expect(try lab.ask(.world, pod, 8080).hasPrefix("15006 "))
    }

    @Test("only what is listed is captured where something is listed", arguments: Family.allCases)
    func inclusions(_ family: Family) throws {
        let neighbour = CaptureLab.Place.neighbour.address(family)
        try lab.capture(
            plan([
                "mesh.weft.dev/includeOutboundIPRanges": "10.244.1.6/32,fd00:1::6/128",
                "mesh.weft.dev/includeOutboundPorts": "443", "mesh.weft.dev/includeInboundPorts": "8080",
                "mesh.weft.dev/excludeOutboundPorts": "9000",
            ]))
        let (pod, world) = (pod(family), world(family))
        #expect(try lab.ask(.pod, world, 80).hasPrefix("80 "))
        #expect(try lab.ask(.pod, world, 443).hasPrefix("15001 "), "a listed port is captured whatever its address")
        #expect(try lab.ask(.pod, neighbour, 80).hasPrefix("15001 "))
        #expect(try lab.ask(.pod, neighbour, 9000).hasPrefix("9000 "), "exclusion wins")
        #expect(try lab.ask(.world, pod, 8080).hasPrefix("15006 "))
        #expect(try lab.ask(.world, pod, 80).hasPrefix("80 "))
    }

    @Test("nothing is captured where a list is empty, or capture is off", arguments: Family.allCases)
    func nothing(_ family: Family) throws {
        let (pod, world) = (pod(family), world(family))
        try lab.capture(CapturePlan())
        for annotations in [
            ["mesh.weft.dev/includeOutboundIPRanges": "", "mesh.weft.dev/includeInboundPorts": ""],
            ["sidecar.istio.io/interceptionMode": "NONE"],
        ] {
            try lab.capture(plan(annotations))
            #expect(try lab.ask(.pod, world, 80).hasPrefix("80 "))
            #expect(try lab.ask(.world, pod, 8080).hasPrefix("8080 "))
        }
        let tables = try lab.run(.pod, "nft list tables")
        #expect(!tables.contains("weft_mesh"))
    }

    @Test("connections that are open go on when capture begins, and when it is set again", arguments: Family.allCases)
    func established(_ family: Family) throws {
        let (pod, world) = (pod(family), world(family))
        let before = try [lab.talk(.pod, world, 80), lab.talk(.world, pod, 8080)]
        defer { for talk in before { talk.end() } }
        for (talk, port) in zip(before, ["80", "8080"]) { #expect(try talk.ask("go").hasPrefix("\(port) ")) }
        try lab.capture(CapturePlan())
        let captured = try lab.talk(.pod, world, 80)
        defer { captured.end() }
        #expect(try captured.ask("go").hasPrefix("15001 "))
        let rules = try lab.run(.pod, "nft list table inet weft_mesh")
        try lab.capture(CapturePlan())
        #expect(try lab.run(.pod, "nft list table inet weft_mesh") == rules)
        for (talk, port) in zip(before, ["80", "8080"]) { #expect(try talk.ask("go").hasPrefix("\(port) ")) }
        #expect(try captured.ask("go").hasPrefix("15001 "))
        #expect(try lab.ask(.pod, world, 80).hasPrefix("15001 "))
    }

    @Test(
        "the node's probes reach the app itself; who pretends to be the node reaches nobody", arguments: Family.allCases
    )
    func probes(_ family: Family) throws {
        try lab.capture(CapturePlan())
        let (pod, probe) = (pod(family), CaptureLab.probe(family))
        #expect(
            try lab.ask(.node, pod, 8080, from: probe)
                == "8080 \(pod),8080 \(probe)")
        #expect(try lab.ask(.node, pod, 8080).hasPrefix("15006 "), "other calls of the node's are captured")
        for place in [CaptureLab.Place.neighbour, .world] {
            try lab.run(
                place, "ip addr add \(probe)/\(family == .v4 ? 32 : 128) dev lo \(family == .v6 ? "nodad" : "")")
            #expect(try lab.ask(place, pod, 8080, from: probe, patience: 1) == "no")
            #expect(try lab.ask(place, pod, 8080).hasPrefix("15006 "))
        }
    }

    @Test(
        "under TPROXY nothing is rewritten coming in, nobody passes a sidecar that does not take it, and again is the same"
    )
    func transparent() throws {
        let transparent = try plan(["sidecar.istio.io/interceptionMode": "TPROXY"])
        try lab.capture(transparent)
        let commands = [
            "nft list table inet weft_mesh", "ip rule list", "ip -6 rule list", "ip route list table 133",
            "ip -6 route list table 133",
        ]
        let state = try commands.map { try lab.run(.pod, $0) }
        for words in [
            "tproxy to :15006", "reject with tcp reset", "ct mark set", "type route hook output priority mangle",
            "meta skgid 1337", "redirect to :15001",
        ] { #expect(state[0].contains(words), "\(words) in \(state[0])") }
        for rules in state[1...2] { #expect(rules.contains("fwmark 0x539 lookup 133"), "\(rules)") }
        for routes in state[3...4] { #expect(routes.contains("local default dev lo"), "\(routes)") }
        try lab.capture(transparent)
        #expect(try commands.map { try lab.run(.pod, $0) } == state)
        // The lab's sidecar listens as an ordinary server does.
        for family in Family.allCases {
            let (pod, world) = (pod(family), world(family))
            #expect(try lab.ask(.world, pod, 8080) == "refused")
            #expect(try lab.ask(.world, pod, 15021).hasPrefix("15021 "))
            #expect(try lab.ask(.node, pod, 8080, from: CaptureLab.probe(family)).hasPrefix("8080 "))
            #expect(try lab.ask(.pod, pod, 8080).hasPrefix("8080 "))
            #expect(try lab.ask(.pod, world, 80) == "15001 \(world),80 \(pod)")
            #expect(try lab.ask(.pod, as: MeshName.user, world, 80).hasPrefix("80 "))
            #expect(
                try lab.ask(.pod, as: MeshName.user, pod, 8080) == "refused", "a call to itself is taken as any other")
            #expect(try lab.ask(.world, over: "udp", pod, 8080) == "8080 udp \(world)")
        }
    }

    @Test("nft prints the table in words")
    func printed() throws {
        try lab.capture(plan(["mesh.weft.dev/excludeOutboundPorts": "3306,8000-8010"]))
        let text = try lab.run(.pod, "nft list table inet weft_mesh")
        for words in [
            "redirect to :15001", "redirect to :15006", "meta skuid 1337", "3306, 8000-8010", "tcp dport 53 return",
            "tcp dport @outbound-ports-excluded", "type nat hook prerouting priority dstnat",
        ] { #expect(text.contains(words), "\(words) in \(text)") }
    }
}
