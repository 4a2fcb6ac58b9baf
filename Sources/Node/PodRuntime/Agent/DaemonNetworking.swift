import Bytes
import ClusterAPI
import PodNetwork

/// Pods' network from this process's own pod network daemon.
public struct DaemonNetworking: PodNetworking {
    private let daemon: PodNetworkDaemon

    /// The name of the interface in the pod, as CNI runtimes give it.
    static let interface = "eth0"

    public init(_ daemon: PodNetworkDaemon) { self.daemon = daemon }

    public func unavailable() async -> String? { await daemon.unreadiness() }

    public func attach(sandbox: String, namespace: String, pod: PodSpec) async throws -> [String] {
        let attachment = try await daemon.attach(
            AttachRequest(id: try id(sandbox), namespacePath: namespace, pod: pod.identity.key.description))
        return attachment.addresses.map(\.description)
    }

    public func detach(sandbox: String, namespace: String, pod: PodIdentity) async throws {
        try await daemon.detach(try id(sandbox))
    }

    private func id(_ sandbox: String) throws -> AttachmentID {
        guard let id = AttachmentID(containerID: sandbox, interface: Self.interface) else {
            throw SandboxError(description: "\"\(sandbox)\" is not a name that a sandbox may have")
        }
        return id
    }
}

/// A node without a pod network: only pods on the node's own network can run.
public struct NoNetworking: PodNetworking {
    public init() {}
    public func unavailable() async -> String? { "this node has no pod network (role pod-network is off)" }
    public func attach(sandbox: String, namespace: String, pod: PodSpec) async throws -> [String] {
        throw SandboxError(description: "this node has no pod network (role pod-network is off)")
    }
    public func detach(sandbox: String, namespace: String, pod: PodIdentity) async throws {}
}
