public import ClusterAPI
public import ClusterClient
import JSON

/// What the mesh keeps of an HTTPRoute: to which Services' frontends it binds, and its rules.
public struct MeshRoute: APIDecodable, Hashable {
    struct Parent: Hashable {
        var service: ObjectKey
        /// Nil binds to all ports.
        var port: Int?
    }

    let key: ObjectKey
    let created: String
    /// Services only. Those of other namespaces are for consumers' own routes, which are not served yet.
    let parents: [Parent]
    let rules: [JSONValue]

    public init(_ object: KubeObject) {
        let key = object.key
        self.key = key
        created = object.json.text("metadata", "creationTimestamp")
        parents = object.json.list("spec", "parentRefs").compactMap { reference in
            guard reference.text("group").isEmpty, reference.text("kind") == "Service" else { return nil }
            let namespace = reference.text("namespace")
            guard namespace.isEmpty || namespace == key.namespace else { return nil }
            return Parent(
                service: ObjectKey(namespace: key.namespace, name: reference.text("name")),
                port: reference["port"]?.int.map { Int($0) })
        }
        rules = object.json.list("spec", "rules")
    }

    func binds(_ service: ObjectKey, _ port: Int) -> Bool {
        parents.contains { $0.service == service && ($0.port == nil || $0.port == port) }
    }
}

/// What a ReferenceGrant allows: kinds of one namespace to name objects of another.
public struct MeshGrant: APIDecodable, Hashable {
    let key: ObjectKey
    /// Namespaces whose HTTPRoutes may name Services here.
    let namespaces: Set<String>
    /// Nil: all Services.
    let services: Set<String>?

    public init(_ object: KubeObject) {
        key = object.key
        namespaces = Set(
            object.json.list("spec", "from").filter {
                $0.text("group") == "gateway.networking.k8s.io" && $0.text("kind") == "HTTPRoute"
            }.map { $0.text("namespace") })
        let targets = object.json.list("spec", "to").filter { $0.text("group").isEmpty && $0.text("kind") == "Service" }
        services = targets.contains { $0.text("name").isEmpty } ? nil : Set(targets.map { $0.text("name") })
    }

    func allows(_ namespace: String, _ service: ObjectKey) -> Bool {
        key.namespace == service.namespace && namespaces.contains(namespace)
            && (services?.contains(service.name) ?? true)
    }
}
