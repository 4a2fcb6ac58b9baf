import ClusterAPI
public import JSON
import MeshAPI

/// Gives pods their sidecar. Pure: the same in the API server's admission and behind a webhook.
public struct PodInjector: Sendable {
    public var settings: SidecarSettings

    public init(_ settings: SidecarSettings) { self.settings = settings }

    /// What became of a pod.
    public struct Outcome: Sendable, Equatable {
        /// Nil when the pod stays as it is.
        public var pod: JSONValue?
        /// Why it stays as it is; nil when it was injected.
        public var reason: String?
        /// For the person who makes the pod.
        public var warnings: [String] = []
    }

    /// - Parameters:
    ///   - namespace: the pod's; its own field may be empty yet.
    ///   - namespaceLabels: labels of the Namespace object.
    /// - Throws: `AnnotationError` when the pod asks for a sidecar in words that cannot be understood; it must not be made then.
    public func inject(
        _ pod: JSONValue, namespace: String, namespaceLabels: [String: String]
    ) throws(AnnotationError) -> Outcome {
        let object = KubeObject(json: pod)
        let (labels, annotations) = (object.labels, object.annotations)
        guard
            try InjectionWish(labels: labels, annotations: annotations, namespaceLabels: namespaceLabels) == .yes
        else { return Outcome(reason: "nothing asks for a sidecar") }
        if let obstacle = obstacle(pod, namespace) {
            return Outcome(reason: obstacle, warnings: ["no sidecar was injected: \(obstacle)"])
        }
        let own = Self.ownContainer(pod)
        if annotations[MeshName.status] != nil, own != nil { return Outcome(reason: "it has its sidecar already") }

        let chosen = Interception(settings.interception, annotations, namespaceLabels)
        let mesh = MeshAnnotations(annotations.merging(chosen.annotations) { own, _ in own })
        let plan = try CapturePlan(mesh)
        if plan.keepsClients, let level = Interception.forbidding(namespaceLabels) {
            throw AnnotationError(
                description:
                    "interceptionMode TPROXY gives the sidecar CAP_NET_ADMIN, which pod security \"\(level)\" of "
                    + "namespace \(namespace) forbids: use REDIRECT, or set \(Interception.level)=privileged on the namespace"
            )
        }
        let workload = Workload(pod: pod)
        let app = labels["app.kubernetes.io/name"] ?? labels["app"] ?? workload.name
        let container = SidecarContainer(
            settings: settings, annotations: mesh,
            bootstrap: SidecarBootstrap(
                labels: labels, annotations: Self.told(annotations), workload: workload, namespace: namespace,
                serviceAccount: pod["spec"]?["serviceAccountName"]?.string ?? "default",
                clusterDomain: settings.clusterDomain, interception: plan.mode,
                containers: (pod["spec"]?["containers"]?.array ?? []).compactMap { $0["name"]?.string }
                    .filter { $0 != MeshName.container }),
            cluster: "\(app).\(namespace)")
        let injected = try Self.put(try container.json(), over: own, into: pod, annotations: chosen.annotations)
        return Outcome(pod: injected, warnings: chosen.warnings + warnings(pod, mesh))
    }

    /// Why a pod that asks for a sidecar cannot have one.
    private func obstacle(_ pod: JSONValue, _ namespace: String) -> String? {
        if pod["spec"]?["hostNetwork"]?.bool == true {
            return "the pod is on the node's network (hostNetwork), whose traffic is not the pod's alone"
        }
        if settings.spared.contains(namespace) { return "pods of namespace \(namespace) are never injected" }
        return nil
    }

    private func warnings(_ pod: JSONValue, _ annotations: MeshAnnotations) -> [String] {
        var warnings: [String] = []
        let users =
            [pod["spec"]?["securityContext"]?["runAsUser"]]
            + (pod["spec"]?["containers"]?.array ?? []).filter { $0["name"]?.string != MeshName.container }
            .map { $0["securityContext"]?["runAsUser"] }
        if users.contains(where: { $0?.int == Int64(MeshName.user) }) {
            warnings.append("user \(MeshName.user) is the sidecar's: what a container of it sends is not captured")
        }
        let known = CapturePlan.settings.union(SidecarContainer.names)
        for name in annotations.unknown(besides: known) { warnings.append("annotation \(name) has no effect here") }
        return warnings
    }

    /// Annotations that proxies are told; not what tools keep there for themselves, which can be as large as the pod.
    private static func told(_ annotations: [String: String]) -> [String: String] {
        annotations.filter {
            $0.key != MeshName.status
                && ($0.key.contains("istio.io/") || $0.key.hasPrefix(MeshAnnotations.prefix))
        }
    }

    // MARK: Into the pod

    /// A container of the user's that has the sidecar's name: what it says goes over what we would say.
    private static func ownContainer(_ pod: JSONValue) -> JSONValue? {
        for field in ["initContainers", "containers"] {
            for container in pod["spec"]?[field]?.array ?? [] where container["name"]?.string == MeshName.container {
                return container
            }
        }
        return nil
    }

    private static func put(
        _ container: JSONValue, over own: JSONValue?, into pod: JSONValue, annotations added: [String: String]
    ) throws(AnnotationError) -> JSONValue {
        var (pod, container) = (pod, container)
        if var own {
            // "auto" is Istio's word for "yours".
            if own["image"]?.string == "auto" { own["image"] = nil }
            container = try merge(own, over: container)
        }
        let spec = pod["spec"]
        func others(_ field: String) -> [JSONValue] {
            (spec?[field]?.array ?? []).filter { $0["name"]?.string != MeshName.container }
        }
        let volumes = (spec?["volumes"]?.array ?? []).filter {
            ![MeshName.volume, MeshName.stateVolume].contains($0["name"]?.string)
        }
        var changed = spec ?? .object(JSONObject())
        // First, so that init containers have their network as well.
        changed["initContainers"] = .array([container] + others("initContainers"))
        changed["containers"] = .array(others("containers"))
        changed["volumes"] = .array(volumes + SidecarContainer.volumes)
        pod["spec"] = changed
        let status: JSONValue = [
            "initContainers": [.string(MeshName.container)],
            "volumes": [.string(MeshName.volume), .string(MeshName.stateVolume)],
            "image": container["image"] ?? "",
        ]
        var annotations = pod["metadata"]?["annotations"] ?? .object(JSONObject())
        for (name, value) in added { annotations[name] = .string(value) }
        annotations[MeshName.status] = .string(status.encodedString())
        var metadata = pod["metadata"] ?? .object(JSONObject())
        metadata["annotations"] = annotations
        pod["metadata"] = metadata
        return pod
    }

    /// As `kubectl patch` would lay it over.
    private static func merge(_ own: JSONValue, over container: JSONValue) throws(AnnotationError) -> JSONValue {
        do {
            let merged = try StrategicMergePatch.apply(
                ["spec": ["initContainers": [own]]], to: ["spec": ["initContainers": [container]]],
                of: GroupVersionKind(group: "", version: "v1", kind: "Pod"), schema: .shared)
            return merged["spec"]?["initContainers"]?[0] ?? container
        } catch {
            throw AnnotationError(description: "container \(MeshName.container): \(error)")
        }
    }
}
