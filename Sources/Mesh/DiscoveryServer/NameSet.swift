import XDS

/// A set of small numbers: which of the names of a `NameTable` a stream has subscribed to. One bit a name, so that a thousand
/// proxies that each want two thousand endpoints cost 250 bytes each.
struct NameSet: Equatable, Sequence {
    /// Never ends with a word without bits, so equal sets have equal words.
    private var words: [UInt64] = []
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    func contains(_ id: Int) -> Bool {
        let word = id >> 6
        return word < words.count && words[word] & (1 << UInt64(id & 63)) != 0
    }

    /// - Returns: Whether it was not there.
    @discardableResult
    mutating func insert(_ id: Int) -> Bool {
        guard !contains(id) else { return false }
        let word = id >> 6
        if word >= words.count {
            // No more than is needed: there is one of these for each stream and kind.
            words.reserveCapacity(word + 1)
            words += repeatElement(0, count: word + 1 - words.count)
        }
        words[word] |= 1 << UInt64(id & 63)
        count += 1
        return true
    }

    /// - Returns: Whether it was there.
    @discardableResult
    mutating func remove(_ id: Int) -> Bool {
        guard contains(id) else { return false }
        words[id >> 6] &= ~(1 << UInt64(id & 63))
        count -= 1
        // Most sets of what is to be sent are empty most of the time, and hold no memory then.
        if count == 0 { words = [] }
        while words.last == 0 { words.removeLast() }
        return true
    }

    mutating func removeAll() {
        words = []
        count = 0
    }

    /// In rising order.
    func makeIterator() -> AnyIterator<Int> {
        var word = 0
        var rest = words.first ?? 0
        return AnyIterator { [words] in
            while rest == 0 {
                word += 1
                guard word < words.count else { return nil }
                rest = words[word]
            }
            let bit = rest.trailingZeroBitCount
            rest &= rest - 1
            return word << 6 | bit
        }
    }
}

/// Names and the small numbers that stand for them. Only names that were published get a number, so what proxies ask for
/// cannot make it grow.
struct NameTable {
    private(set) var names: [String] = []
    private var ids: [String: Int] = [:]
    /// The last that was published under each name, in whichever scope.
    private var latest: [ServedResource?] = []

    func id(_ name: String) -> Int? { ids[name] }

    mutating func add(_ name: String) -> Int {
        if let id = ids[name] { return id }
        ids[name] = names.count
        names.append(name)
        latest.append(nil)
        return names.count - 1
    }

    /// A resource for one more scope. Sidecars have most of their own listeners and clusters in common; those are there once.
    mutating func resource(_ kind: ResourceKind, _ id: Int, _ message: [UInt8]) -> ServedResource {
        let fingerprint = ServedResource.hash(message)
        if let known = latest[id], known.fingerprint == fingerprint { return known }
        let made = ServedResource(kind, names[id], message, fingerprint: fingerprint)
        latest[id] = made
        return made
    }

    /// Keeps no resource under this name.
    mutating func forget(_ id: Int) { latest[id] = nil }

    subscript(id: Int) -> String { names[id] }
}
