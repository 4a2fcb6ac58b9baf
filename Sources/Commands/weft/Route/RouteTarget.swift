import ClusterAPI
import ClusterClient
import JSON

/// `[NAMESPACE/]NAME[:PORT]`: a Service, or a route.
struct RouteTarget: Hashable, Sendable {
    var key: ObjectKey
    var port: Int64?

    init(_ text: String, namespace: String) throws {
        var name = text
        if let colon = text.lastIndex(of: ":") {
            guard let port = Int64(text[text.index(after: colon)...]), (1...65_535).contains(port) else {
                throw Refusal("\"\(text)\": what follows the colon is no port", hint: "cart:80, say")
            }
            self.port = port
            name = String(text[..<colon])
        }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty }) else {
            throw Refusal("\"\(text)\" names nothing", hint: "[NAMESPACE/]NAME[:PORT] is expected")
        }
        key = ObjectKey(namespace: parts.count == 2 ? parts[0] : namespace, name: parts[parts.count - 1])
    }
}

/// The HTTPRoute that a command changes.
struct ChosenRoute: Sendable {
    /// As it is, or as it would be made.
    var object: KubeObject
    /// It does not exist yet.
    var isNew: Bool
    /// The Services of its namespace, for backends by their short names.
    var services: [KubeObject]

    var view: RouteView { RouteView(object: object) }

    /// The route of a name, or the only one of a Service; where the Service has none, one that leads to it alone.
    static func find(_ target: RouteTarget, _ session: ClusterSession) async throws -> ChosenRoute {
        let key = target.key
        let services = try await session.client.list(.services, namespace: key.namespace).items
        let routes = try await session.client.list(.httpRoutes, namespace: key.namespace).items
        let bound = routes.filter { RouteView(object: $0).isOf(key, port: target.port) }
        if bound.count > 1 {
            // One of the Service's own name is meant before others.
            if let own = bound.first(where: { $0.name == key.name }) {
                return ChosenRoute(object: own, isNew: false, services: services)
            }
            let names = bound.map(\.name).joined(separator: ", ")
            throw Refusal("several routes are for Service \(key): \(names)", hint: "say which by its own name")
        }
        if let one = bound.first { return ChosenRoute(object: one, isNew: false, services: services) }
        if target.port == nil, let named = routes.first(where: { $0.name == key.name }) {
            return ChosenRoute(object: named, isNew: false, services: services)
        }
        guard let service = services.first(where: { $0.key == key }) else {
            throw Refusal("there is neither a Service nor an HTTPRoute \(key)", hint: "weft route list -A")
        }
        let ports = service.spec.list("ports").compactMap { $0["port"]?.int }
        guard let port = target.port ?? (ports.count == 1 ? ports[0] : nil), ports.contains(port) else {
            let known = ports.map(String.init).joined(separator: ", ")
            throw Refusal("which port of Service \(key)? It has \(known)", hint: "\(key.name):PORT says which")
        }
        try Self.mustBeRoutable(service, port)
        var route = KubeObject(
            apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", namespace: key.namespace, name: key.name)
        route.json["spec"] = [
            "parentRefs": [["group": "", "kind": "Service", "name": .string(key.name), "port": .int(port)]],
            "rules": [["backendRefs": [["name": .string(key.name), "port": .int(port)]]]],
        ]
        return ChosenRoute(object: route, isNew: true, services: services)
    }

    /// No route of HTTP leads packets. What a port says of itself is the control plane's to judge, in the route's status.
    static func mustBeRoutable(_ service: KubeObject, _ port: Int64) throws {
        let own = service.spec.list("ports").filter { $0["port"]?.int == port }
        guard !own.contains(where: { ["", "TCP"].contains($0.text("protocol")) }) else { return }
        throw Refusal(
            "port \(port) of Service \(service.key) is \(own.first?.text("protocol") ?? "none"), which no route of HTTP leads",
            hint: "kubectl get service \(service.name) -n \(service.namespace)")
    }

    /// Writes it: makes it, or changes some fields of what was read and of nothing newer.
    func write(_ changes: [(path: String, value: JSONValue?)], _ session: ClusterSession) async throws -> KubeObject {
        guard !isNew else {
            var made = object
            for (path, value) in changes { made.json = Self.setting(made.json, path.split(separator: "/"), value) }
            return try await session.client.create(.httpRoutes, made)
        }
        var operations: [JSONValue] = [
            ["op": "test", "path": "/metadata/resourceVersion", "value": .string(object.resourceVersion)]
        ]
        for (path, value) in changes {
            guard let value else {
                operations.append(["op": "remove", "path": .string(path)])
                continue
            }
            operations.append(["op": "add", "path": .string(path), "value": value])
        }
        do {
            return try await session.client.patch(.httpRoutes, object.key, .json, .array(operations))
        } catch let error as StatusError where error.code == 409 || error.code == 422 {
            throw Refusal(
                "HTTPRoute \(object.key) was not changed: \(error.message)",
                hint: "somebody else may have changed it meanwhile; look at it, and try again")
        }
    }

    static func setting(_ json: JSONValue, _ path: [Substring], _ value: JSONValue?) -> JSONValue {
        guard let first = path.first else { return value ?? .null }
        let rest = Array(path.dropFirst())
        if case .array(var elements) = json, let index = Int(first), elements.indices.contains(index) {
            elements[index] = setting(elements[index], rest, value)
            return .array(elements)
        }
        var object = json.object ?? JSONObject()
        let key = String(first).replacing("~1", with: "/").replacing("~0", with: "~")
        object[key] = rest.isEmpty ? value : setting(object[key] ?? [:], rest, value)
        return .object(object)
    }
}
