package import Bytes

/// Addresses from one to another, both included, of one family.
package struct AddressRange: Hashable, Sendable {
    package var first: IPAddress
    package var last: IPAddress

    package init(_ first: IPAddress, _ last: IPAddress) { (self.first, self.last) = (first, last) }
    package init(_ prefix: CIDR) { self.init(prefix.first, prefix.last) }

    /// From an address to the last one of its family.
    package static func from(_ first: IPAddress) -> AddressRange? {
        CIDR(first, prefixLength: 0).map { AddressRange(first, $0.last) }
    }

    /// The next address behind; nil at the family's end.
    package var end: IPAddress? {
        let next = last.adding(1)
        return next > last ? next : nil
    }

    /// From an address to the one before another; nil when there is none before it.
    package init?(_ first: IPAddress, before end: IPAddress) {
        guard first < end else { return nil }
        let last =
            if let v4 = end.v4 {
                IPAddress(v4: v4 - 1)
            } else {
                IPAddress(v6: end.low == 0 ? end.high - 1 : end.high, end.low &- 1)
            }
        self.init(first, last)
    }

    /// The same addresses as ranges that neither overlap nor touch, sorted: the kernel refuses an interval that lies
    /// within another.
    package static func disjoint(_ ranges: some Sequence<AddressRange>) -> [AddressRange] {
        var result: [AddressRange] = []
        for range in ranges.sorted(by: { $0.first < $1.first }) {
            if let before = result.last, before.last.family == range.first.family,
                before.end.map({ range.first <= $0 }) ?? true
            {
                result[result.count - 1].last = max(before.last, range.last)
            } else {
                result.append(range)
            }
        }
        return result
    }
}
