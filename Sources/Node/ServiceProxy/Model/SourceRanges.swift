import Bytes
import NodeTables

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
