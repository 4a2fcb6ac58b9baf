import Bytes
import Netlink

/// Everything that a table decides packets by, at one moment: as it should be, or as a kernel has it.
struct TableSnapshot: Sendable {
    let name: NFTableName
    /// By name.
    private(set) var chains: [String: NFChain] = [:]
    /// In their order, by chain.
    private(set) var rules: [String: [NFRule]] = [:]
    private(set) var sets: [String: NFSet] = [:]
    /// By set, and by key.
    private(set) var elements: [String: [[UInt8]: NFElement]] = [:]

    /// The shape with these elements in it.
    init(_ shape: ServiceTable, _ elements: some Sequence<(key: ServiceElementKey, value: ServiceElementValue)>) {
        name = shape.name
        take(chains: shape.chains, rules: shape.rules, sets: shape.sets)
        for element in shape.classElements { insert(element, in: shape.classes.id.name) }
        let codec = ServiceElementCodec(family: shape.name.family == .ip ? .v4 : .v6)
        for (key, value) in elements {
            if case (.stickyClass(let slotClass), .sticky(let sticky)) = (key, value) {
                take(chains: [shape.chain(sticky)], rules: shape.rules(sticky), sets: [])
                insert(shape.element(sticky, as: slotClass), in: shape.classes.id.name)
            }
            guard let set = ServiceElementCodec.set(of: key) else { continue }
            for element in codec.elements(key, value) { insert(element, in: set.name) }
        }
    }

    /// What the kernel has now; nil when it has no such table.
    init?(reading name: NFTableName, through connection: NFTablesConnection) throws(NetlinkError) {
        guard try connection.table(name) != nil else { return nil }
        self.name = name
        take(
            chains: try connection.chains(in: name), rules: try connection.rules(in: name),
            sets: try connection.sets(in: name))
        for set in sets.values {
            for element in try connection.elements(of: set.id) { insert(element, in: set.id.name) }
        }
    }

    private mutating func take(chains: [NFChain], rules: [NFRule], sets: [NFSet]) {
        for chain in chains { self.chains[chain.id.name] = chain }
        for rule in rules { self.rules[rule.chain.name, default: []].append(rule) }
        for set in sets { self.sets[set.id.name] = set }
    }

    private mutating func insert(_ element: NFElement, in set: String) {
        elements[set, default: [:]][element.key] = element
    }

    /// Those that the stack calls at a hook, in the order in which it does.
    func baseChains(at hook: NFChain.Hook) -> [NFChain] {
        chains.values.filter { $0.base?.hook == hook }.sorted { ($0.base?.priority ?? 0) < ($1.base?.priority ?? 0) }
    }

    /// The set's element that holds for a key.
    func element(_ set: String, _ key: [UInt8]) -> NFElement? {
        guard let definition = sets[set], definition.flags.contains(.interval) else { return elements[set]?[key] }
        let all = elements[set].map { Array($0.values) } ?? []
        if definition.key.count > 1 { return all.first { $0.contains(key, definition.key) } }
        // The nearest boundary below: the beginning of a range, or the first behind one.
        let below = all.filter { !key.lexicographicallyPrecedes($0.key) }
        let nearest = below.max { $0.key.lexicographicallyPrecedes($1.key) }
        return nearest?.isIntervalEnd == false ? nearest : nil
    }
}

extension NFElement {
    /// Whether each field of a key is in this element's range.
    fileprivate func contains(_ wanted: [UInt8], _ types: [NFDataType]) -> Bool {
        guard let keyEnd, wanted.count == key.count, keyEnd.count == key.count else { return wanted == key }
        var start = 0
        for type in types {
            let field = start..<start + type.size
            if wanted[field].lexicographicallyPrecedes(key[field]) { return false }
            if keyEnd[field].lexicographicallyPrecedes(wanted[field]) { return false }
            start += type.slots * 4
        }
        return true
    }
}
