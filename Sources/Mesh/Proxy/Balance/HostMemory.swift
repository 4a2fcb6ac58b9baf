import Bytes

/// A host set's flat memory, one block: what workers read without touching a reference count.
final class HostMemory: @unchecked Sendable {
    // Unchecked because of the pointers; nothing writes to the block after the initialiser.
    let view: HostView
    private let base: UnsafeMutableRawPointer

    init(_ builder: HostSetBuilder, slotCount: Int) {
        let subsets = SubsetTable.layOut(builder.subsets)
        let addresses = builder.hosts.map { HostAddress($0.address) }
        let table = HostView.layOutTable(builder.hosts)
        let places = builder.places.count == 1 ? [] : builder.hosts.map(\.place)
        var block = MemoryBlock(
            MemoryBlock.size(builder.facts) + MemoryBlock.size(builder.members) + MemoryBlock.size(builder.groups)
                + MemoryBlock.size(builder.levels) + MemoryBlock.size(builder.sections)
                + MemoryBlock.size(builder.shares) + MemoryBlock.size(builder.capacities)
                + MemoryBlock.size(builder.hashed) + MemoryBlock.size(subsets) + MemoryBlock.size(addresses)
                + MemoryBlock.size(table) + MemoryBlock.size(places))
        view = HostView(
            hostCount: builder.facts.count, slotCount: slotCount, facts: block.put(builder.facts),
            members: block.put(builder.members), groupCount: builder.groups.count, groups: block.put(builder.groups),
            levels: block.put(builder.levels), sections: block.put(builder.sections),
            shares: block.put(builder.shares), capacities: block.put(builder.capacities),
            hashed: block.put(builder.hashed),
            subsets: SubsetTable(slots: block.put(subsets), mask: subsets.count - 1),
            addresses: block.put(addresses), table: block.put(table), tableMask: table.count - 1,
            places: block.put(places), anySection: builder.anySection,
            defaultSection: builder.defaultSection)
        base = block.base
    }

    deinit { base.deallocate() }
}

/// Memory that arrays are put into one after another.
private struct MemoryBlock {
    private static let alignment = 16
    let base: UnsafeMutableRawPointer
    private var used = 0
    private let capacity: Int

    init(_ capacity: Int) {
        base = .allocate(byteCount: max(capacity, 1), alignment: Self.alignment)
        self.capacity = capacity
    }

    /// What an array takes, with what aligns the next.
    static func size<Element>(_ elements: [Element]) -> Int {
        (elements.count * MemoryLayout<Element>.stride + alignment - 1) / alignment * alignment
    }

    mutating func put<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafePointer<Element> {
        precondition(used + Self.size(elements) <= capacity, "the block was measured")
        let memory = (base + used).bindMemory(to: Element.self, capacity: max(elements.count, 1))
        for (i, element) in elements.enumerated() { (memory + i).initialize(to: element) }
        used += Self.size(elements)
        return UnsafePointer(memory)
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
    nonisolated(unsafe) var addresses: UnsafePointer<HostAddress>
    /// Hosts by the hash of their addresses; none where they are so few that looking at each is as good.
    nonisolated(unsafe) var table: UnsafePointer<UInt32>
    /// -1 without a table.
    var tableMask: Int
    /// By host; only where there are several.
    nonisolated(unsafe) var places: UnsafePointer<UInt32>
    /// Sections for fallbacks of subsets, or `none`.
    var anySection: UInt32
    var defaultSection: UInt32

    /// The section of the whole cluster.
    static let clusterSection: UInt32 = 0

    @inline(__always)
    func member(_ group: HostGroup, _ number: Int) -> Int {
        Int(members[Int(group.start) &+ number])
    }

    /// Hosts that are looked through one by one at most.
    private static let untabled = 16

    static func layOutTable(_ hosts: [Host]) -> [UInt32] {
        guard hosts.count > untabled else { return [] }
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
        let wanted = HostAddress(endpoint)
        guard view.tableMask >= 0 else {
            return (0..<view.hostCount).first { view.addresses[$0] == wanted }.map { HostIndex(UInt32($0)) }
        }
        var at = Int(truncatingIfNeeded: HostView.addressHash(endpoint)) & view.tableMask
        while view.table[at] != .none {
            let index = HostIndex(view.table[at])
            if view.addresses[Int(index.rawValue)] == wanted { return index }
            at = (at + 1) & view.tableMask
        }
        return nil
    }
}
