/// The members of a JSON object, in the order of their names' bytes, each name once.
///
/// The order makes equal objects have equal bytes, and a look-up a binary search. A value with copy on write.
public struct JSONObject: Sendable {
    public typealias Element = (key: String, value: JSONValue)

    /// A member as it is stored: arrays of a struct are made and released without looking up a tuple's type at run time.
    public struct Member: Sendable {
        public var key: String
        public var value: JSONValue

        public init(key: String, value: JSONValue) {
            self.key = key
            self.value = value
        }
    }

    var entries: [Member]

    public init() { entries = [] }

    /// Members in any order; of equal names the last one stays.
    public init(_ members: some Sequence<Element>) {
        entries = []
        for (key, value) in members { self[key] = value }
    }

    /// Members whose names already are in strictly ascending order of bytes; nothing is sorted and nothing checked
    /// outside of debug builds. For codecs that know the order.
    public init(ascending members: [Member]) {
        entries = members
        assert(isSorted, "members must be in the order of their names' bytes")
    }

    /// Strictly ascending names: nothing to sort, nothing twice.
    private var isSorted: Bool {
        var i = 1
        while i < entries.count {
            if KeyOrder.compare(entries[i - 1].key, entries[i].key) >= 0 { return false }
            i += 1
        }
        return true
    }

    public var count: Int { entries.count }
    public var isEmpty: Bool { entries.isEmpty }
    public var keys: [String] { entries.map(\.key) }

    /// A member; setting nil removes it.
    public subscript(key: String) -> JSONValue? {
        get {
            index(of: key).map { entries[$0].value }
        }
        _modify {
            let (index, found) = position(of: key)
            var value: JSONValue?
            if found {
                // Taken out while it is changed, so that the change finds it with one owner.
                value = entries[index].value
                entries[index].value = .null
            }
            yield &value
            switch (found, value) {
            case (true, let value?): entries[index].value = value
            case (true, nil): entries.remove(at: index)
            case (false, let value?): entries.insert(Member(key: key, value: value), at: index)
            case (false, nil): break
            }
        }
    }

    @discardableResult
    public mutating func removeValue(forKey key: String) -> JSONValue? {
        index(of: key).map { entries.remove(at: $0).value }
    }

    /// Changes every value in place.
    public mutating func mapValues(_ change: (_ key: String, inout JSONValue) throws -> Void) rethrows {
        for i in entries.indices { try change(entries[i].key, &entries[i].value) }
    }

    public mutating func removeAll(where shouldRemove: (Element) throws -> Bool) rethrows {
        try entries.removeAll { try shouldRemove(($0.key, $0.value)) }
    }

    /// Up to here looking at each member is faster than halving.
    private static let scanLimit = 8

    private func index(of key: String) -> Int? {
        if entries.count <= Self.scanLimit {
            for i in entries.indices where entries[i].key.hasSameBytes(as: key) { return i }
            return nil
        }
        let (index, found) = position(of: key)
        return found ? index : nil
    }

    private func position(of key: String) -> (index: Int, found: Bool) {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            let order = KeyOrder.compare(entries[middle].key, key)
            if order == 0 { return (middle, true) }
            if order < 0 { low = middle + 1 } else { high = middle }
        }
        return (low, false)
    }
}

extension JSONObject: RandomAccessCollection {
    public var startIndex: Int { 0 }
    public var endIndex: Int { entries.count }
    public subscript(position: Int) -> Element { (entries[position].key, entries[position].value) }

    /// All members as they are stored, in order; a pass over it copies none.
    public var members: [Member] { entries }
}

extension JSONObject: Hashable {
    public static func == (a: JSONObject, b: JSONObject) -> Bool {
        guard a.entries.count == b.entries.count else { return false }
        for i in a.entries.indices {
            guard a.entries[i].key.hasSameBytes(as: b.entries[i].key), a.entries[i].value == b.entries[i].value else {
                return false
            }
        }
        return true
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(entries.count)
        for entry in entries {
            hasher.combine(entry.key)
            hasher.combine(entry.value)
        }
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self.init()
        for (key, value) in elements { self[key] = value }
    }
}
