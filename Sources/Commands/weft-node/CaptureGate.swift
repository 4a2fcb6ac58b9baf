import ClusterAPI
import ClusterClient
import JSON
import MeshAPI
import MeshNode
import PodNetwork
import PodRuntime
import Synchronization

/// Has a meshed pod's connections under its sidecar before its link is handed over, and so before anything of it runs.
final class CaptureGate: PodGate {
    private let client: KubeClient
    /// Plans of pods that are about to be attached.
    private let plans = Mutex<[ObjectKey: CapturePlan?]>([:])

    init(_ client: KubeClient) { self.client = client }

    /// This node's own kubelet knows the pod; nobody has to be asked.
    func expect(_ pod: PodSpec) throws {
        let plan = pod.hostNetwork ? nil : try pod.capturePlan
        plans.withLock { $0[pod.identity.key] = .some(plan) }
    }

    func prepare(_ request: AttachRequest) async throws {
        guard let key = request.podKey, plans.withLock({ $0[key] }) == nil else { return }
        // A pod of another kubelet's: what the API server says of it holds. One that it does not know has no sidecar.
        let pod = try await client.find(.pods, key)
        let plan = try pod.flatMap { pod throws(AnnotationError) in
            let spec = pod.json["spec"]
            let containers = (spec?["initContainers"]?.array ?? []) + (spec?["containers"]?.array ?? [])
            return try CapturePlan.of(
                annotations: pod.annotations, containers: containers.compactMap { $0["name"]?.string })
        }
        plans.withLock { $0[key] = .some(plan) }
    }

    func admit(_ attachment: PodAttachment) throws {
        guard let key = attachment.podKey, let plan = plans.withLock({ $0.removeValue(forKey: key) }) ?? nil else {
            return
        }
        try PodCapture.install(
            plan, namespace: attachment.namespacePath,
            hasIPv6: attachment.addresses.contains { $0.family == .v6 })
    }

    /// The rules go with the pod's namespace.
    func release(_ attachment: PodAttachment) {
        guard let key = attachment.podKey else { return }
        plans.withLock { _ = $0.removeValue(forKey: key) }
    }

    var unreadiness: String? { nil }
}

extension PodSpec {
    /// How its connections are captured; nil for a pod without a sidecar.
    var capturePlan: CapturePlan? {
        get throws(AnnotationError) {
            try CapturePlan.of(annotations: annotations, containers: (initContainers + containers).map(\.name))
        }
    }
}

extension AttachRequest {
    /// Nil for what is no pod of Kubernetes.
    var podKey: ObjectKey? { ObjectKey(attached: pod) }
}

extension PodAttachment {
    /// Nil for what is no pod of Kubernetes.
    var podKey: ObjectKey? { ObjectKey(attached: pod) }
}

extension ObjectKey {
    /// From "namespace/name", as attachments name their pods.
    init?(attached pod: String?) {
        let parts = (pod ?? "").split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else { return nil }
        self.init(namespace: String(parts[0]), name: String(parts[1]))
    }
}

/// Tells the gate of a pod before it is attached.
struct CapturedNetworking: PodNetworking {
    let network: any PodNetworking
    let gate: CaptureGate

    func unavailable() async -> String? { await network.unavailable() }

    func attach(sandbox: String, namespace: String, pod: PodSpec) async throws -> [String] {
        try gate.expect(pod)
        return try await network.attach(sandbox: sandbox, namespace: namespace, pod: pod)
    }

    func detach(sandbox: String, namespace: String, pod: PodIdentity) async throws {
        try await network.detach(sandbox: sandbox, namespace: namespace, pod: pod)
    }
}
