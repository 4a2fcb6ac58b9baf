import Bytes
import Netlink
import Testing

@testable import PodNetwork

@Suite("The pod network of two nodes, on the kernel")
struct PodNetworkDaemonTests {
    /// Two nodes on one Ethernet, a daemon and a pod on each.
    final class Pair {
        let nodes: [NodeNamespace]
        let daemons: [PodNetworkDaemon]
        let pods: [PodNamespace]
        private(set) var addresses: [IPAddress] = []

        init(_ backend: Backend, socket: Bool = false) throws {
            nodes = [try NodeNamespace("172.30.0.11"), try NodeNamespace("172.30.0.12")]
            try nodes[0].link(to: nodes[1])
            daemons = try nodes.enumerated().map { try $1.daemon("node-\($0)", backend: backend, socket: socket) }
            pods = [try PodNamespace(), try PodNamespace()]
        }

        func picture() async throws -> [NodeNetwork] {
            var all: [NodeNetwork] = []
            for (n, daemon) in daemons.enumerated() {
                let annotations = try await daemon.annotations()
                all.append(
                    NodeNetwork(
                        name: "node-\(n)", podCIDRs: [CIDR("10.244.\(n).0/24")!], address: nodes[n].address,
                        tunnel: FlannelAnnotations.tunnel { annotations[$0] }))
            }
            return all
        }

        func start() async throws {
            for daemon in daemons { try await daemon.start() }
            let picture = try await picture()
            for daemon in daemons { try await daemon.update(nodes: picture) }
            for (n, daemon) in daemons.enumerated() {
                let id = AttachmentID(containerID: "pod\(n)", interface: "eth0")!
                addresses += try await daemon.attach(AttachRequest(id: id, namespacePath: pods[n].path)).addresses
            }
        }

        func stop() async { for daemon in daemons { await daemon.stop() } }

        func talk() throws {
            #expect(try pods[0].reaches(addresses[1], in: pods[1]) == addresses[0])
            #expect(try pods[1].reaches(addresses[0], in: pods[0]) == addresses[1])
        }
    }

    @Test(
        "pods of different nodes reach each other under their own addresses", arguments: [Backend.vxlan, .hostGateway])
    func acrossNodes(backend: Backend) async throws {
        let pair = try Pair(backend)
        try await pair.start()
        try pair.talk()
        let routes = try pair.nodes[0].connection()
        if backend == .vxlan {
            let device = try #require(try routes.link(named: "flannel.1"))
            #expect(device.mtu == 1450)
            #expect(try routes.addresses(on: device.index).contains { $0.address == CIDR("10.244.0.0/32") })
            #expect(
                try routes.routes(origin: .weft).contains {
                    $0.destination == CIDR("10.244.1.0/24") && $0.flags.contains(.onlink)
                })
        } else {
            #expect(try routes.link(named: "flannel.1") == nil)
        }
        await pair.stop()
        // What carries packets outlives the daemon.
        try pair.talk()
    }

    @Test(
        "whatever others delete comes back",
        arguments: [
            "route", "pod route", "neighbour", "forwarding", "tunnel", "tunnel down", "tunnel address", "pod link",
            "pod link down", "foreign route in its place", "replaced by another program",
        ])
    func repair(what: String) async throws {
        let pair = try Pair(.vxlan)
        try await pair.start()
        try pair.talk()
        let routes = try pair.nodes[0].connection()
        let device = try #require(try routes.link(named: "flannel.1"))
        let pod = try #require(
            try routes.routes(origin: .weft).first { $0.destination == CIDR(host: pair.addresses[0]) }?.device)
        let prefix = try #require(CIDR("10.244.1.0/24"))
        switch what {
        case "route":
            try routes.perform([.delete(Route(destination: prefix, device: device.index, gateway: prefix.address))])
        case "pod route": try routes.perform([.delete(Route(destination: CIDR(host: pair.addresses[0]), device: pod))])
        case "neighbour":
            let all = try routes.neighbours(on: device.index).filter { $0.address == prefix.address }
            #expect(all.count == 1)
            try routes.perform(all.map { .delete($0) })
        case "forwarding":
            let all = try routes.forwardingEntries(on: device.index)
            #expect(all.count == 1)
            try routes.perform(all.map { .delete($0) })
        case "tunnel": try routes.perform([.delete(link: device.index)])
        case "tunnel down": try routes.perform([.change(device.index, LinkChange(isUp: false))])
        case "tunnel address":
            try routes.perform([.delete(InterfaceAddress(device: device.index, address: CIDR("10.244.0.0/32")!))])
        case "pod link": try routes.perform([.delete(link: pod)])
        case "pod link down": try routes.perform([.change(pod, LinkChange(isUp: false))])
        case "replaced by another program":
            try routes.perform([.add(Route(destination: prefix, origin: .staticRoute, type: .blackhole))])
        default:
            try routes.perform([.add(Route(destination: prefix, origin: .weft, type: .blackhole))])
        }
        try eventually("node 0 is as it was after: \(what)") {
            guard let device = try routes.link(named: "flannel.1"), device.isUp else { return false }
            let all = try routes.routes(origin: .weft)
            return try all.contains {
                $0.destination == prefix && $0.device == device.index && $0.flags.contains(.onlink)
            }
                && all.contains { $0.destination == CIDR(host: pair.addresses[0]) && $0.device != nil }
                && (try routes.neighbours(on: device.index)).contains {
                    $0.address == prefix.address && $0.state == .permanent
                }
                && (try routes.forwardingEntries(on: device.index)).count == 1
                && (try routes.addresses(on: device.index)).contains { $0.address == CIDR("10.244.0.0/32") }
        }
        try pair.talk()
        await pair.stop()
    }

    @Test("a node that leaves takes its ways along; one that changes its tunnel is followed")
    func nodesChange() async throws {
        let pair = try Pair(.vxlan)
        try await pair.start()
        let routes = try pair.nodes[0].connection()
        let device = try #require(try routes.link(named: "flannel.1")).index
        var picture = try await pair.picture()
        let moved = MACAddress(0x0E57_0000_0099)
        picture[1].tunnel?.hardwareAddress = moved
        try await pair.daemons[0].update(nodes: picture)
        #expect(try routes.forwardingEntries(on: device).map(\.hardwareAddress) == [moved])
        #expect(try routes.neighbours(on: device).contains { $0.hardwareAddress == moved })

        try await pair.daemons[0].remove(node: "node-1")
        #expect(try routes.forwardingEntries(on: device).isEmpty)
        #expect(try !routes.routes(origin: .weft).contains { $0.destination == CIDR("10.244.1.0/24") })
        // Its own pods and prefix stay.
        #expect(try routes.routes(origin: .weft).count == 2)
        await pair.stop()
    }

    @Test("a successor changes nothing that is right")
    func restart() async throws {
        let pair = try Pair(.vxlan)
        try await pair.start()
        let picture = try await pair.picture()
        await pair.daemons[0].stop()
        let seen = try NetlinkSubscription(
            .route, groups: [RouteGroup.link, .routeV4, .neighbour, .addressV4].map(\.rawValue),
            namespace: pair.nodes[0].namespace.descriptor)
        let successor = try pair.nodes[0].daemon("node-0")
        try await successor.start()
        try await successor.update(nodes: picture)
        var events: [RouteEvent] = []
        try seen.drain { notification in
            guard case .message(let message) = notification,
                let event = RouteEvent(type: message.type, payload: message.payload)
            else { return }
            // The stack ages dynamic neighbours by itself.
            if case .neighbour = event { return }
            events.append(event)
        }
        #expect(events.isEmpty, "\(events)")
        #expect(try await successor.attachments().count == 1)
        try pair.talk()
        await successor.stop()
        await pair.daemons[1].stop()
    }

    @Test("a second daemon on the same node is refused")
    func second() async throws {
        let node = try NodeNamespace("172.30.0.11")
        let other = try NodeNamespace("172.30.0.12")
        try node.link(to: other)
        let first = try node.daemon("a")
        try await first.start()
        let second = try node.daemon("a")
        await #expect(throws: (any Error).self) { try await second.start() }
        await second.stop()
        await first.stop()
    }

    @Test("a node whose address no interface has is told so")
    func noUnderlay() async throws {
        let node = try NodeNamespace("172.30.0.11")
        let daemon = try node.daemon("a")
        let error = await #expect(throws: PodNetworkError.self) { try await daemon.start() }
        #expect(error.map { "\($0)" }?.contains("172.30.0.11") == true)
        await daemon.stop()
    }

    @Test("without a prefix no pod is attached, and the condition says why")
    func notReady() async throws {
        let node = try NodeNamespace("172.30.0.11")
        let other = try NodeNamespace("172.30.0.12")
        try node.link(to: other)
        let daemon = try node.daemon("a")
        #expect(await daemon.unreadiness() != nil)
        try await daemon.start()
        #expect(await daemon.unreadiness()?.contains("podCIDR") == true)
        let pod = try PodNamespace()
        let request = AttachRequest(id: AttachmentID(containerID: "c", interface: "eth0")!, namespacePath: pod.path)
        await #expect(throws: PodNetworkError.self) { try await daemon.attach(request) }
        try await daemon.update(node: NodeNetwork(name: "a", podCIDRs: [CIDR("10.244.0.0/24")!], address: node.address))
        #expect(await daemon.unreadiness() == nil)
        #expect(try await daemon.attach(request).addresses.count == 1)
        await daemon.stop()
    }

    @Test("pods leave the cluster under the node's address, and keep their own within it, also after nft flush ruleset")
    func masquerade() async throws {
        let pair = try Pair(.vxlan)
        try await pair.start()
        // Somebody outside: a namespace with a cable to node 0, who knows no way to pods.
        let outside = try PodNamespace()
        let routes = try pair.nodes[0].connection()
        try routes.perform([
            .create(
                LinkSpec(
                    name: "out0", kind: .veth(peer: LinkSpec(name: "eth0", namespace: outside.namespace.descriptor))))
        ])
        let inside = try outside.connection()
        let (near, far) = (
            try #require(try routes.link(named: "out0")).index, try #require(try inside.link(named: "eth0")).index
        )
        try routes.perform([
            .change(near, LinkChange(isUp: true)), .add(InterfaceAddress(device: near, address: CIDR("192.0.2.1/24")!)),
        ])
        try inside.perform([
            .change(far, LinkChange(isUp: true)), .add(InterfaceAddress(device: far, address: CIDR("192.0.2.2/24")!)),
        ])
        #expect(try pair.pods[0].reaches(IPAddress("192.0.2.2")!, in: outside) == IPAddress("192.0.2.1"))
        try pair.talk()

        let nft = try NFTablesConnection(namespace: pair.nodes[0].namespace.descriptor)
        var batch = NFBatch()
        batch.delete(Masquerade.table)
        try nft.commit(batch)
        try eventually("the table is back") { try nft.table(Masquerade.table) != nil }
        // Another port: the kernel goes on translating a flow that it knows.
        #expect(
            try pair.pods[0].reaches(IPAddress("192.0.2.2")!, in: outside, port: 7778) == IPAddress("192.0.2.1"))
        await pair.stop()
        #expect(try nft.table(Masquerade.table) != nil)
    }
}
