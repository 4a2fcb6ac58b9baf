import Bytes

/// The port ranges of one profile, cut where any of them begins or ends: pieces that do not overlap, so that the kernel can hold
/// them, and each range is some of them.
struct PortGroups: Hashable, Sendable {
    private(set) var pieces: [PortSet.PortRange] = []

    init(_ ranges: Set<PortSet.PortRange>) {
        for transport in Transport.allCases {
            let mine = ranges.filter { $0.transport == transport }
            // The first port of each piece; one past the last port may be 65536.
            let cuts = Set(mine.flatMap { [UInt32($0.first.rawValue), UInt32($0.last.rawValue) + 1] }).sorted()
            for (start, end) in zip(cuts, cuts.dropFirst()) {
                let piece = PortSet.PortRange(
                    transport: transport, first: Port(UInt16(start)), last: Port(UInt16(end - 1)))
                if mine.contains(where: { $0.first <= piece.first && piece.last <= $0.last }) { pieces.append(piece) }
            }
        }
    }

    /// A piece's number within its profile: it depends on nothing but the piece.
    static func number(_ piece: PortSet.PortRange) -> UInt32 {
        UInt32(piece.transport.rawValue) << 16 | UInt32(piece.first.rawValue)
    }

    func numbers(of ranges: Set<PortSet.PortRange>) -> Set<UInt32> {
        var numbers: Set<UInt32> = []
        for range in ranges {
            for piece in pieces
            where piece.transport == range.transport && range.first <= piece.first && piece.last <= range.last {
                numbers.insert(Self.number(piece))
            }
        }
        return numbers
    }
}
