import ClusterAPI
import JSON

/// Whether workloads take plain text, mutual TLS, or both.
enum MutualTLSMode: String, Hashable, Sendable {
    case disable = "DISABLE"
    case permissive = "PERMISSIVE"
    case strict = "STRICT"

    /// Nil for what says nothing of its own (`UNSET`).
    init?(_ json: JSONValue?) {
        guard let mode = json.flatMap({ Self(rawValue: $0.text("mode")) }) else { return nil }
        self = mode
    }
}

/// What the mesh keeps of a PeerAuthentication (`security.istio.io/v1`).
struct PeerAuthentication: MeshPolicy {
    static let kind = MeshPolicyKind.peers

    let key: ObjectKey
    let created: String
    let scope: PolicyScope
    /// Nil: what is said above.
    let mode: MutualTLSMode?
    /// By the pod's port; nil values are said above.
    let portModes: [Int: MutualTLSMode?]
    var problem: String? { scope.problem }

    init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        let spec = object.json["spec"] ?? .null
        scope = PolicyScope(object.key, spec, isLocal: true)
        mode = MutualTLSMode(spec["mtls"])
        var modes: [Int: MutualTLSMode?] = [:]
        for (port, json) in spec["portLevelMtls"]?.object ?? JSONObject() {
            if let port = Int(port) { modes[port] = .some(MutualTLSMode(json)) }
        }
        portModes = modes
    }
}
