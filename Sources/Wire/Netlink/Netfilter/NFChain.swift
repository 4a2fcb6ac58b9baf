/// A chain's name.
public struct NFChainName: Hashable, Sendable, CustomStringConvertible {
    public var table: NFTableName
    public var name: String

    public init(_ table: NFTableName, _ name: String) {
        self.table = table
        self.name = name
    }

    public var description: String { "\(table) \(name)" }
}

/// A list of rules: attached to a hook (base chain), or reached by jump and goto.
public struct NFChain: Hashable, Sendable {
    public enum Kind: String, Sendable, CaseIterable { case filter, nat, route }

    public enum Policy: UInt32, Sendable { case drop = 0, accept = 1 }

    /// Where the stack hands packets over, as the IP families number it.
    public enum Hook: UInt32, Sendable {
        case prerouting = 0, input = 1, forward = 2, output = 3, postrouting = 4, ingress = 5
    }

    /// What makes a chain a base chain.
    public struct Base: Hashable, Sendable {
        public var kind: Kind
        public var hook: Hook
        /// Lower runs earlier. NAT happens at -100 (dstnat) and 100 (srcnat), filter at 0.
        public var priority: Int32
        public var policy: Policy
        /// For `netdev` and `inet` ingress.
        public var device: String?

        public init(
            _ kind: Kind, _ hook: Hook, priority: Int32, policy: Policy = .accept, device: String? = nil
        ) {
            self.kind = kind
            self.hook = hook
            self.priority = priority
            self.policy = policy
            self.device = device
        }

        /// Before connection tracking.
        public static let raw: Int32 = -300
        public static let mangle: Int32 = -150
        public static let destinationNAT: Int32 = -100
        public static let filter: Int32 = 0
        public static let security: Int32 = 50
        public static let sourceNAT: Int32 = 100
    }

    public var id: NFChainName
    public var base: Base?
    public var comment: String?
    public var handle: UInt64 = 0
    /// How many rules it has and how many refer to it, as the kernel says.
    public var use: UInt32 = 0

    public init(_ id: NFChainName, base: Base? = nil, comment: String? = nil) {
        self.id = id
        self.base = base
        self.comment = comment
    }
}

extension NFChain {
    func encode(into writer: inout NetlinkWriter) {
        writer.attribute(NFTA.Chain.table, id.table.name)
        writer.attribute(NFTA.Chain.name, id.name)
        if let base {
            writer.nest(NFTA.Chain.hook) { hook in
                hook.attribute(NFTA.Hook.number, bigEndian: id.table.family == .netdev ? 0 : base.hook.rawValue)
                hook.attribute(NFTA.Hook.priority, bigEndian: base.priority)
                if let device = base.device { hook.attribute(NFTA.Hook.device, device) }
            }
            writer.attribute(NFTA.Chain.policy, bigEndian: base.policy.rawValue)
            writer.attribute(NFTA.Chain.type, base.kind.rawValue)
        }
        if let comment { writer.attribute(NFTA.Chain.userdata, NFUserData.comment(comment, type: 0)) }
    }

    init?(_ family: NFFamily, _ attributes: NetlinkAttributes) {
        self.init(NFChainName(NFTableName(family, ""), ""))
        var hook: NetlinkAttributes?
        var kind = Kind.filter
        var policy = Policy.accept
        for attribute in attributes {
            switch attribute.type {
            case NFTA.Chain.table: id.table.name = attribute.string ?? ""
            case NFTA.Chain.name: id.name = attribute.string ?? ""
            case NFTA.Chain.handle: handle = attribute.u64BigEndian ?? 0
            case NFTA.Chain.use: use = attribute.u32BigEndian ?? 0
            case NFTA.Chain.hook: hook = attribute.nested
            case NFTA.Chain.type: kind = attribute.string.flatMap(Kind.init(rawValue:)) ?? .filter
            case NFTA.Chain.policy: policy = attribute.u32BigEndian.flatMap(Policy.init(rawValue:)) ?? .accept
            case NFTA.Chain.userdata: comment = NFUserData.comment(in: attribute.value, type: 0)
            default: break
            }
        }
        if let hook, let number = hook.first(NFTA.Hook.number)?.u32BigEndian {
            let hookNumber: Hook? = family == .netdev ? .ingress : Hook(rawValue: number)
            guard let hookNumber else { return nil }
            base = Base(
                kind, hookNumber, priority: Int32(bitPattern: hook.first(NFTA.Hook.priority)?.u32BigEndian ?? 0),
                policy: policy, device: hook.first(NFTA.Hook.device)?.string)
        }
        guard !id.name.isEmpty, !id.table.name.isEmpty else { return nil }
    }
}
