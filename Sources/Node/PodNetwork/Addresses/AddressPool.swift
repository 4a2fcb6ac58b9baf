import Bytes

/// The addresses of one prefix, and which of them are taken.
///
/// A pure value: the caller brings the time and keeps the record on disk. Addresses are given out in turn, not lowest first,
/// and one that comes back rests before it goes out again, so that a peer that still has a connection, a DNS answer or a
/// conntrack entry for the old holder does not reach the new one.
public struct AddressPool: Sendable {
    /// The largest number of addresses that one pool hands out; of a wider prefix, the first so many.
    public static let maximumSize: UInt64 = 65_536

    public let prefix: CIDR
    /// How long a released address rests, in seconds.
    public let quarantine: Int64
    private let first: UInt64
    private let last: UInt64
    private var taken: [IPAddress: AttachmentID] = [:]
    private var resting: [IPAddress: Int64] = [:]
    private var next: UInt64

    /// A pool over `prefix` without what is spoken for in it: the first address is the tunnel device's, the second is by
    /// custom the node's own, and the last of an IPv4 prefix is its broadcast address. Nil where nothing is left.
    public init?(prefix: CIDR, quarantine: Int64 = 30) {
        let network = prefix.network
        let count = min(network.count, Self.maximumSize)
        let tail: UInt64 = network.address.family == .v4 && count == network.count ? 1 : 0
        guard count > 2 + tail else { return nil }
        self.prefix = network
        self.quarantine = quarantine
        first = 2
        last = count - 1 - tail
        next = first
    }

    /// How many addresses the pool has in all.
    public var size: Int { Int(last - first + 1) }
    public var takenCount: Int { taken.count }
    public func holder(of address: IPAddress) -> AttachmentID? { taken[address] }

    /// Gives out the next free address. `now` is in seconds of any clock that `release` uses too.
    public mutating func allocate(for holder: AttachmentID, now: Int64) throws(AddressPoolError) -> IPAddress {
        var soonest: Int64?
        for step in 0..<UInt64(size) {
            let offset = first + (next - first + step) % UInt64(size)
            let address = prefix.address.adding(offset)
            if taken[address] != nil { continue }
            if let until = resting[address], until > now {
                soonest = min(soonest ?? until, until)
                continue
            }
            resting[address] = nil
            taken[address] = holder
            next = offset == last ? first : offset + 1
            return address
        }
        if let soonest { throw .resting(prefix: prefix, seconds: soonest - now) }
        throw .exhausted(prefix: prefix, size: size)
    }

    /// Takes one particular address: from a record, or because it was asked for by name.
    public mutating func claim(_ address: IPAddress, for holder: AttachmentID) throws(AddressPoolError) {
        guard prefix.contains(address) else { throw .foreign(address, prefix: prefix) }
        if let other = taken[address], other != holder { throw .taken(address, by: other) }
        resting[address] = nil
        taken[address] = holder
    }

    /// Gives an address back. Only its holder can: a late second release must not free what another got meanwhile.
    public mutating func release(_ address: IPAddress, by holder: AttachmentID, now: Int64) {
        guard taken[address] == holder else { return }
        taken[address] = nil
        resting[address] = now + quarantine
    }

    /// Puts an address to rest that no one holds, as a record of an earlier life of the daemon tells.
    public mutating func rest(_ address: IPAddress, until: Int64) {
        guard prefix.contains(address), taken[address] == nil else { return }
        resting[address] = until
    }
}

public enum AddressPoolError: Error, Equatable, CustomStringConvertible {
    case exhausted(prefix: CIDR, size: Int)
    case resting(prefix: CIDR, seconds: Int64)
    case foreign(IPAddress, prefix: CIDR)
    case taken(IPAddress, by: AttachmentID)

    public var description: String {
        switch self {
        case .exhausted(let prefix, let size): "all \(size) addresses of \(prefix) are taken by pods of this node"
        case .resting(let prefix, let seconds):
            "no address of \(prefix) is free; the next released one may be used again in \(seconds) s"
        case .foreign(let address, let prefix): "address \(address) is not in this node's \(prefix)"
        case .taken(let address, let holder): "address \(address) is taken by \(holder)"
        }
    }
}
