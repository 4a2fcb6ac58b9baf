import DNSMessage

/// How the cluster's names are served: the `kubernetes` plugin's options.
public struct ClusterZoneOptions: Sendable {
    /// `cluster.local`, and the reverse zones (`in-addr.arpa`, `ip6.arpa`).
    public var zones: [DNSName]
    /// Seconds; of answers and of their absence.
    public var ttl: UInt32 = 5
    public var pods = PodNames.disabled
    /// Zones whose unknown names go on to the next plugin instead of being NXDOMAIN.
    public var fallthroughZones: [DNSName] = []
    /// Services of type ClusterIP without ready endpoints do not exist (`ignore empty_service`).
    public var ignoresEmptyServices = false
    /// Endpoint names are pod names where they have no hostname (`endpoint_pod_names`).
    public var namesEndpointsByPod = false
    /// Empty: all.
    public var namespaces: Set<String> = []

    public enum PodNames: Sendable { case disabled, insecure, verified }

    public init(zones: [DNSName]) { self.zones = zones }

    /// The zone that holds Services: the first one that is no reverse zone.
    var primary: DNSName? {
        zones.first { zone in !Self.reverseZones.contains { zone.isIn($0) } }
    }

    static let reverseZones = ["in-addr.arpa", "ip6.arpa"].compactMap { DNSName($0) }
}
