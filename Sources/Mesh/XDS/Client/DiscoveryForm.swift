/// The two forms of the protocol.
public enum DiscoveryForm: Sendable {
    /// A response has all that there is, or any part of what was asked for (`DiscoveryRequest`, `DiscoveryResponse`).
    case stateOfTheWorld
    /// A response has what changed (`DeltaDiscoveryRequest`, `DeltaDiscoveryResponse`).
    case delta

    /// The gRPC method of a stream for resources of all kinds.
    public var aggregatedPath: String {
        let service = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
        return service + (self == .delta ? "DeltaAggregatedResources" : "StreamAggregatedResources")
    }

    /// The method of a stream for one kind; nil where there is none.
    public func path(_ kind: ResourceKind) -> String? {
        let (service, noun): (String, String)
        switch kind {
        case .listener: (service, noun) = ("listener.v3.ListenerDiscoveryService", "Listeners")
        case .cluster: (service, noun) = ("cluster.v3.ClusterDiscoveryService", "Clusters")
        case .routeConfiguration: (service, noun) = ("route.v3.RouteDiscoveryService", "Routes")
        case .scopedRouteConfiguration: (service, noun) = ("route.v3.ScopedRoutesDiscoveryService", "ScopedRoutes")
        case .virtualHost:
            guard self == .delta else { return nil }
            (service, noun) = ("route.v3.VirtualHostDiscoveryService", "VirtualHosts")
        case .clusterLoadAssignment: (service, noun) = ("endpoint.v3.EndpointDiscoveryService", "Endpoints")
        case .secret: (service, noun) = ("secret.v3.SecretDiscoveryService", "Secrets")
        case .extensionConfig: (service, noun) = ("extension.v3.ExtensionConfigDiscoveryService", "ExtensionConfigs")
        case .runtime: (service, noun) = ("runtime.v3.RuntimeDiscoveryService", "Runtime")
        }
        return "/envoy.service.\(service)/\(self == .delta ? "Delta" : "Stream")\(noun)"
    }
}
