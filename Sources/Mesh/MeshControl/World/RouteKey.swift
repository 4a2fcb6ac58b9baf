import ClusterAPI

/// The kinds of routes that the mesh reads.
enum RouteKind: String, Sendable {
    case http = "HTTPRoute"
    case grpc = "GRPCRoute"
    case tls = "TLSRoute"
    case tcp = "TCPRoute"
    /// What an Ingress says of a host, which is not an object of its own.
    case ingress = "Ingress"

    static let group = "gateway.networking.k8s.io"

    static let ofGatewayAPI = [Self.http, .grpc, .tls, .tcp]

    /// Of an Ingress it is that Ingress's.
    var resource: GroupVersionResource {
        self == .ingress
            ? GroupVersionResource(group: "networking.k8s.io", resource: "ingresses")
            : GroupVersionResource(group: Self.group, resource: rawValue.lowercased() + "s")
    }

    /// Its rules speak of requests, not of connections.
    var isOfRequests: Bool { self == .http || self == .grpc || self == .ingress }
}

/// A route among those of all kinds.
struct RouteKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    var kind: RouteKind
    var key: ObjectKey

    var description: String { "\(kind.rawValue) \(key)" }

    static func < (a: Self, b: Self) -> Bool { a.key == b.key ? a.kind.rawValue < b.kind.rawValue : a.key < b.key }
}
