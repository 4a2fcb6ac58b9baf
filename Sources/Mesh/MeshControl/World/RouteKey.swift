import ClusterAPI

/// The kinds of routes that the mesh reads.
enum RouteKind: String, CaseIterable, Sendable {
    case http = "HTTPRoute"
    case grpc = "GRPCRoute"
    case tls = "TLSRoute"
    case tcp = "TCPRoute"

    static let group = "gateway.networking.k8s.io"

    var resource: GroupVersionResource {
        GroupVersionResource(group: Self.group, resource: rawValue.lowercased() + "s")
    }

    /// Its rules speak of requests, not of connections.
    var isOfRequests: Bool { self == .http || self == .grpc }
}

/// A route among those of all kinds.
struct RouteKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    var kind: RouteKind
    var key: ObjectKey

    var description: String { "\(kind.rawValue) \(key)" }

    static func < (a: Self, b: Self) -> Bool { a.key == b.key ? a.kind.rawValue < b.kind.rawValue : a.key < b.key }
}
