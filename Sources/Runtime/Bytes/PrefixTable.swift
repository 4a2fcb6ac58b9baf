/// Prefixes of both families, asked for the longest that an address lies in. Immutable; a lookup allocates nothing and
/// costs a binary search and a step for each level that prefixes are nested in each other around the address.
///
/// A sorted array instead of a trie: a prefix costs one entry, a table of one prefix is one comparison, and building is a
/// sort. An IPv4 address is not found under an IPv6 prefix, nor a mapped one under IPv4: see `IPAddress.unmapped`.
public struct PrefixTable<Value: Sendable>: Sendable {
    @usableFromInline
    struct Entry: Sendable {
        @usableFromInline let prefix: CIDR
        /// The narrowest other entry that this one lies in; -1 for none.
        @usableFromInline var parent: Int
        @usableFromInline let value: Value

        @inlinable
        init(prefix: CIDR, parent: Int, value: Value) {
            self.prefix = prefix
            self.parent = parent
            self.value = value
        }
    }

    /// By first address, then the wider first, so that what contains an entry stands before it.
    @usableFromInline let entries: [Entry]

    /// Host bits of a prefix do not matter. Of several values for one prefix the last stays.
    @inlinable
    public init(_ values: some Sequence<(CIDR, Value)>) {
        var unique: [CIDR: Value] = [:]
        for (prefix, value) in values { unique[prefix.network] = value }
        var sorted = unique.map { Entry(prefix: $0.key, parent: -1, value: $0.value) }
        sorted.sort {
            $0.prefix.address == $1.prefix.address
                ? $0.prefix.prefixLength < $1.prefix.prefixLength : $0.prefix.address < $1.prefix.address
        }
        var around: [Int] = []
        for index in sorted.indices {
            while let last = around.last, !sorted[last].prefix.contains(sorted[index].prefix) { around.removeLast() }
            sorted[index].parent = around.last ?? -1
            around.append(index)
        }
        entries = sorted
    }

    @inlinable public var isEmpty: Bool { entries.isEmpty }
    @inlinable public var count: Int { entries.count }

    /// The value of the longest prefix that `address` lies in.
    @inlinable
    public func longestMatch(_ address: IPAddress) -> Value? {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low &+ high) >> 1
            if address < entries[middle].prefix.address { high = middle } else { low = middle &+ 1 }
        }
        // The last entry that begins at or before the address, or one of those around it.
        var index = low &- 1
        while index >= 0 {
            if entries[index].prefix.contains(address) { return entries[index].value }
            index = entries[index].parent
        }
        return nil
    }

    /// Whether any prefix has the address in it.
    @inlinable
    public func contains(_ address: IPAddress) -> Bool { longestMatch(address) != nil }
}

extension PrefixTable where Value == Bool {
    /// A plain set of prefixes.
    @inlinable
    public init(prefixes: some Sequence<CIDR>) { self.init(prefixes.map { ($0, true) }) }
}
