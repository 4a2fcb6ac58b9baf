public import JSON

extension JSONValue {
    /// The text under these keys, "" when there is none.
    public func text(_ keys: String...) -> String {
        var value = self
        for key in keys {
            guard let next = value[key] else { return "" }
            value = next
        }
        return value.string ?? ""
    }

    /// The list under these keys, empty when there is none.
    public func list(_ keys: String...) -> [JSONValue] {
        var value = self
        for key in keys {
            guard let next = value[key] else { return [] }
            value = next
        }
        return value.array ?? []
    }

    /// The number under these keys, 0 when there is none.
    public func number(_ keys: String...) -> Int64 {
        var value = self
        for key in keys {
            guard let next = value[key] else { return 0 }
            value = next
        }
        return value.int ?? 0
    }

    /// The number or text of a value that may be either, as one would read it aloud.
    public var plainText: String {
        switch self {
        case .string(let text): text
        case .int(let number): String(number)
        case .bool(let flag): flag ? "true" : "false"
        case .null: ""
        default: encodedString()
        }
    }

    /// The element of the list whose `key` is `value`: a condition by type, a container by name.
    public func element(where key: String, is value: String) -> JSONValue? {
        array?.first { $0[key]?.string == value }
    }
}
