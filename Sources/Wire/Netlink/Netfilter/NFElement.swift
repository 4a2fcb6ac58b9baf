/// What an element maps to.
public enum NFElementData: Hashable, Sendable {
    case none
    /// Register bytes, fields padded as in `NFDataType`.
    case value([UInt8])
    case verdict(NFVerdict)
    case object(String)
}

/// One element of a set or map.
public struct NFElement: Hashable, Sendable {
    /// Register bytes, fields padded as in `NFDataType`.
    public var key: [UInt8]
    /// The last key of a range, in sets that are intervals of concatenations.
    public var keyEnd: [UInt8]?
    public var data: NFElementData = .none
    /// In plain interval sets: the key is the first behind a range.
    public var isIntervalEnd = false
    /// Milliseconds; nil: the set's.
    public var timeout: UInt64?
    /// Milliseconds that are left; nil when it does not expire, or in what is to be added: all of them.
    public var expiration: UInt64?
    public var comment: String?

    public init(
        key: [UInt8], keyEnd: [UInt8]? = nil, data: NFElementData = .none, timeout: UInt64? = nil,
        comment: String? = nil
    ) {
        self.key = key
        self.keyEnd = keyEnd
        self.data = data
        self.timeout = timeout
        self.comment = comment
    }

    /// One past a range of an interval set.
    public static func end(_ key: [UInt8]) -> NFElement {
        var element = NFElement(key: key)
        element.isIntervalEnd = true
        return element
    }
}

extension NFElement {
    /// The value of one `NFTA_LIST_ELEM`.
    func encode(into writer: inout NetlinkWriter) {
        writer.nest(NFTA.Element.key) { $0.attribute(NFTA.Data.value, key) }
        if let keyEnd { writer.nest(NFTA.Element.keyEnd) { $0.attribute(NFTA.Data.value, keyEnd) } }
        switch data {
        case .none: break
        case .value(let bytes): writer.nest(NFTA.Element.data) { $0.attribute(NFTA.Data.value, bytes) }
        case .verdict(let verdict): writer.nest(NFTA.Element.data) { verdict.encode(into: &$0) }
        case .object(let name): writer.attribute(NFTA.Element.objectReference, name)
        }
        if isIntervalEnd { writer.attribute(NFTA.Element.flags, bigEndian: UInt32(1)) }
        if let timeout { writer.attribute(NFTA.Element.timeout, bigEndian: timeout) }
        if let expiration { writer.attribute(NFTA.Element.expiration, bigEndian: expiration) }
        if let comment { writer.attribute(NFTA.Element.userdata, NFUserData.comment(comment, type: 0)) }
    }

    public init?(_ view: NFElementView) {
        self.init(key: Array(view.key), keyEnd: view.keyEnd.map { Array($0) })
        if let value = view.value {
            data = .value(Array(value))
        } else if let verdict = view.verdict {
            data = .verdict(verdict)
        } else if let object = view.object {
            data = .object(object)
        }
        isIntervalEnd = view.isIntervalEnd
        timeout = view.timeout
        expiration = view.expiration
        comment = view.comment
    }
}

/// One element of a dump, in place: what goes through a hundred thousand of them takes this.
public struct NFElementView {
    public private(set) var key = UnsafeRawBufferPointer(start: nil, count: 0)
    public private(set) var keyEnd: UnsafeRawBufferPointer?
    public private(set) var value: UnsafeRawBufferPointer?
    public private(set) var verdict: NFVerdict?
    public private(set) var object: String?
    public private(set) var isIntervalEnd = false
    public private(set) var timeout: UInt64?
    public private(set) var expiration: UInt64?
    public private(set) var comment: String?

    init?(_ attributes: NetlinkAttributes) {
        for attribute in attributes {
            switch attribute.type {
            case NFTA.Element.key: key = attribute.nested.first(NFTA.Data.value)?.value ?? key
            case NFTA.Element.keyEnd: keyEnd = attribute.nested.first(NFTA.Data.value)?.value
            case NFTA.Element.data:
                value = attribute.nested.first(NFTA.Data.value)?.value
                verdict = attribute.nested.first(NFTA.Data.verdict).flatMap { NFVerdict($0.nested) }
            case NFTA.Element.flags: isIntervalEnd = (attribute.u32BigEndian ?? 0) & 1 != 0
            case NFTA.Element.timeout: timeout = attribute.u64BigEndian
            case NFTA.Element.expiration: expiration = attribute.u64BigEndian
            case NFTA.Element.userdata: comment = NFUserData.comment(in: attribute.value, type: 0)
            case NFTA.Element.objectReference: object = attribute.string
            default: break
            }
        }
        guard !key.isEmpty || keyEnd != nil else { return nil }
    }
}
