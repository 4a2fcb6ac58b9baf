import Bytes
import Glibc
import Netlink

/// The table as the kernel has it: adopts or makes the shape, reads the elements, and commits batches.
///
/// Belongs to one thread, or loop, at a time.
final class KernelTable {
    let shape: ServiceTable
    private let codec: ServiceElementCodec
    private let connection: NFTablesConnection
    /// Nobody else may write to the table while we live, and it stays when we go (Linux 6.9).
    private(set) var isOwner: Bool

    private var hasRead = false

    /// Who we are in notifications.
    var portID: UInt32 { connection.portID }

    /// What `prepare` found.
    enum Preparation: Equatable { case created, reshaped, adopted }

    init(_ shape: ServiceTable, owning: Bool, namespace: CInt?) throws(NetlinkError) {
        self.shape = shape
        codec = ServiceElementCodec(family: shape.name.family == .ip ? .v4 : .v6)
        connection = try NFTablesConnection(namespace: namespace)
        isOwner = owning
    }

    /// Makes the table's fixed part what it should be. Elements of a table with the right sets stay, whatever the rest
    /// was: changed rules are exchanged around them, in one transaction.
    func prepare() throws -> Preparation {
        do {
            return try prepareOnce()
        } catch let error as NFBatchError where isOwner && error.failures.contains(where: \.isUnsupported) {
            isOwner = false
            return try prepareOnce()
        }
    }

    private func prepareOnce() throws -> Preparation {
        var batch = NFBatch()
        var table = shape.table
        if isOwner { table.flags = [.owner, .persist] }
        let present = try connection.table(shape.name)
        if let present, !isOwner, present.flags.contains(.owner), present.owner == nil {
            // Orphaned by a former self that owned it; the flags can only be taken away with the table.
            table.flags = []
        }
        let sets = present == nil ? [] : try connection.sets(in: shape.name)
        if present != nil, canKeep(sets) {
            batch.add(table)
            let chains = try connection.chains(in: shape.name)
            let classes = try presentClasses(sets)
            let stickies = classes.compactMap { shape.sticky($0) }
            if sets.count == shape.sets.count, try hasSameRules(chains, classes, stickies) {
                // Claims ownership; writes nothing.
                if isOwner { try commit(batch) }
                return .adopted
            }
            if canExchangeRules(chains) {
                exchangeRules(chains, sets, stickies, in: &batch)
                try commit(batch)
                return .reshaped
            }
            batch = NFBatch()
        }
        if present != nil { batch.delete(shape.name) }
        batch.add(table)
        for set in shape.sets { batch.add(set) }
        addRules([], to: &batch)
        try commit(batch)
        return .created
    }

    /// New rules around the elements that are there; sets that an older version did not have are added, and what only it
    /// had goes.
    private func exchangeRules(
        _ chains: [NFChain], _ sets: [NFSet], _ stickies: [(SlotClass, StickyClass)], in batch: inout NFBatch
    ) {
        for chain in chains { batch.flush(chain.id) }
        if sets.contains(where: { $0.id == shape.classes.id }) { batch.flush(shape.classes.id) }
        let wantedChains = Set(shape.chains.map(\.id) + stickies.map { shape.chain($0.1).id })
        for chain in chains where !wantedChains.contains(chain.id) { batch.delete(chain.id) }
        let wantedSets = Set(shape.sets.map(\.id)), presentSets = Set(sets.map(\.id))
        for set in sets where !wantedSets.contains(set.id) { batch.delete(set.id) }
        for set in shape.sets where !presentSets.contains(set.id) { batch.add(set) }
        addRules(stickies, to: &batch)
    }

    private func addRules(_ stickies: [(SlotClass, StickyClass)], to batch: inout NFBatch) {
        for chain in shape.chains { batch.add(chain) }
        for (_, sticky) in stickies { batch.add(shape.chain(sticky)) }
        for element in shape.classElements { batch.element(.add, element, in: shape.classes.id) }
        for (slotClass, sticky) in stickies {
            batch.element(.add, shape.element(sticky, as: slotClass), in: shape.classes.id)
        }
        for rule in shape.rules + stickies.flatMap({ shape.rules($0.1) }) { batch.append(rule) }
    }

    private func presentClasses(_ sets: [NFSet]) throws(NetlinkError) -> [NFElement] {
        sets.contains { $0.id == shape.classes.id } ? try connection.elements(of: shape.classes.id) : []
    }

    /// Whether the sets that we want and are there are as we want them.
    private func canKeep(_ present: [NFSet]) -> Bool {
        let byName = Dictionary(shape.sets.map { ($0.id, $0) }) { first, _ in first }
        return present.contains { byName[$0.id] != nil }
            && present.allSatisfy { byName[$0.id]?.isSameDefinition(as: $0) ?? true }
    }

    /// The kernel refuses to delete a NAT base chain and make it again in one transaction, so that those must be right.
    private func canExchangeRules(_ chains: [NFChain]) -> Bool {
        let wanted = Dictionary(uniqueKeysWithValues: shape.chains.map { ($0.id, $0.base) })
        return chains.allSatisfy { chain in
            if let base = wanted[chain.id] { base == chain.base } else { chain.base == nil }
        }
    }

    private func hasSameRules(
        _ chains: [NFChain], _ classes: [NFElement], _ stickies: [(SlotClass, StickyClass)]
    ) throws -> Bool {
        let wantedChains = shape.chains + stickies.map { shape.chain($0.1) }
        guard Set(chains.map(Self.bare)) == Set(wantedChains.map(Self.bare)) else { return false }
        let rules = Dictionary(grouping: try connection.rules(in: shape.name), by: \.chain)
        let wanted = Dictionary(grouping: shape.rules + stickies.flatMap { shape.rules($0.1) }, by: \.chain)
        guard rules.count == wanted.count else { return false }
        for (chain, rules) in rules {
            guard let wanted = wanted[chain], wanted.count == rules.count,
                zip(wanted, rules).allSatisfy({ $0.isSameWork(as: $1) })
            else { return false }
        }
        let wantedClasses = shape.classElements + stickies.map { shape.element($0.1, as: $0.0) }
        return Set(classes) == Set(wantedClasses)
    }

    private static func bare(_ chain: NFChain) -> NFChain {
        var chain = chain
        (chain.handle, chain.use) = (0, 0)
        return chain
    }

    /// Every element that is there.
    ///
    /// The first time slots are read by their keys, which the frontends' numbers name. Slots that no number names stay unseen
    /// then, but it takes a foreign hand to make such, and who reads once more, because a change did not fit or for an audit,
    /// sees everything.
    func readElements() throws(NetlinkError) -> PresentElements {
        defer { hasRead = true }
        var present = PresentElements()
        for set in ServiceSet.allCases where set != .endpoints && set != .serviceRanges {
            present.insert(try dump(set))
        }
        let boundaries = try connection.elements(of: ServiceSet.serviceRanges.name(in: shape.name))
        for range in codec.serviceRanges(boundaries) { present.insert(range, .present) }
        for element in try connection.elements(of: shape.classes.id) {
            guard let (slotClass, sticky) = shape.sticky(element) else { continue }
            present.insert(.stickyClass(slotClass), .sticky(sticky))
        }
        if !hasRead, let slots = try readSlots(present.namedLists) {
            present.insert(slots)
        } else {
            present.insert(try dump(.endpoints))
        }
        return present
    }

    private func dump(_ set: ServiceSet) throws(NetlinkError) -> PresentElements {
        var present = PresentElements()
        try connection.forEachElement(of: set.name(in: shape.name), restart: { present = PresentElements() }) {
            insert($0, of: set, into: &present)
        }
        return present
    }

    /// nil when one is missing: then the table is not as any of us left it.
    private func readSlots(_ lists: [UInt32: Int]) throws(NetlinkError) -> PresentElements? {
        var keys: [UInt8] = []
        for (list, count) in lists {
            for slot in 0..<UInt32(count) { codec.encode(.endpoint(list: list, slot: slot), into: &keys) }
        }
        var present = PresentElements()
        let name = ServiceSet.endpoints.name(in: shape.name)
        let outcome = keys.withUnsafeBytes { keys in
            Result { () throws(NetlinkError) -> Bool in
                try connection.forEachElement(of: name, keys: keys, keySize: ServiceElementCodec.slotKeySize) {
                    insert($0, of: .endpoints, into: &present)
                }
            }
        }
        return try outcome.get() ? present : nil
    }

    private func insert(_ view: NFElementView, of set: ServiceSet, into present: inout PresentElements) {
        let element = codec.decode(
            set, key: view.key, keyEnd: view.keyEnd, value: view.value)
        if let element { present.insert(element.0, element.1) }
    }

    /// Carries out the changes in one transaction; how many element operations that took.
    func commit(_ changes: ServiceElements.Changes) throws(NFBatchError) -> Int {
        var batch = NFBatch()
        codec.append(changes, in: shape, to: &batch)
        try commit(batch)
        return batch.elementWrites
    }

    func commit(_ batch: NFBatch) throws(NFBatchError) { try connection.commit(batch) }

    /// Whether the table is there at all.
    func exists() throws(NetlinkError) -> Bool { try connection.table(shape.name) != nil }

    /// Takes the table away, with everything in it.
    func remove() throws(NFBatchError) {
        var batch = NFBatch()
        batch.destroy(shape.name)
        try commit(batch)
    }
}

extension NetlinkError {
    /// A flag, attribute or expression that this kernel does not know.
    fileprivate var isUnsupported: Bool { [EOPNOTSUPP, EINVAL].contains(errno) && subject.contains("table") }
}
