public import Bytes
public import ClusterAPI
import JSON

/// What the proxy needs of a Service: a plain value, decoded once.
public struct ServiceSpec: Hashable, Sendable {
    public struct Port: Hashable, Sendable {
        /// "" when the Service has one nameless port.
        public var name: String
        public var transport: Transport
        public var port: Bytes.Port
        /// 0 for none.
        public var nodePort: Bytes.Port

        public init(_ name: String = "", _ transport: Transport = .tcp, _ port: Bytes.Port, nodePort: Bytes.Port = 0) {
            self.name = name
            self.transport = transport
            self.port = port
            self.nodePort = nodePort
        }
    }

    public var key: ObjectKey
    public var clusterIPs: [IPAddress]
    public var externalIPs: [IPAddress] = []
    /// Of the load balancer's status, those that arrive here unchanged (`ipMode` VIP or unset).
    public var ingressIPs: [IPAddress] = []
    public var ports: [Port]
    /// `internalTrafficPolicy: Local`
    public var isInternalLocal = false
    /// `externalTrafficPolicy: Local`
    public var isExternalLocal = false
    /// `sessionAffinity: ClientIP`: for how long after its last new connection a client keeps its endpoint.
    public var affinity: SessionAffinity?
    /// `loadBalancerSourceRanges`: who may come in by the load balancer's addresses; empty for everybody.
    public var sourceRanges: [CIDR] = []
    /// How an endpoint is picked for a client that has none.
    public var balancing = Balancing.random
    /// Seconds since 1970: of two Services that claim one address and port, the older one has it.
    public var created: Int64 = 0
    /// Where load balancers ask whether this node has endpoints; 0 for nowhere.
    public var healthCheckNodePort: Bytes.Port = 0

    public init(_ key: ObjectKey, clusterIPs: [IPAddress], ports: [Port]) {
        self.key = key
        self.clusterIPs = clusterIPs
        self.ports = ports
    }

    /// Whether anything outside of the cluster can come in, so that the external policy counts.
    var isExternallyReachable: Bool {
        !externalIPs.isEmpty || !ingressIPs.isEmpty || ports.contains { $0.nodePort != 0 }
    }
}

extension ServiceSpec {
    /// Another proxy takes care of Services with this label.
    public static let otherProxyLabel = "service.kubernetes.io/service-proxy-name"

    /// nil for what has no virtual address of ours: headless, ExternalName, another proxy's.
    public init?(_ object: KubeObject) {
        let spec = object.spec
        let type = spec["type"]?.string ?? "ClusterIP"
        guard type != "ExternalName", object.label(Self.otherProxyLabel) == nil else { return nil }
        var addresses = (spec["clusterIPs"]?.array ?? []).compactMap(\.string)
        if addresses.isEmpty, let one = spec["clusterIP"]?.string { addresses = [one] }
        let clusterIPs = addresses.compactMap(IPAddress.init(sloppy:))
        guard !clusterIPs.isEmpty else { return nil }
        self.init(
            object.key, clusterIPs: clusterIPs,
            ports: (spec["ports"]?.array ?? []).compactMap { Port($0, hasNodePorts: type != "ClusterIP") })
        externalIPs = (spec["externalIPs"]?.array ?? []).compactMap(\.string).compactMap(IPAddress.init(sloppy:))
        if type == "LoadBalancer" {
            for ingress in object.status["loadBalancer"]?["ingress"]?.array ?? [] {
                guard let text = ingress["ip"]?.string, let address = IPAddress(sloppy: text),
                    (ingress["ipMode"]?.string ?? "VIP") == "VIP"
                else { continue }
                ingressIPs.append(address)
            }
        }
        isInternalLocal = spec["internalTrafficPolicy"]?.string == "Local"
        isExternalLocal = spec["externalTrafficPolicy"]?.string == "Local"
        affinity = SessionAffinity(spec)
        sourceRanges = SourceRanges.parse((spec["loadBalancerSourceRanges"]?.array ?? []).compactMap(\.string))
        balancing = object.annotation(Balancing.annotation).flatMap(Balancing.init(rawValue:)) ?? .random
        created = object.creationTimestamp.flatMap { Timestamp(rfc3339: $0) }?.seconds ?? 0
        if type == "LoadBalancer", isExternalLocal, let port = spec["healthCheckNodePort"]?.int {
            healthCheckNodePort = Bytes.Port(UInt16(exactly: port) ?? 0)
        }
    }
}

extension ServiceSpec.Port {
    fileprivate init?(_ json: JSONValue, hasNodePorts: Bool) {
        guard let number = json["port"]?.int.flatMap({ UInt16(exactly: $0) }), number != 0,
            let transport = Transport(json["protocol"]?.string ?? "TCP")
        else { return nil }
        let nodePort = hasNodePorts ? json["nodePort"]?.int.flatMap { UInt16(exactly: $0) } ?? 0 : 0
        self.init(json["name"]?.string ?? "", transport, Port(number), nodePort: Port(nodePort))
    }
}

extension IPAddress {
    /// As Kubernetes reads addresses that old objects hold: leading zeros in IPv4 octets are decimal and dropped.
    init?(sloppy text: String) {
        if let address = IPAddress(text) {
            self = address
            return
        }
        let octets = text.split(separator: ".", omittingEmptySubsequences: false)
        guard octets.count == 4 else { return nil }
        var number: UInt32 = 0
        for octet in octets {
            guard !octet.isEmpty, octet.utf8.allSatisfy({ (48...57).contains($0) }), let value = UInt8(octet) else {
                return nil
            }
            number = number << 8 | UInt32(value)
        }
        self.init(v4: number)
    }
}
