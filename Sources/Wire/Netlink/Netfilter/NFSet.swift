/// A set's or map's name.
public struct NFSetName: Hashable, Sendable, CustomStringConvertible {
    public var table: NFTableName
    public var name: String

    public init(_ table: NFTableName, _ name: String) {
        self.table = table
        self.name = name
    }

    public var description: String { "\(table) \(name)" }
}

/// A set, or a map from keys to data, verdicts or objects.
public struct NFSet: Hashable, Sendable {
    public struct Flags: OptionSet, Hashable, Sendable {
        public var rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let anonymous = Self(rawValue: 0x01)
        /// Its elements cannot change once a rule uses it.
        public static let constant = Self(rawValue: 0x02)
        public static let interval = Self(rawValue: 0x04)
        public static let map = Self(rawValue: 0x08)
        public static let timeout = Self(rawValue: 0x10)
        /// Rules add, update or delete elements.
        public static let dynamic = Self(rawValue: 0x20)
        public static let object = Self(rawValue: 0x40)
        /// Only beside `interval`: ranges in each field (`pipapo`).
        public static let concatenation = Self(rawValue: 0x80)
    }

    public enum Mapped: Hashable, Sendable {
        case data([NFDataType])
        case verdict
        case object(NFObject.Kind)
    }

    public var id: NFSetName
    public var key: [NFDataType]
    /// nil for a plain set.
    public var mapped: Mapped?
    /// Without those that follow from `mapped`.
    public var flags: Flags
    /// Milliseconds until an element goes by itself; nil: never.
    public var timeout: UInt64?
    /// Milliseconds between collections of expired elements.
    public var collectionInterval: UInt32?
    /// The most elements it takes: ENFILE beyond. nil makes a hash table that grows with its content.
    public var size: UInt32?
    public var comment: String?
    public var handle: UInt64 = 0

    public init(
        _ id: NFSetName, key: [NFDataType], mapped: Mapped? = nil, flags: Flags = [], timeout: UInt64? = nil,
        size: UInt32? = nil, comment: String? = nil
    ) {
        self.id = id
        self.key = key
        self.mapped = mapped
        self.flags = flags
        self.timeout = timeout
        self.size = size
        self.comment = comment
    }

    public var isMap: Bool { mapped != nil }
    /// Bytes, each field of a concatenation padded.
    public var keyLength: Int { Self.length(key) }
    public var dataLength: Int { if case .data(let types) = mapped { Self.length(types) } else { 0 } }

    /// The same definition, but for what only the kernel knows.
    public func isSameDefinition(as other: NFSet) -> Bool {
        var (a, b) = (self, other)
        (a.handle, b.handle) = (0, 0)
        return a == b
    }
}

extension NFSet {
    static func length(_ types: [NFDataType]) -> Int {
        types.count == 1 ? types[0].size : types.reduce(0) { $0 + $1.slots * 4 }
    }

    private static func number(_ types: [NFDataType]) -> UInt32 { types.reduce(0) { $0 << 6 | $1.number } }

    private static let verdictType: UInt32 = 0xFFFF_FF00

    func encode(into writer: inout NetlinkWriter, batchID: UInt32) {
        var all = flags
        switch mapped {
        case .data, .verdict: all.insert(.map)
        case .object: all.insert(.object)
        case nil: break
        }
        if timeout != nil { all.insert(.timeout) }
        if all.contains(.interval), key.count > 1 { all.insert(.concatenation) }
        writer.attribute(NFTA.Set.table, id.table.name)
        writer.attribute(NFTA.Set.name, id.name)
        if !all.isEmpty { writer.attribute(NFTA.Set.flags, bigEndian: all.rawValue) }
        writer.attribute(NFTA.Set.keyType, bigEndian: Self.number(key))
        writer.attribute(NFTA.Set.keyLength, bigEndian: UInt32(keyLength))
        switch mapped {
        case .data(let types):
            writer.attribute(NFTA.Set.dataType, bigEndian: Self.number(types))
            writer.attribute(NFTA.Set.dataLength, bigEndian: UInt32(dataLength))
        case .verdict: writer.attribute(NFTA.Set.dataType, bigEndian: Self.verdictType)
        case .object(let kind): writer.attribute(NFTA.Set.objectType, bigEndian: kind.rawValue)
        case nil: break
        }
        writer.attribute(NFTA.Set.id, bigEndian: batchID)
        if size != nil || all.contains(.concatenation) {
            writer.nest(NFTA.Set.description) { description in
                if let size { description.attribute(NFTA.SetDescription.size, bigEndian: size) }
                guard all.contains(.concatenation) else { return }
                description.nest(NFTA.SetDescription.concatenation) { fields in
                    for field in key {
                        fields.nest(NFTA.listElement) { $0.attribute(1, bigEndian: UInt32(field.size)) }
                    }
                }
            }
        }
        if let timeout { writer.attribute(NFTA.Set.timeout, bigEndian: timeout) }
        if let collectionInterval { writer.attribute(NFTA.Set.gcInterval, bigEndian: collectionInterval) }
        // Without these nft prints fields in host order with their bytes swapped.
        var userdata: [UInt8] = []
        NFUserData.append(Self.byteOrder(key), type: 0, to: &userdata)
        if case .data(let types) = mapped { NFUserData.append(Self.byteOrder(types), type: 1, to: &userdata) }
        if let comment { NFUserData.appendComment(comment, type: 7, to: &userdata) }
        writer.attribute(NFTA.Set.userdata, userdata)
    }

    /// nft's `BYTEORDER_*`; concatenations have none of their own.
    private static func byteOrder(_ types: [NFDataType]) -> UInt32 {
        types.count > 1 ? 0 : types[0].isHostOrder ? 1 : 2
    }

    init?(_ family: NFFamily, _ attributes: NetlinkAttributes) {
        self.init(NFSetName(NFTableName(family, ""), ""), key: [])
        var all: Flags = []
        var (keyType, keyLength, dataType, dataLength): (UInt32, Int, UInt32?, Int) = (0, 0, nil, 0)
        for attribute in attributes {
            switch attribute.type {
            case NFTA.Set.table: id.table.name = attribute.string ?? ""
            case NFTA.Set.name: id.name = attribute.string ?? ""
            case NFTA.Set.handle: handle = attribute.u64BigEndian ?? 0
            case NFTA.Set.flags: all = Flags(rawValue: attribute.u32BigEndian ?? 0)
            case NFTA.Set.keyType: keyType = attribute.u32BigEndian ?? 0
            case NFTA.Set.keyLength: keyLength = Int(attribute.u32BigEndian ?? 0)
            case NFTA.Set.dataType: dataType = attribute.u32BigEndian
            case NFTA.Set.dataLength: dataLength = Int(attribute.u32BigEndian ?? 0)
            case NFTA.Set.timeout: timeout = attribute.u64BigEndian
            case NFTA.Set.gcInterval: collectionInterval = attribute.u32BigEndian
            case NFTA.Set.description: size = attribute.nested.first(NFTA.SetDescription.size)?.u32BigEndian
            case NFTA.Set.objectType: mapped = attribute.u32BigEndian.map { .object(NFObject.Kind(rawValue: $0)) }
            case NFTA.Set.userdata: comment = NFUserData.comment(in: attribute.value, type: 7)
            default: break
            }
        }
        guard !id.name.isEmpty, keyLength > 0, keyLength <= 64, dataLength <= 64 else { return nil }
        key = Self.fields(keyType, keyLength)
        if all.contains(.map) {
            mapped = dataType == Self.verdictType ? .verdict : .data(Self.fields(dataType ?? 0, dataLength))
        }
        flags = all.subtracting([.map, .object])
        if timeout != nil { flags.remove(.timeout) }
        if flags.contains(.interval) { flags.remove(.concatenation) }
    }

    /// The fields that a packed type number tells of; one nameless field where it does not add up.
    private static func fields(_ number: UInt32, _ length: Int) -> [NFDataType] {
        var types: [NFDataType] = []
        var rest = number
        while rest != 0 {
            guard let type = NFDataType.known.first(where: { $0.number == rest & 63 }) else {
                return [NFDataType(number: number, size: length)]
            }
            types.insert(type, at: 0)
            rest >>= 6
        }
        return self.length(types) == length && !types.isEmpty ? types : [NFDataType(number: number, size: length)]
    }
}
