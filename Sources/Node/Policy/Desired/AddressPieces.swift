import Bytes
import NodeTables

/// The prefixes that one profile names, cut where any of them or their exceptions begin or end: ranges that do not overlap, each
/// with the ports that are open to it.
struct AddressPieces: Sendable {
    struct Piece: Hashable, Sendable {
        var addresses: AddressRange
        var ports: PortSet
    }

    /// Sorted, IPv4 first.
    private(set) var pieces: [Piece] = []

    init(_ blocks: [(block: NetworkPolicySpec.AddressBlock, ports: PortSet)]) {
        for family in [IPAddress.Family.v4, .v6] {
            let mine = blocks.filter { $0.block.prefix.address.family == family && !$0.ports.isEmpty }
            guard !mine.isEmpty else { continue }
            let prefixes = mine.flatMap { entry in
                [entry.block.prefix] + entry.block.except.filter { $0.address.family == family }
            }
            // Where a range may begin: at the first address of a prefix, and behind its last one.
            let starts = Set(
                prefixes.flatMap { prefix in [prefix.first] + (AddressRange(prefix).end.map { [$0] } ?? []) }
            )
            .sorted()
            for (index, start) in starts.enumerated() {
                var ports = PortSet()
                for entry in mine where entry.block.contains(start) { ports.formUnion(entry.ports) }
                let range =
                    index + 1 < starts.count
                    ? AddressRange(start, before: starts[index + 1]) : AddressRange.from(start)
                guard !ports.isEmpty, let range else { continue }
                if let last = pieces.last, last.ports == ports, last.addresses.end == start {
                    pieces[pieces.count - 1].addresses.last = range.last
                } else {
                    pieces.append(Piece(addresses: range, ports: ports))
                }
            }
        }
    }
}
