/// A table's name within a network namespace.
public struct NFTableName: Hashable, Sendable, CustomStringConvertible {
    public var family: NFFamily
    /// At most 255 bytes; `nft` can print `[A-Za-z_.][A-Za-z0-9_./-]*`.
    public var name: String

    public init(_ family: NFFamily, _ name: String) {
        self.family = family
        self.name = name
    }

    public var description: String { "\(family) \(name)" }
}

/// A table: the container of chains, sets and objects.
public struct NFTable: Hashable, Sendable {
    public struct Flags: OptionSet, Hashable, Sendable {
        public var rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// Its chains see nothing.
        public static let dormant = Self(rawValue: 1)
        /// Only the socket that made or adopted it may write; `flush ruleset` of others passes it by. Without
        /// `persist` it goes with that socket.
        public static let owner = Self(rawValue: 2)
        /// It stays when its owner goes, and then belongs to nobody until adopted (Linux 6.9).
        public static let persist = Self(rawValue: 4)
    }

    public var id: NFTableName
    public var flags: Flags = []
    /// At most 128 bytes.
    public var comment: String?
    /// The kernel's number for it; 0 before it was read back.
    public var handle: UInt64 = 0
    /// How many chains, sets and objects it holds, as the kernel says.
    public var use: UInt32 = 0
    /// The netlink port of its owner; nil when nobody owns it.
    public var owner: UInt32?

    public init(_ id: NFTableName, flags: Flags = [], comment: String? = nil) {
        self.id = id
        self.flags = flags
        self.comment = comment
    }
}

extension NFTable {
    func encode(into writer: inout NetlinkWriter) {
        writer.attribute(NFTA.Table.name, id.name)
        if !flags.isEmpty { writer.attribute(NFTA.Table.flags, bigEndian: flags.rawValue) }
        if let comment { writer.attribute(NFTA.Table.userdata, NFUserData.comment(comment, type: 0)) }
    }

    init?(_ family: NFFamily, _ attributes: NetlinkAttributes) {
        self.init(NFTableName(family, ""))
        for attribute in attributes {
            switch attribute.type {
            case NFTA.Table.name: id.name = attribute.string ?? ""
            case NFTA.Table.flags: flags = Flags(rawValue: attribute.u32BigEndian ?? 0)
            case NFTA.Table.use: use = attribute.u32BigEndian ?? 0
            case NFTA.Table.handle: handle = attribute.u64BigEndian ?? 0
            case NFTA.Table.userdata: comment = NFUserData.comment(in: attribute.value, type: 0)
            case NFTA.Table.owner: owner = attribute.u32BigEndian
            default: break
            }
        }
        guard !id.name.isEmpty else { return nil }
    }
}
