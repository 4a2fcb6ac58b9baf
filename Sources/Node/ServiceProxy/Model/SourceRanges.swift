import Bytes

/// Addresses from one to another, both included, of one family.
struct AddressRange: Hashable, Sendable {
    var first: IPAddress
    var last: IPAddress

    init(_ first: IPAddress, _ last: IPAddress) { (self.first, self.last) = (first, last) }
    init(_ prefix: CIDR) { self.init(prefix.first, prefix.last) }

    /// The next address behind; nil at the family's end.
    var end: IPAddress? {
        let next = last.adding(1)
        return next > last ? next : nil
    }

    /// The same addresses as ranges that neither overlap nor touch, sorted: the kernel refuses an interval that lies
    /// within another.
    static func disjoint(_ ranges: some Sequence<AddressRange>) -> [AddressRange] {
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

/// A Service's `loadBalancerSourceRanges`.
enum SourceRanges {
    /// What people write: blanks around a prefix are dropped, leading zeros and host bits are let pass, and what is no prefix
    /// counts for nothing (the API server refuses it).
    static func parse(_ texts: [String]) -> [CIDR] {
        texts.compactMap { text in
            let parts = text.split(whereSeparator: \.isWhitespace).joined().split(separator: "/")
            guard parts.count == 2, let address = IPAddress(sloppy: String(parts[0])), let length = UInt8(parts[1])
            else { return nil }
            return CIDR(address, prefixLength: length)?.network
        }
    }

    /// Which sources one family's load balancer addresses admit; nil when all are.
    ///
    /// A prefix of length 0 is no restriction. A list without a prefix of this family restricts nothing of it: kube-proxy
    /// keeps the two families' lists apart. Where the node itself is admitted, so are the addresses themselves: a load
    /// balancer's address is often local to the nodes, and what they send to it then has it for its source.
    static func admitted(
        _ prefixes: [CIDR], to addresses: [IPAddress], _ family: IPAddress.Family, node: [IPAddress]
    ) -> [AddressRange]? {
        let mine = prefixes.filter { $0.address.family == family }
        guard !mine.isEmpty, !mine.contains(where: { $0.prefixLength == 0 }) else { return nil }
        var ranges = mine.map { AddressRange($0) }
        if node.contains(where: { address in mine.contains { $0.contains(address) } }) {
            ranges += addresses.map { AddressRange($0, $0) }
        }
        return AddressRange.disjoint(ranges)
    }
}
