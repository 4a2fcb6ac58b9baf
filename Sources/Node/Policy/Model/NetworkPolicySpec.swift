public import Bytes
public import ClusterAPI
import JSON

/// A NetworkPolicy of `networking.k8s.io/v1`: a plain value, decoded once.
public struct NetworkPolicySpec: Hashable, Sendable {
    public enum Direction: String, Hashable, Sendable, CaseIterable, Codable { case ingress, egress }

    public var key: ObjectKey
    /// Which pods of its namespace it is about.
    public var pods: LabelSelector
    /// nil: it says nothing of this direction. Empty: nothing comes in.
    public var ingress: [Rule]?
    /// nil: it says nothing of this direction. Empty: nothing goes out.
    public var egress: [Rule]?

    public init(_ key: ObjectKey, pods: LabelSelector = .everything, ingress: [Rule]? = nil, egress: [Rule]? = nil) {
        self.key = key
        self.pods = pods
        self.ingress = ingress
        self.egress = egress
    }

    public func rules(_ direction: Direction) -> [Rule]? { direction == .ingress ? ingress : egress }

    /// Whoever is among `peers` may be spoken with on `ports`.
    public struct Rule: Hashable, Sendable {
        /// nil: everybody, also outside of the cluster.
        public var peers: [Peer]?
        /// nil: all ports of all protocols.
        public var ports: [Port]?

        public init(peers: [Peer]? = nil, ports: [Port]? = nil) {
            self.peers = peers
            self.ports = ports
        }
    }

    public enum Peer: Hashable, Sendable {
        case pods(PodPeer)
        case block(AddressBlock)
    }

    public struct PodPeer: Hashable, Sendable {
        /// nil: the policy's own namespace.
        public var namespaces: LabelSelector?
        public var pods: LabelSelector

        public init(namespaces: LabelSelector? = nil, pods: LabelSelector = .everything) {
            self.namespaces = namespaces
            self.pods = pods
        }
    }

    /// `ipBlock`: a prefix without some prefixes within it.
    public struct AddressBlock: Hashable, Sendable {
        public var prefix: CIDR
        public var except: [CIDR]

        public init(_ prefix: CIDR, except: [CIDR] = []) {
            self.prefix = prefix
            self.except = except
        }

        public func contains(_ address: IPAddress) -> Bool {
            prefix.contains(address) && !except.contains { $0.contains(address) }
        }
    }

    public struct Port: Hashable, Sendable {
        public enum Target: Hashable, Sendable {
            /// All ports of the protocol.
            case all
            case range(Bytes.Port, Bytes.Port)
            /// Whatever port the destination pod calls so.
            case named(String)
        }

        public var transport: Transport
        public var target: Target

        public init(_ transport: Transport = .tcp, _ target: Target = .all) {
            self.transport = transport
            self.target = target
        }

        public init(_ transport: Transport = .tcp, _ port: Bytes.Port) {
            self.init(transport, .range(port, port))
        }
    }
}

extension NetworkPolicySpec {
    /// What cannot be read allows nothing: the API server's validation keeps such objects away.
    public init(_ object: KubeObject) {
        let spec = object.spec
        key = object.key
        pods = Self.selector(spec["podSelector"]) ?? .everything
        let egress = spec["egress"]?.array ?? []
        var types = (spec["policyTypes"]?.array ?? []).compactMap(\.string)
        // The server fills the types in; old objects may lack them.
        if types.isEmpty { types = egress.isEmpty ? ["Ingress"] : ["Ingress", "Egress"] }
        if types.contains("Ingress") {
            ingress = (spec["ingress"]?.array ?? []).map { Rule($0, peers: "from") }
        }
        if types.contains("Egress") { self.egress = egress.map { Rule($0, peers: "to") } }
    }

    /// nil where there is none; one that cannot be read chooses nothing.
    fileprivate static func selector(_ json: JSONValue?) -> LabelSelector? {
        guard let json, json.object != nil else { return nil }
        return LabelSelector(json) ?? LabelSelector([.init("", .exists)])
    }
}

extension NetworkPolicySpec.Rule {
    fileprivate init(_ json: JSONValue, peers key: String) {
        // Missing and empty are the same here, in the API's own words: no restriction.
        if let list = json[key]?.array, !list.isEmpty { peers = list.compactMap(NetworkPolicySpec.Peer.init(json:)) }
        if let list = json["ports"]?.array, !list.isEmpty {
            ports = list.compactMap(NetworkPolicySpec.Port.init(json:))
        }
    }
}

extension NetworkPolicySpec.Peer {
    fileprivate init?(json: JSONValue) {
        if let block = json["ipBlock"], block.object != nil {
            guard let prefix = block["cidr"]?.string.flatMap({ CIDR($0) }) else { return nil }
            let texts = (block["except"]?.array ?? []).compactMap(\.string)
            let except = texts.compactMap { CIDR($0) }
            guard except.count == texts.count else { return nil }
            self = .block(.init(prefix, except: except))
            return
        }
        let namespaces = NetworkPolicySpec.selector(json["namespaceSelector"])
        let pods = NetworkPolicySpec.selector(json["podSelector"])
        guard namespaces != nil || pods != nil else { return nil }
        self = .pods(.init(namespaces: namespaces, pods: pods ?? .everything))
    }
}

extension NetworkPolicySpec.Port {
    fileprivate init?(json: JSONValue) {
        guard let transport = Transport(json["protocol"]?.string ?? "TCP") else { return nil }
        self.transport = transport
        guard let port = json["port"], port != .null else {
            target = .all
            return
        }
        if let name = port.string {
            target = .named(name)
        } else if let first = port.int.flatMap({ UInt16(exactly: $0) }) {
            let last = json["endPort"]?.int.flatMap { UInt16(exactly: $0) } ?? first
            guard last >= first else { return nil }
            target = .range(Bytes.Port(first), Bytes.Port(last))
        } else {
            return nil
        }
    }
}
