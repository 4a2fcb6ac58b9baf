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
            var (keyBytes, valueBytes): ([UInt8], [UInt8]) = ([], [])
            codec.encode(key, into: &keyBytes)
            codec.encode(value, into: &valueBytes)
            let data: NFElementData = valueBytes.isEmpty ? .none : .value(valueBytes)
            insert(NFElement(key: keyBytes, data: data), in: ServiceElementCodec.set(of: key).name)
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
    func element(_ set: String, _ key: [UInt8]) -> NFElement? { elements[set]?[key] }
}
