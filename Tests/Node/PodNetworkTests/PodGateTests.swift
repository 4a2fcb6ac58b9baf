import Bytes
import JSON
import Netlink
import Synchronization
import Testing

@testable import PodNetwork

@Suite("Who lets pods in", .serialized)
struct PodGateTests {
    /// Writes down whom it is asked about; shut until it is opened.
    private final class ScriptedGate: PodGate {
        let state = Mutex((isOpen: false, admitted: [IPAddress](), released: [IPAddress]()))

        struct Shut: Error, CustomStringConvertible { let description = "the gate is shut" }

        func admit(_ attachment: PodAttachment) throws {
            try state.withLock {
                guard $0.isOpen else { throw Shut() }
                $0.admitted += attachment.addresses
            }
        }

        func release(_ attachment: PodAttachment) { state.withLock { $0.released += attachment.addresses } }

        /// Pods that were learned of.
        let known = Mutex<[String]>([])

        func prepare(_ request: AttachRequest) async throws {
            await Task.yield()
            guard request.pod != "shop/unknown" else { throw Shut() }
            known.withLock { $0.append(request.pod ?? "") }
        }

        var unreadiness: String? { state.withLock { $0.isOpen ? nil : "the gate is shut" } }
    }

    @Test(
        "a pod that is not let in has no link; one that is was let in before its address is told, and is let go with it"
    )
    func gate() async throws {
        let node = try NodeNamespace("172.30.0.11")
        let other = try NodeNamespace("172.30.0.12")
        try node.link(to: other)
        let gate = ScriptedGate()
        let daemon = try node.daemon("a", gate: gate)
        try await daemon.start()
        try await daemon.update(
            node: NodeNetwork(name: "a", podCIDRs: [try #require(CIDR("10.244.0.0/24"))], address: node.address))
        #expect(await daemon.unreadiness() == "the gate is shut")
        let pod = try PodNamespace()
        let id = try #require(AttachmentID(containerID: "c", interface: "eth0"))
        let request = AttachRequest(id: id, namespacePath: pod.path, pod: "shop/cart")
        let error = await #expect(throws: PodNetworkError.self) { try await daemon.attach(request) }
        #expect(error.map { "\($0)" }?.contains("the gate is shut") == true)
        #expect(try await daemon.attachments().isEmpty)
        #expect(try pod.connection().link(named: "eth0") == nil)

        gate.state.withLock { $0.isOpen = true }
        #expect(await daemon.unreadiness() == nil)
        let attachment = try await daemon.attach(request)
        #expect(gate.state.withLock { $0.admitted } == attachment.addresses)
        #expect(gate.known.withLock { $0 } == ["shop/cart", "shop/cart"])
        gate.state.withLock { $0.released = [] }
        try await daemon.detach(id)
        #expect(gate.state.withLock { $0.released } == attachment.addresses)
        await daemon.stop()
    }

    @Test("a runtime's call waits until the gate has learned of the pod, and is told to come again where it cannot")
    func calls() async throws {
        let node = try NodeNamespace("172.30.0.11")
        try node.link(to: NodeNamespace("172.30.0.12"))
        let gate = ScriptedGate()
        gate.state.withLock { $0.isOpen = true }
        let daemon = try node.daemon("a", socket: true, gate: gate)
        try await daemon.start()
        try await daemon.update(
            node: NodeNetwork(name: "a", podCIDRs: [try #require(CIDR("10.244.0.0/24"))], address: node.address))
        let pod = try PodNamespace()
        func add(_ name: String) -> CNIReply {
            let configuration: JSONValue = [
                "cniVersion": "1.1.0", "name": "pods", "type": "weft-cni",
                "socket": .string(node.stateDirectory + "/cni.sock"),
            ]
            return CNIPlugin.run(
                CNICall(
                    command: "ADD", containerID: "c-\(name)", namespacePath: pod.path, interface: "eth0",
                    arguments: "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=\(name)", configuration: configuration.encoded()))
        }
        let refused = add("unknown")
        #expect(!refused.succeeded)
        #expect(try JSONValue.parse(refused.output)["code"] == 11)
        #expect(gate.state.withLock { $0.admitted } == [])
        #expect(add("cart").succeeded)
        #expect(gate.known.withLock { $0 } == ["shop/cart"])
        #expect(gate.state.withLock { $0.admitted.count } == 1)
        await daemon.stop()
    }
}
