/// What xDS carries, each kind by name.
public enum ResourceKind: String, CaseIterable, Sendable {
    case listener = "envoy.config.listener.v3.Listener"
    case cluster = "envoy.config.cluster.v3.Cluster"
    case routeConfiguration = "envoy.config.route.v3.RouteConfiguration"
    case scopedRouteConfiguration = "envoy.config.route.v3.ScopedRouteConfiguration"
    case virtualHost = "envoy.config.route.v3.VirtualHost"
    case clusterLoadAssignment = "envoy.config.endpoint.v3.ClusterLoadAssignment"
    case secret = "envoy.extensions.transport_sockets.tls.v3.Secret"
    case extensionConfig = "envoy.config.core.v3.TypedExtensionConfig"
    case runtime = "envoy.service.runtime.v3.Runtime"

    /// `type.googleapis.com/…`, as requests and `Any` name it.
    public var typeURL: String { "type.googleapis.com/" + rawValue }

    public init?(typeURL: String) {
        guard let name = PackedMessage.typeName(ofURL: typeURL) else { return nil }
        self.init(rawValue: name)
    }

    /// The API's short name in lower case, by which people know the service that carries it: `cds`.
    public var service: String {
        switch self {
        case .listener: "lds"
        case .cluster: "cds"
        case .routeConfiguration: "rds"
        case .scopedRouteConfiguration: "srds"
        case .virtualHost: "vhds"
        case .clusterLoadAssignment: "eds"
        case .secret: "sds"
        case .extensionConfig: "ecds"
        case .runtime: "rtds"
        }
    }

    /// The order in which a stream asks: what others refer to first (xDS protocol, "eventual consistency").
    static let requestOrder: [ResourceKind] = [
        .cluster, .clusterLoadAssignment, .listener, .routeConfiguration, .scopedRouteConfiguration, .virtualHost,
        .secret,
        .extensionConfig, .runtime,
    ]

    /// The field that a resource is known by.
    var nameField: String { self == .clusterLoadAssignment ? "cluster_name" : "name" }

    /// Whether a whole state of the world that leaves a resource out takes it away. Of the other kinds it only says
    /// nothing about it (xDS protocol, "resource removal").
    public var isCompleteState: Bool { self == .listener || self == .cluster }

    var type: MessageType {
        guard let type = ProtoSchema.envoy.message(rawValue) else {
            preconditionFailure("the schema has no \(rawValue)")
        }
        return type
    }
}
