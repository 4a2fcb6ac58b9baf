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
        if present != nil, hasSameSets(sets) {
            batch.add(table)
            let chains = try connection.chains(in: shape.name)
            if try hasSameRules(chains) {
                // Claims ownership; writes nothing.
                if isOwner { try commit(batch) }
                return .adopted
            }
            if canExchangeRules(chains) {
                for chain in chains { batch.flush(chain.id) }
                batch.flush(shape.classes.id)
                let wanted = Set(shape.chains.map(\.id))
                for chain in chains where !wanted.contains(chain.id) { batch.delete(chain.id) }
                addRules(to: &batch)
                try commit(batch)
                return .reshaped
            }
            batch = NFBatch()
        }
        if present != nil { batch.delete(shape.name) }
        batch.add(table)
        for set in shape.sets { batch.add(set) }
        addRules(to: &batch)
        try commit(batch)
        return .created
    }

    private func addRules(to batch: inout NFBatch) {
        for chain in shape.chains { batch.add(chain) }
        for element in shape.classElements { batch.element(.add, element, in: shape.classes.id) }
        for rule in shape.rules { batch.append(rule) }
    }

    private func hasSameSets(_ present: [NFSet]) -> Bool {
        let byName = Dictionary(present.map { ($0.id, $0) }) { first, _ in first }
        return byName.count == shape.sets.count
            && shape.sets.allSatisfy { byName[$0.id]?.isSameDefinition(as: $0) == true }
    }

    /// The kernel refuses to delete a NAT base chain and make it again in one transaction, so that those must be right.
    private func canExchangeRules(_ chains: [NFChain]) -> Bool {
        let wanted = Dictionary(uniqueKeysWithValues: shape.chains.map { ($0.id, $0.base) })
        return chains.allSatisfy { chain in
            if let base = wanted[chain.id] { base == chain.base } else { chain.base == nil }
        }
    }

    private func hasSameRules(_ chains: [NFChain]) throws -> Bool {
        guard Set(chains.map(Self.bare)) == Set(shape.chains.map(Self.bare)) else { return false }
        let rules = Dictionary(grouping: try connection.rules(in: shape.name), by: \.chain)
        let wanted = Dictionary(grouping: shape.rules, by: \.chain)
        guard rules.count == wanted.count else { return false }
        for (chain, rules) in rules {
            guard let wanted = wanted[chain], wanted.count == rules.count,
                zip(wanted, rules).allSatisfy({ $0.isSameWork(as: $1) })
            else { return false }
        }
        let classes = try connection.elements(of: shape.classes.id)
        return Set(classes) == Set(shape.classElements)
    }

    private static func bare(_ chain: NFChain) -> NFChain {
        var chain = chain
        (chain.handle, chain.use) = (0, 0)
        return chain
    }

    /// Every element that is there.
    func readElements() throws(NetlinkError) -> [(ServiceElementKey, ServiceElementValue)] {
        var elements: [(ServiceElementKey, ServiceElementValue)] = []
        for set in ServiceSet.allCases {
            let start = elements.count
            try connection.forEachElement(
                of: set.name(in: shape.name), restart: { elements.removeSubrange(start...) }
            ) { view in
                if let element = codec.decode(set, key: view.key, value: view.value) { elements.append(element) }
            }
        }
        return elements
    }

    /// Carries out the changes in one transaction; how many element operations that took.
    func commit(_ changes: ServiceElements.Changes) throws(NFBatchError) -> Int {
        var batch = NFBatch()
        codec.append(changes, in: shape.name, to: &batch)
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
