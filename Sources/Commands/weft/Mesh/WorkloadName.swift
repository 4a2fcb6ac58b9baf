import ClusterAPI
import ClusterClient
import JSON
import MeshAPI

/// How people name pods: `[NAMESPACE/][KIND/]NAME`, where KIND is pod, deployment, statefulset, daemonset, replicaset, job or service, in
/// full or as kubectl shortens them. Without a kind a pod is meant, else a workload, else a Service, of that name.
struct WorkloadName: Hashable, Sendable {
    enum Kind: String, CaseIterable, Sendable {
        case pod = "Pod"
        case deployment = "Deployment"
        case statefulSet = "StatefulSet"
        case daemonSet = "DaemonSet"
        case replicaSet = "ReplicaSet"
        case job = "Job"
        case service = "Service"

        init?(_ text: String) {
            let shortened = [
                "po": Kind.pod, "deploy": .deployment, "sts": .statefulSet, "ds": .daemonSet, "rs": .replicaSet,
                "svc": .service,
            ]
            var word = text.lowercased()
            if let kind = shortened[word] {
                self = kind
                return
            }
            if word.hasSuffix("s") { word.removeLast() }
            guard let kind = Kind.allCases.first(where: { $0.rawValue.lowercased() == word }) else { return nil }
            self = kind
        }
    }

    var namespace: String
    var kind: Kind?
    var name: String

    /// - Throws: `Refusal` for what has no such form.
    init(_ text: String, namespace fallback: String) throws {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.allSatisfy({ !$0.isEmpty }) else { throw Self.malformed(text) }
        (namespace, name) = (fallback, parts[parts.count - 1])
        switch parts.count {
        case 1:
            // `POD.NAMESPACE` is how istioctl prints them; a namespace has no dot.
            if let dot = name.lastIndex(of: "."), dot != name.startIndex {
                namespace = String(name[name.index(after: dot)...])
                name = String(name[..<dot])
            }
        case 2:
            if let kind = Kind(parts[0]) { self.kind = kind } else { namespace = parts[0] }
        case 3:
            namespace = parts[0]
            guard let kind = Kind(parts[1]) else { throw Self.malformed(text) }
            self.kind = kind
        default: throw Self.malformed(text)
        }
    }

    private static func malformed(_ text: String) -> Refusal {
        Refusal("\"\(text)\" names nothing", hint: "[NAMESPACE/][KIND/]NAME is expected: web-1, shop/deployment/web")
    }

    var description: String { "\(namespace)/\(kind.map { $0.rawValue.lowercased() + "/" } ?? "")\(name)" }

    /// The pods that are meant, those that are ready first.
    /// - Parameters: all pods, ReplicaSets and Services of the namespace, or more.
    func pods(_ pods: [KubeObject], replicaSets: [KubeObject], services: [KubeObject]) -> [KubeObject] {
        let own = pods.filter { $0.namespace == namespace }
        let found: [KubeObject]
        switch kind {
        case .pod: found = own.filter { $0.name == name }
        case .service: found = Self.behind(services.first { $0.namespace == namespace && $0.name == name }, own)
        case let kind?: found = own.filter { Self.owners(of: $0, replicaSets).contains { $0 == (kind.rawValue, name) } }
        case nil:
            let exact = own.filter { $0.name == name }
            let owned = own.filter { Self.owners(of: $0, replicaSets).contains { $0.name == name } }
            found =
                !exact.isEmpty
                ? exact
                : !owned.isEmpty
                    ? owned : Self.behind(services.first { $0.namespace == namespace && $0.name == name }, own)
        }
        return found.filter { $0.isReady } + found.filter { !$0.isReady }
    }

    private static func behind(_ service: KubeObject?, _ pods: [KubeObject]) -> [KubeObject] {
        guard let selector = service?.spec["selector"]?.stringMap, !selector.isEmpty else { return [] }
        return pods.filter { pod in selector.allSatisfy { pod.label($0.key) == $0.value } }
    }

    /// The pod's controller, and that one's.
    static func owners(of pod: KubeObject, _ replicaSets: [KubeObject]) -> [(kind: String, name: String)] {
        func owner(_ object: KubeObject) -> (kind: String, name: String)? {
            object.json.list("metadata", "ownerReferences").first { $0["controller"]?.bool == true }.map {
                ($0.text("kind"), $0.text("name"))
            }
        }
        guard let first = owner(pod) else { return [] }
        guard first.kind == "ReplicaSet",
            let set = replicaSets.first(where: { $0.namespace == pod.namespace && $0.name == first.name }),
            let second = owner(set)
        else { return [first] }
        return [second, first]
    }
}

extension KubeObject {
    /// Of a pod: its condition `Ready`.
    var isReady: Bool {
        status.list("conditions").contains { $0.text("type") == "Ready" && $0.text("status") == "True" }
    }

    /// Of a pod: a sidecar was added to it.
    var isMeshed: Bool { json[path: "metadata", "annotations", "mesh.weft.dev/status"] != nil }

    /// Of a meshed pod: which of its connections its sidecar takes. Nil where its annotations say nothing that can be understood.
    var capture: CapturePlan? { try? CapturePlan(MeshAnnotations(annotations)) }
}

extension ClusterSession {
    /// The pods that a name means; at least one.
    func pods(named text: String) async throws -> [KubeObject] {
        let name = try WorkloadName(text, namespace: namespace)
        let pods = try await client.list(.pods, namespace: name.namespace).items
        let found = name.pods(
            pods, replicaSets: try await listIfAllowed(.replicaSets, namespace: name.namespace),
            services: try await listIfAllowed(.services, namespace: name.namespace))
        guard !found.isEmpty else {
            let others = pods.map(\.name).prefix(8).joined(separator: ", ")
            throw Refusal(
                "there is no pod for \(name.description)",
                hint: others.isEmpty ? "namespace \(name.namespace) has no pods" : "pods there: \(others)")
        }
        return found
    }
}
