import ClusterAPI
import ClusterClient
import JSON

/// A policy of the mesh that does not do what it says, as its status tells: it is not enforced, or there is nobody who obeys it.
struct MeshPolicyRemark: Hashable, Sendable {
    var kind: String
    var key: ObjectKey
    /// Nobody enforces it, wherever it may be.
    var isRefused: Bool
    var reason: String
    var message: String

    /// Nil for one that does what it says, or of which nothing is told yet.
    init?(_ policy: KubeObject) {
        let failed = policy.status.list("conditions").filter { $0.text("status") == "False" }
        // What is not accepted has no effect either, which need not be said twice.
        guard
            let condition = failed.first(where: { $0.text("type") == "Accepted" })
                ?? failed.first(where: { $0.text("type") == "weft.dev/Effective" })
        else { return nil }
        (kind, key) = (policy.kind, policy.key)
        isRefused = condition.text("type") == "Accepted"
        (reason, message) = (condition.text("reason"), condition.text("message"))
    }

    var sentence: String { "\(kind) \(key) \(isRefused ? "is not enforced" : "has no effect"): \(message)" }

    var document: JSONValue {
        [
            "kind": .string(kind), "namespace": .string(key.namespace), "name": .string(key.name),
            "reason": .string(reason), "message": .string(message),
        ]
    }

    /// Namespaces whose policies may be for pods of any.
    private static let roots: Set<String> = ["kube-system", "weft-system"]

    func isAbout(_ namespaces: Set<String>) -> Bool { !namespaces.union(Self.roots).isDisjoint(with: [key.namespace]) }
}

extension ClusterSession {
    /// Of all policies of the mesh; none where there is no mesh.
    func meshPolicyRemarks() async throws -> [MeshPolicyRemark] {
        var remarks: [MeshPolicyRemark] = []
        for resource in [GroupVersionResource.authorizationPolicies, .peerAuthentications, .requestAuthentications] {
            remarks += try await listIfAllowed(resource).compactMap { MeshPolicyRemark($0) }
        }
        return remarks.sorted { ($0.key, $0.kind) < ($1.key, $1.kind) }
    }
}
