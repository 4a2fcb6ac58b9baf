extension NFElement {
    /// Elements of a plain interval set that hold just these ranges, both ends included.
    ///
    /// Ranges that overlap or touch become one: the kernel refuses an interval that lies within another.
    ///
    /// - Parameter ranges: keys as register bytes in network order, all of one length.
    public static func intervals(_ ranges: some Sequence<(first: [UInt8], last: [UInt8])>) -> [NFElement] {
        var merged: [(first: [UInt8], end: [UInt8]?)] = []
        for range in ranges.sorted(by: { $0.first.lexicographicallyPrecedes($1.first) }) {
            let end = successor(range.last)
            guard let before = merged.last else {
                merged.append((range.first, end))
                continue
            }
            // No end: the one before goes up to the last key there is.
            guard let reached = before.end else { break }
            if reached.lexicographicallyPrecedes(range.first) {
                merged.append((range.first, end))
            } else if end.map({ reached.lexicographicallyPrecedes($0) }) ?? true {
                merged[merged.count - 1].end = end
            }
        }
        return merged.flatMap { range in [NFElement(key: range.first)] + (range.end.map { [.end($0)] } ?? []) }
    }

    /// Nil behind the last key.
    private static func successor(_ key: [UInt8]) -> [UInt8]? {
        var next = key
        for index in next.indices.reversed() {
            next[index] &+= 1
            if next[index] != 0 { return next }
        }
        return nil
    }
}
