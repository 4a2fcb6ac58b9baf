import ClusterAPI
import JSON

/// Where a `backendRef` leads, or why nowhere.
enum RouteBackend: Hashable {
    case port(ObjectKey, MeshService.Port)
    case refused(Reason, String)

    /// As the Gateway API names them (`RouteConditionReason`).
    enum Reason: String {
        case invalidKind = "InvalidKind"
        case notPermitted = "RefNotPermitted"
        case notFound = "BackendNotFound"
        case unsupportedProtocol = "UnsupportedProtocol"
    }
}

extension MeshWorld {
    /// Whether a GRPCRoute leads to this port, which then speaks HTTP/2.
    func isCalledByGRPC(_ key: ObjectKey, _ port: Int) -> Bool {
        leading[key]?.contains { route in
            route.kind == .grpc
                && routes[route]?.references.contains {
                    $0.target(from: route.key.namespace) == key && $0.number("port") == port
                } == true
        } == true
    }

    /// - Parameters:
    ///   - route: Who refers.
    ///   - service: Whose callers the route leads, where it is a Service's. They may lead on to it from any namespace without a grant: it
    ///     is where they were going.
    func backend(_ reference: JSONValue, of route: RouteKey, from service: ObjectKey? = nil) -> RouteBackend {
        let (group, kind) = (reference.text("group"), reference.text("kind"))
        guard group.isEmpty, ["", "Service"].contains(kind) else {
            return .refused(.invalidKind, "\(kind) of group \"\(group)\" is no backend; it must be a Service")
        }
        let key = reference.target(from: route.key.namespace)
        guard key == service || isAllowed(route.kind.rawValue, of: route.key.namespace, toName: "Service", key) else {
            return .refused(
                .notPermitted,
                "Service \(key) is in another namespace, and no ReferenceGrant there allows \(route.kind.rawValue)s of "
                    + route.key.namespace)
        }
        guard let service = services[key] else { return .refused(.notFound, "Service \(key) does not exist") }
        let (number, name) = (Int(reference.number("port")), reference.text("portName"))
        guard let port = service.ports.first(where: { name.isEmpty ? $0.number == number : $0.name == name }) else {
            return .refused(.notFound, "Service \(key) has no TCP port \(name.isEmpty ? String(number) : name)")
        }
        return .port(key, port)
    }
}
