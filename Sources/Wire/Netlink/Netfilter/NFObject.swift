/// A named stateful object: rules and maps refer to it by name.
public struct NFObject: Hashable, Sendable {
    public struct Kind: RawRepresentable, Hashable, Sendable {
        public var rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let counter = Self(rawValue: 1)
        public static let quota = Self(rawValue: 2)
        public static let limit = Self(rawValue: 4)
        public static let connectionLimit = Self(rawValue: 5)
    }

    public enum State: Hashable, Sendable {
        case counter(packets: UInt64, bytes: UInt64)
        /// Bytes; over: match what exceeds it.
        case quota(bytes: UInt64, over: Bool, consumed: UInt64)
        case limit(NFLimit)
        /// Connections at once; over: match what exceeds it.
        case connectionLimit(count: UInt32, over: Bool)
        /// Of a kind that this version does not know, as the kernel wrote it.
        case other(Kind, [UInt8])
    }

    public var table: NFTableName
    public var name: String
    public var state: State
    public var handle: UInt64 = 0
    public var use: UInt32 = 0

    public init(_ table: NFTableName, _ name: String, _ state: State) {
        self.table = table
        self.name = name
        self.state = state
    }

    public var kind: Kind {
        switch state {
        case .counter: .counter
        case .quota: .quota
        case .limit: .limit
        case .connectionLimit: .connectionLimit
        case .other(let kind, _): kind
        }
    }
}

extension NFObject {
    func encode(into writer: inout NetlinkWriter) {
        writer.attribute(NFTA.Object.table, table.name)
        writer.attribute(NFTA.Object.name, name)
        writer.attribute(NFTA.Object.type, bigEndian: kind.rawValue)
        if case .other(_, let bytes) = state {
            writer.attribute(NFTA.Object.data | 0x8000, bytes)
        } else {
            writer.nest(NFTA.Object.data) { state.encode(into: &$0) }
        }
    }

    init?(_ family: NFFamily, _ attributes: NetlinkAttributes) {
        var (table, name, kind, data): (String?, String?, Kind?, NetlinkAttribute?) = (nil, nil, nil, nil)
        var (handle, use): (UInt64, UInt32) = (0, 0)
        for attribute in attributes {
            switch attribute.type {
            case NFTA.Object.table: table = attribute.string
            case NFTA.Object.name: name = attribute.string
            case NFTA.Object.type: kind = attribute.u32BigEndian.map(Kind.init(rawValue:))
            case NFTA.Object.data: data = attribute
            case NFTA.Object.use: use = attribute.u32BigEndian ?? 0
            case NFTA.Object.handle: handle = attribute.u64BigEndian ?? 0
            default: break
            }
        }
        guard let table, let name, let kind else { return nil }
        let state = data.flatMap { State(kind, $0.nested) } ?? .other(kind, data?.bytes ?? [])
        self.init(NFTableName(family, table), name, state)
        self.handle = handle
        self.use = use
    }
}

extension NFObject.State {
    /// The same attributes stand in an object and in an expression of that name.
    func encode(into writer: inout NetlinkWriter) {
        switch self {
        case .counter(let packets, let bytes):
            writer.attribute(1, bigEndian: bytes)
            writer.attribute(2, bigEndian: packets)
        case .quota(let bytes, let over, let consumed):
            writer.attribute(1, bigEndian: bytes)
            writer.attribute(2, bigEndian: UInt32(over ? 1 : 0))
            writer.attribute(4, bigEndian: consumed)
        case .limit(let limit): limit.encode(into: &writer)
        case .connectionLimit(let count, let over):
            writer.attribute(1, bigEndian: count)
            writer.attribute(2, bigEndian: UInt32(over ? 1 : 0))
        case .other: break
        }
    }

    init?(_ kind: NFObject.Kind, _ attributes: NetlinkAttributes) {
        switch kind {
        case .counter:
            self = .counter(
                packets: attributes.first(2)?.u64BigEndian ?? 0, bytes: attributes.first(1)?.u64BigEndian ?? 0)
        case .quota:
            self = .quota(
                bytes: attributes.first(1)?.u64BigEndian ?? 0,
                over: (attributes.first(2)?.u32BigEndian ?? 0) & 1 != 0,
                consumed: attributes.first(4)?.u64BigEndian ?? 0)
        case .limit: self = .limit(NFLimit(attributes))
        case .connectionLimit:
            self = .connectionLimit(
                count: attributes.first(1)?.u32BigEndian ?? 0, over: (attributes.first(2)?.u32BigEndian ?? 0) & 1 != 0)
        default: return nil
        }
    }
}

/// So much in so much time.
public struct NFLimit: Hashable, Sendable {
    public var rate: UInt64
    /// Seconds: 1, 60, 3600 …
    public var per: UInt64
    public var burst: UInt32
    /// Bytes instead of packets.
    public var countsBytes: Bool
    /// Match what exceeds it.
    public var over: Bool

    public init(rate: UInt64, per: UInt64 = 1, burst: UInt32 = 5, countsBytes: Bool = false, over: Bool = false) {
        self.rate = rate
        self.per = per
        self.burst = burst
        self.countsBytes = countsBytes
        self.over = over
    }

    func encode(into writer: inout NetlinkWriter) {
        writer.attribute(1, bigEndian: rate)
        writer.attribute(2, bigEndian: per)
        writer.attribute(3, bigEndian: burst)
        writer.attribute(4, bigEndian: UInt32(countsBytes ? 1 : 0))
        writer.attribute(5, bigEndian: UInt32(over ? 1 : 0))
    }

    init(_ attributes: NetlinkAttributes) {
        self.init(
            rate: attributes.first(1)?.u64BigEndian ?? 0, per: attributes.first(2)?.u64BigEndian ?? 0,
            burst: attributes.first(3)?.u32BigEndian ?? 0,
            countsBytes: attributes.first(4)?.u32BigEndian == 1, over: (attributes.first(5)?.u32BigEndian ?? 0) & 1 != 0
        )
    }
}
