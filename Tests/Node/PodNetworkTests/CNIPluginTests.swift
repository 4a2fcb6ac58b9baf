import Bytes
import JSON
import Netlink
import Testing

@testable import PodNetwork

@Suite("The CNI plugin, on the kernel")
struct CNIPluginTests {
    private func call(
        _ command: String, _ container: String, _ pod: PodNamespace?, _ extra: [String: JSONValue],
        version: String = "1.1.0"
    ) -> CNICall {
        var configuration: JSONValue = ["cniVersion": .string(version), "name": "weft", "type": "weft-cni"]
        for (key, value) in extra { configuration[key] = value }
        return CNICall(
            command: command, containerID: container, namespacePath: pod?.path ?? "", interface: "eth0",
            arguments: "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart", configuration: configuration.encoded())
    }

    private func expectError(_ reply: CNIReply, _ code: Int64, sourceLocation: SourceLocation = #_sourceLocation) throws
    {
        #expect(!reply.succeeded, sourceLocation: sourceLocation)
        #expect(try JSONValue.parse(reply.output)["code"]?.int == code, sourceLocation: sourceLocation)
    }

    /// The life of an attachment, whoever acts.
    private func life(_ run: (CNICall) throws -> CNIReply, _ extra: [String: JSONValue], _ node: NodeNamespace) throws {
        let pod = try PodNamespace()
        let added = try run(call("ADD", "c1", pod, extra))
        #expect(added.succeeded, "\(String(decoding: added.output, as: UTF8.self))")
        let result = try JSONValue.parse(added.output)
        let address = try #require(result["ips"]?[0]?["address"]?.string.flatMap { CIDR($0) })
        let inside = try pod.connection()
        let device = try #require(try inside.link(named: "eth0"))
        #expect(try inside.addresses(on: device.index).contains { $0.address == address })

        var withResult = extra
        withResult["prevResult"] = result
        #expect(try run(call("CHECK", "c1", pod, withResult)).succeeded)
        #expect(try run(call("STATUS", "", nil, extra)).succeeded)
        try inside.perform([.change(device.index, LinkChange(isUp: false))])
        try expectError(run(call("CHECK", "c1", pod, withResult)), 101)
        try expectError(run(call("CHECK", "c2", pod, withResult)), 3)

        let other = try PodNamespace()
        #expect(try run(call("ADD", "c2", other, extra)).succeeded)
        var living = extra
        living["cni.dev/valid-attachments"] = [["containerID": "c2", "ifname": "eth0"]]
        #expect(try run(call("GC", "", nil, living)).succeeded)
        #expect(try inside.link(named: "eth0") == nil)
        #expect(try other.connection().link(named: "eth0") != nil)

        for _ in 0..<2 { #expect(try run(call("DEL", "c2", nil, withResult)) == CNIReply(output: [], succeeded: true)) }
        #expect(try node.connection().links().filter { $0.kind?.name == "veth" && $0.name != "eth0" }.isEmpty)
        let missing = CNICall(
            command: "ADD", containerID: "c3", namespacePath: "/nowhere", interface: "eth0",
            configuration: call("ADD", "c3", nil, extra).configuration)
        try expectError(run(missing), 3)
    }

    @Test("asks the daemon, and everything a runtime may ask for works")
    func throughDaemon() async throws {
        let node = try NodeNamespace("172.30.0.11")
        try node.link(to: NodeNamespace("172.30.0.12"))
        let daemon = try node.daemon("a", socket: true)
        let extra: [String: JSONValue] = ["socket": .string(node.stateDirectory + "/cni.sock")]
        try await daemon.start()
        try expectError(CNIPlugin.run(call("STATUS", "", nil, extra)), 50)
        let early = try PodNamespace()
        try expectError(CNIPlugin.run(call("ADD", "c0", early, extra)), 11)
        try await daemon.update(nodes: [
            NodeNetwork(name: "a", podCIDRs: [CIDR("10.244.0.0/24")!], address: node.address)
        ])
        try life({ CNIPlugin.run($0) }, extra, node)
        await daemon.stop()
        try expectError(CNIPlugin.run(call("STATUS", "", nil, extra)), 50)
        #expect(CNIPlugin.run(call("DEL", "c1", nil, extra)).succeeded)
    }

    @Test("does the work itself where no daemon runs and host-local's section says how")
    func standalone() throws {
        let node = try NodeNamespace("172.30.0.11")
        let extra: [String: JSONValue] = [
            "socket": .string(node.stateDirectory + "/none.sock"),
            "ipam": [
                "type": "host-local", "ranges": [[["subnet": "10.9.0.0/24"]]],
                "dataDir": .string(node.stateDirectory + "/ipam"),
            ],
        ]
        try life({ call in try node.namespace.inside { CNIPlugin.run(call) } }, extra, node)
    }

    @Test("many plugins at once give each pod an address of its own")
    func parallel() throws {
        let node = try NodeNamespace("172.30.0.11")
        let extra: [String: JSONValue] = [
            "socket": .string(node.stateDirectory + "/none.sock"),
            "ipam": ["subnet": "10.9.0.0/24", "dataDir": .string(node.stateDirectory + "/ipam")],
        ]
        let pods = try (0..<24).map { _ in try PodNamespace() }
        let calls = pods.enumerated().map { call("ADD", "c\($0)", $1, extra) }
        let replies = Replies(count: calls.count)
        // Each on a thread of its own, as processes would be.
        let threads = calls.indices.map { n in
            Worker { replies.set(n, try? node.namespace.inside { CNIPlugin.run(calls[n]) }) }
        }
        for thread in threads { thread.join() }
        let addresses = try replies.all.map { reply in
            try JSONValue.parse(try #require(reply).output)["ips"]?[0]?["address"]?.string
        }
        #expect(!addresses.contains(nil))
        #expect(Set(addresses).count == calls.count)
    }
}
