public import Bytes
public import ClusterAPI

/// What the proxy needs of an EndpointSlice, seen from one node: a plain value, decoded once.
public struct EndpointSliceSpec: Hashable, Sendable {
    public struct Port: Hashable, Sendable {
        public var name: String
        public var transport: Transport
        public var port: Bytes.Port

        public init(_ name: String = "", _ transport: Transport = .tcp, _ port: Bytes.Port) {
            self.name = name
            self.transport = transport
            self.port = port
        }
    }

    public struct Endpoint: Hashable, Sendable {
        public var address: IPAddress
        public var flags: Flags
        /// Its share of new connections beside the others; 0 for none of them.
        public var weight: UInt8

        public init(_ address: IPAddress, _ flags: Flags = [.ready, .serving], weight: UInt8 = 1) {
            self.address = address
            self.flags = flags
            self.weight = weight
        }
    }

    public struct Flags: OptionSet, Hashable, Sendable {
        public var rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        public static let ready = Self(rawValue: 1)
        public static let serving = Self(rawValue: 2)
        public static let terminating = Self(rawValue: 4)
        /// It runs on this node.
        public static let local = Self(rawValue: 8)
        public static let hasNodeHints = Self(rawValue: 16)
        public static let hintsThisNode = Self(rawValue: 32)
        public static let hasZoneHints = Self(rawValue: 64)
        public static let hintsThisZone = Self(rawValue: 128)
    }

    public var key: ObjectKey
    public var service: ObjectKey
    public var family: IPAddress.Family
    public var ports: [Port]
    public var endpoints: [Endpoint]

    public init(
        _ key: ObjectKey, of service: ObjectKey, _ family: IPAddress.Family = .v4, ports: [Port], endpoints: [Endpoint]
    ) {
        self.key = key
        self.service = service
        self.family = family
        self.ports = ports
        self.endpoints = endpoints
    }
}

extension EndpointSliceSpec {
    public static let serviceLabel = "kubernetes.io/service-name"
    public static let headlessLabel = "service.kubernetes.io/headless"

    /// nil for what stands behind no virtual address: headless, of no Service, of names instead of addresses.
    public init?(_ object: KubeObject, on node: NodeIdentity) {
        guard let service = object.label(Self.serviceLabel), object.label(Self.headlessLabel) == nil else { return nil }
        let family: IPAddress.Family
        switch object.json["addressType"]?.string {
        case "IPv4": family = .v4
        case "IPv6": family = .v6
        default: return nil
        }
        self.init(
            object.key, of: ObjectKey(namespace: object.namespace, name: service), family, ports: [], endpoints: [])
        for port in object.json["ports"]?.array ?? [] {
            guard let number = port["port"]?.int.flatMap({ UInt16(exactly: $0) }), number != 0,
                let transport = Transport(port["protocol"]?.string ?? "TCP")
            else { continue }
            ports.append(Port(port["name"]?.string ?? "", transport, Bytes.Port(number)))
        }
        let weights = object.annotation(EndpointWeights.annotation).map(EndpointWeights.init)
        let candidates = object.json["endpoints"]?.array ?? []
        // These are most of what the proxy remembers: no room to grow.
        endpoints.reserveCapacity(candidates.count)
        for endpoint in candidates {
            guard let text = endpoint["addresses"]?.array?.first?.string, let address = IPAddress(sloppy: text),
                address.family == family
            else { continue }
            let conditions = endpoint["conditions"]
            var flags: Flags = []
            if conditions?["ready"]?.bool ?? true { flags.insert(.ready) }
            if conditions?["serving"]?.bool ?? true { flags.insert(.serving) }
            if conditions?["terminating"]?.bool ?? false { flags.insert(.terminating) }
            if endpoint["nodeName"]?.string == node.name { flags.insert(.local) }
            if let hints = endpoint["hints"]?["forNodes"]?.array, !hints.isEmpty {
                flags.insert(.hasNodeHints)
                if hints.contains(where: { $0["name"]?.string == node.name }) { flags.insert(.hintsThisNode) }
            }
            if let hints = endpoint["hints"]?["forZones"]?.array, !hints.isEmpty {
                flags.insert(.hasZoneHints)
                if let zone = node.zone, hints.contains(where: { $0["name"]?.string == zone }) {
                    flags.insert(.hintsThisZone)
                }
            }
            endpoints.append(Endpoint(address, flags, weight: weights?.weight(of: endpoint) ?? 1))
        }
    }
}

/// Who we are, for what is local and for hints.
public struct NodeIdentity: Hashable, Sendable {
    public var name: String
    /// `topology.kubernetes.io/zone` of our Node.
    public var zone: String?

    public init(name: String, zone: String? = nil) {
        self.name = name
        self.zone = zone
    }
}
