import Bytes

/// A host set's flat memory: what workers read without touching a reference count.
final class HostMemory: Sendable {
    private let facts: Flat<HostFacts>
    private let members: Flat<UInt32>
    private let groups: Flat<HostGroup>
    private let levels: Flat<PriorityLevel>
    private let sections: Flat<HostSection>
    private let shares: Flat<Double>
    private let capacities: Flat<UInt32>
    private let hashed: Flat<HashedLevel>
    private let subsets: Flat<SubsetTable.Slot>
    private let addresses: Flat<UInt32>
    let view: HostView

    init(_ builder: HostSetBuilder, slotCount: Int) {
        facts = Flat(builder.facts)
        members = Flat(builder.members)
        groups = Flat(builder.groups)
        levels = Flat(builder.levels)
        sections = Flat(builder.sections)
        shares = Flat(builder.shares)
        capacities = Flat(builder.capacities)
        hashed = Flat(builder.hashed)
        let slots = SubsetTable.layOut(builder.subsets)
        subsets = Flat(slots)
        addresses = Flat(HostView.layOutAddresses(builder.hosts))
        view = HostView(
            hostCount: facts.count, slotCount: slotCount, facts: facts.pointer, members: members.pointer,
            groupCount: groups.count, groups: groups.pointer, levels: levels.pointer, sections: sections.pointer,
            shares: shares.pointer, capacities: capacities.pointer, hashed: hashed.pointer,
            subsets: SubsetTable(slots: subsets.pointer, mask: slots.count - 1), addresses: addresses.pointer,
            addressMask: addresses.count - 1, anySection: builder.anySection, defaultSection: builder.defaultSection)
    }
}

/// Pointers into a host set's memory; good as long as the set lives. Trivial: copying it costs no reference count.
struct HostView: Sendable, BitwiseCopyable {
    var hostCount: Int
    /// All hosts' slots are below.
    var slotCount: Int
    // All of these belong to a `HostMemory`, which never changes.
    nonisolated(unsafe) var facts: UnsafePointer<HostFacts>
    nonisolated(unsafe) var members: UnsafePointer<UInt32>
    var groupCount: Int
    nonisolated(unsafe) var groups: UnsafePointer<HostGroup>
    nonisolated(unsafe) var levels: UnsafePointer<PriorityLevel>
    nonisolated(unsafe) var sections: UnsafePointer<HostSection>
    nonisolated(unsafe) var shares: UnsafePointer<Double>
    nonisolated(unsafe) var capacities: UnsafePointer<UInt32>
    nonisolated(unsafe) var hashed: UnsafePointer<HashedLevel>
    var subsets: SubsetTable
    nonisolated(unsafe) var addresses: UnsafePointer<UInt32>
    var addressMask: Int
    /// Sections for fallbacks of subsets, or `none`.
    var anySection: UInt32
    var defaultSection: UInt32

    /// The section of the whole cluster.
    static let clusterSection: UInt32 = 0

    @inline(__always)
    func member(_ group: HostGroup, _ number: Int) -> Int {
        Int(members[Int(group.start) &+ number])
    }

    static func layOutAddresses(_ hosts: [Host]) -> [UInt32] {
        var capacity = 2
        while capacity < 2 * hosts.count + 1 { capacity *= 2 }
        var slots = Array(repeating: UInt32.none, count: capacity)
        for (i, host) in hosts.enumerated() {
            guard let endpoint = host.address.endpoint else { continue }
            var at = Int(truncatingIfNeeded: addressHash(endpoint)) & (capacity - 1)
            while slots[at] != .none { at = (at + 1) & (capacity - 1) }
            slots[at] = UInt32(i)
        }
        return slots
    }

    @inline(__always)
    static func addressHash(_ endpoint: IPEndpoint) -> UInt64 {
        var hash = Fingerprint()
        hash.combine(endpoint.address.high)
        hash.combine(endpoint.address.low ^ UInt64(endpoint.port.rawValue) << 48)
        return hash.value
    }
}

extension HostSet {
    /// The first host with an address, for a session that returns to it.
    func host(at endpoint: IPEndpoint) -> HostIndex? {
        let view = view
        var at = Int(truncatingIfNeeded: HostView.addressHash(endpoint)) & view.addressMask
        while view.addresses[at] != .none {
            let index = HostIndex(view.addresses[at])
            if self[index].address.endpoint == endpoint { return index }
            at = (at + 1) & view.addressMask
        }
        return nil
    }
}
