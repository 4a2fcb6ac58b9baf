import ClusterAPI
import ClusterClient
import JSON

/// What a ReferenceGrant allows: kinds of one namespace to name objects of another.
struct MeshGrant: APIDecodable, Hashable {
    private struct From: Hashable {
        var group: String
        var kind: String
        var namespace: String
    }

    private struct To: Hashable {
        var group: String
        var kind: String
        /// "" is all of the kind.
        var name: String
    }

    let key: ObjectKey
    private let from: [From]
    private let to: [To]

    init(_ object: KubeObject) {
        key = object.key
        from = object.json.list("spec", "from").map {
            From(group: $0.text("group"), kind: $0.text("kind"), namespace: $0.text("namespace"))
        }
        to = object.json.list("spec", "to").map {
            To(group: $0.text("group"), kind: $0.text("kind"), name: $0.text("name"))
        }
    }

    /// Whether a kind of the Gateway API's group in a namespace may name an object of the core group here.
    func allows(_ kind: String, of namespace: String, toName target: String, _ name: String) -> Bool {
        from.contains { $0.group == RouteKind.group && $0.kind == kind && $0.namespace == namespace }
            && to.contains { $0.group.isEmpty && $0.kind == target && ($0.name.isEmpty || $0.name == name) }
    }
}
