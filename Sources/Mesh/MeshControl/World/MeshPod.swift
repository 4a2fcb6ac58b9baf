import ClusterAPI
import ClusterClient
import JSON
import MeshAPI

/// What the mesh keeps of a pod.
struct MeshPod: APIDecodable, Hashable {
    let key: ObjectKey
    let uid: String
    let account: String
    let labels: [String: String]
    let node: String
    /// Numbers of the containers' named ports, by name.
    let ports: [String: Int]
    /// Its sidecar was injected, so it can be spoken to by mutual TLS.
    let isMeshed: Bool
    /// Which connections meet the sidecar.
    let capture: CapturePlan
    /// What it is one of: its Deployment or other owner, or itself.
    let workload: String
    /// It will not run again.
    let isOver: Bool

    /// Set by whoever injects sidecars.
    static let statusAnnotation = MeshName.status

    init(_ object: KubeObject) {
        key = object.key
        uid = object.uid
        let metadata = object.json["metadata"] ?? .null
        let spec = object.json["spec"] ?? .null
        let account = spec.text("serviceAccountName")
        self.account = account.isEmpty ? "default" : account
        labels = (metadata["labels"]?.object ?? JSONObject()).reduce(into: [:]) { $0[$1.key] = $1.value.string ?? "" }
        node = spec.text("nodeName")
        var ports: [String: Int] = [:]
        for container in spec.list("containers") + spec.list("initContainers") {
            for port in container.list("ports") where ["", "TCP"].contains(port.text("protocol")) {
                guard !port.text("name").isEmpty else { continue }
                ports[port.text("name")] = Int(port.number("containerPort"))
            }
        }
        self.ports = ports
        isMeshed = metadata["annotations"]?[Self.statusAnnotation] != nil
        // With others than these the pod was not made, or its node did not start it.
        capture = isMeshed ? (try? CapturePlan(MeshAnnotations(object.annotations))) ?? CapturePlan() : CapturePlan()
        workload = Self.workload(key.name, metadata.list("ownerReferences"), labels)
        isOver = ["Succeeded", "Failed"].contains(object.json.text("status", "phase"))
    }

    private static func workload(_ name: String, _ owners: [JSONValue], _ labels: [String: String]) -> String {
        guard let owner = owners.first(where: { $0["controller"] == .bool(true) }) else { return name }
        let own = owner.text("name")
        // A Deployment's ReplicaSet is called after it and the hash of its template.
        guard owner.text("kind") == "ReplicaSet", let hash = labels["pod-template-hash"], own.hasSuffix("-\(hash)")
        else {
            return own
        }
        return String(own.dropLast(hash.count + 1))
    }

    /// In Istio's form, `WORKLOAD;NAMESPACE;APP;VERSION;CLUSTER`.
    var workloadName: String {
        func label(_ names: String...) -> String { names.lazy.compactMap { labels[$0] }.first ?? "" }
        let app = label("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
        let version = label("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
        return "\(workload);\(key.namespace);\(app.isEmpty ? workload : app);\(version);Kubernetes"
    }

    /// Whether this port of it can be spoken to by mutual TLS.
    func isMeshed(at port: Int) -> Bool { isMeshed && UInt16(exactly: port).map(capture.capturesInbound) ?? false }

    /// Whether all labels of a selector of equal values are there; an empty one selects everything.
    func matches(_ selector: [String: String]) -> Bool { selector.allSatisfy { labels[$0.key] == $0.value } }
}
