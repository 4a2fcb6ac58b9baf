import Glibc
package import Netlink

/// A table's fixed part: everything but the elements that follow the cluster. Pure.
package struct TableShape: Sendable {
    /// Without ownership, which is the connection's matter.
    package var table: NFTable
    package var sets: [NFSet]
    package var chains: [NFChain]
    package var rules: [NFRule]
    /// Sets whose elements are part of the shape.
    package var fixed: [NFSetName: [NFElement]]

    package init(
        table: NFTable, sets: [NFSet], chains: [NFChain], rules: [NFRule], fixed: [NFSetName: [NFElement]] = [:]
    ) {
        self.table = table
        self.sets = sets
        self.chains = chains
        self.rules = rules
        self.fixed = fixed
    }
}

/// What taking over a table came to.
package enum TableAdoption: Equatable, Sendable {
    /// It was not there, or could not be kept: it has no elements but the fixed ones.
    case created
    /// Its rules were exchanged around the elements that it had.
    case reshaped
    /// It was right already.
    case adopted
}

extension NFTablesConnection {
    /// Makes a table's fixed part what it should be, in one transaction. Elements of a table with the right sets stay, whatever the
    /// rest was.
    ///
    /// - Parameter owning: nobody else may write to the table while this connection lives, and it stays when that goes (Linux
    ///   6.9). Becomes false where the kernel cannot do that.
    package func adopt(_ shape: TableShape, owning: inout Bool) throws -> TableAdoption {
        do {
            return try adopt(shape, owning)
        } catch let error as NFBatchError where owning && error.failures.contains(where: \.isUnsupported) {
            owning = false
            return try adopt(shape, owning)
        }
    }

    private func adopt(_ shape: TableShape, _ owning: Bool) throws -> TableAdoption {
        var batch = NFBatch()
        var table = shape.table
        let present = try self.table(table.id)
        if owning { table.flags = [.owner, .persist] }
        if present != nil {
            let sets = try self.sets(in: table.id)
            if shape.canKeep(sets) {
                batch.add(table)
                let chains = try self.chains(in: table.id)
                if sets.count == shape.sets.count, try hasSameRules(shape, chains) {
                    // Claims ownership; writes nothing.
                    if owning { try commit(batch) }
                    return .adopted
                }
                if shape.canExchangeRules(chains) {
                    shape.exchangeRules(chains, sets, in: &batch)
                    try commit(batch)
                    return .reshaped
                }
                batch = NFBatch()
            }
            batch.delete(table.id)
        }
        batch.add(table)
        for set in shape.sets { batch.add(set) }
        shape.addRules(to: &batch)
        try commit(batch)
        return .created
    }

    private func hasSameRules(_ shape: TableShape, _ chains: [NFChain]) throws -> Bool {
        guard Set(chains.map(\.bare)) == Set(shape.chains.map(\.bare)) else { return false }
        let rules = Dictionary(grouping: try rules(in: shape.table.id), by: \.chain)
        let wanted = Dictionary(grouping: shape.rules, by: \.chain)
        guard rules.count == wanted.count else { return false }
        for (chain, rules) in rules {
            guard let wanted = wanted[chain], wanted.count == rules.count,
                zip(wanted, rules).allSatisfy({ $0.isSameWork(as: $1) })
            else { return false }
        }
        for (set, wanted) in shape.fixed where try Set(elements(of: set)) != Set(wanted) { return false }
        return true
    }
}

extension TableShape {
    /// Whether the sets that we want and are there are as we want them.
    fileprivate func canKeep(_ present: [NFSet]) -> Bool {
        let byName = Dictionary(sets.map { ($0.id, $0) }) { first, _ in first }
        return present.contains { byName[$0.id] != nil }
            && present.allSatisfy { byName[$0.id]?.isSameDefinition(as: $0) ?? true }
    }

    /// The kernel refuses to delete a base chain and make it again in one transaction, so that those must be right.
    fileprivate func canExchangeRules(_ present: [NFChain]) -> Bool {
        let wanted = Dictionary(uniqueKeysWithValues: chains.map { ($0.id, $0.base) })
        return present.allSatisfy { chain in
            if let base = wanted[chain.id] { base == chain.base } else { chain.base == nil }
        }
    }

    /// New rules around the elements that are there; sets that an older version did not have are added, and what only it
    /// had goes.
    fileprivate func exchangeRules(_ present: [NFChain], _ presentSets: [NFSet], in batch: inout NFBatch) {
        for chain in present { batch.flush(chain.id) }
        for set in presentSets where fixed[set.id] != nil { batch.flush(set.id) }
        let wantedChains = Set(chains.map(\.id))
        for chain in present where !wantedChains.contains(chain.id) { batch.delete(chain.id) }
        let (wanted, standing) = (Set(sets.map(\.id)), Set(presentSets.map(\.id)))
        for set in presentSets where !wanted.contains(set.id) { batch.delete(set.id) }
        for set in sets where !standing.contains(set.id) { batch.add(set) }
        addRules(to: &batch)
    }

    fileprivate func addRules(to batch: inout NFBatch) {
        for chain in chains { batch.add(chain) }
        for (set, elements) in fixed { for element in elements { batch.element(.add, element, in: set) } }
        for rule in rules { batch.append(rule) }
    }
}

extension NFChain {
    /// Without what the kernel counts in it.
    fileprivate var bare: NFChain {
        var chain = self
        (chain.handle, chain.use) = (0, 0)
        return chain
    }
}

extension NetlinkError {
    /// A flag, attribute or expression that this kernel does not know.
    fileprivate var isUnsupported: Bool { [EOPNOTSUPP, EINVAL].contains(errno) && subject.contains("table") }
}
