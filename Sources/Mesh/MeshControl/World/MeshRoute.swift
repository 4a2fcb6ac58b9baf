import ClusterAPI
import ClusterClient
import JSON

/// What the mesh keeps of a route of any kind: what it binds to, and its rules.
struct MeshRoute: APIDecodable, Hashable {
    /// A `parentRef`.
    struct Parent: Hashable {
        enum Kind: Hashable { case gateway, listenerSet, service, other }

        var kind: Kind
        var key: ObjectKey
        /// Nil binds to all ports.
        var port: Int?
        /// "" binds to all of the parent's sections.
        var section: String
        var entersGateway: Bool { kind == .gateway || kind == .listenerSet }

        /// As it stands in the route, which the status repeats.
        var reference: JSONValue
    }

    let route: RouteKey
    let created: String
    let generation: Int64
    let hostnames: [String]
    let parents: [Parent]
    let rules: [JSONValue]
    /// What its requests meet on purpose.
    let fault: RouteFault?
    /// `status.parents` as it is stored, and the object's version then.
    let statuses: [JSONValue]
    let resourceVersion: String

    var key: ObjectKey { route.key }
    var namespace: String { route.key.namespace }

    init(_ object: KubeObject) throws {
        guard let kind = RouteKind(rawValue: object.kind) else {
            throw StatusError.internalError("\(object.kind) is no route")
        }
        let key = object.key
        route = RouteKey(kind: kind, key: key)
        created = object.creationTimestamp ?? ""
        generation = object.generation
        hostnames = object.spec.list("hostnames").compactMap(\.string)
        parents = object.spec.list("parentRefs").map { reference in
            let namespace = reference.text("namespace")
            let kind: Parent.Kind =
                switch (reference.text("group"), reference.text("kind")) {
                case ("", "Service"): .service
                case (RouteKind.group, "Gateway"), (RouteKind.group, ""): .gateway
                case (RouteKind.group, "ListenerSet"): .listenerSet
                default: .other
                }
            return Parent(
                kind: kind,
                key: ObjectKey(namespace: namespace.isEmpty ? key.namespace : namespace, name: reference.text("name")),
                port: reference["port"]?.int.map { Int($0) }, section: reference.text("sectionName"),
                reference: reference)
        }
        rules = object.spec.list("rules")
        fault = object.annotations[RouteFault.annotation].flatMap { RouteFault($0) }
        statuses = object.status.list("parents")
        resourceVersion = object.resourceVersion
    }

    /// Whether both say the same: all but the status, which is ours to write.
    func says(_ other: MeshRoute) -> Bool {
        route == other.route && created == other.created && generation == other.generation
            && hostnames == other.hostnames && parents == other.parents && rules == other.rules
            && fault == other.fault
    }

    func binds(_ service: ObjectKey, _ port: Int) -> Bool {
        parents.contains { $0.kind == .service && $0.key == service && ($0.port == nil || $0.port == port) }
    }

    /// The Services that its rules lead to, mirrors included.
    var backends: Set<ObjectKey> { Set(references.map { $0.target(from: namespace) }) }

    /// The `backendRef`s of all rules.
    var references: [JSONValue] {
        rules.flatMap { rule -> [JSONValue] in
            let backends = rule.list("backendRefs")
            let filters = rule.list("filters") + backends.flatMap { $0.list("filters") }
            return backends + filters.compactMap { $0[path: "requestMirror", "backendRef"] }
        }
    }
}

extension JSONValue {
    /// What a reference names, in the namespace of who refers where it names none.
    func target(from namespace: String) -> ObjectKey {
        let own = text("namespace")
        return ObjectKey(namespace: own.isEmpty ? namespace : own, name: text("name"))
    }
}
