import Bytes

extension FilterChainIndex {
    /// One chain while the index is built.
    struct Rule {
        var number: Int32
        var match: FilterChainMatch
    }

    struct Tables {
        var destinationPorts: [PortTable] = []
        var destinations: [AddressTable] = []
        var serverNames: [NameTable] = []
        var transportProtocols: [TransportTable] = []
        var applicationProtocols: [ProtocolTable] = []
        var directSources: [AddressTable] = []
        var sourceTypes: [SourceTypeTable] = []
        var sources: [AddressTable] = []
        var sourcePorts: [PortTable] = []
    }

    /// Groups the chains by each criterion in turn. Groups of the same chains share what comes behind, so that a chain with a
    /// thousand server names has one table of ports, not a thousand.
    struct Builder {
        private enum Criterion: Hashable {
            case destination, serverName, transport, applicationProtocol, directSource, sourceType, source, sourcePort
        }

        private struct Group: Hashable {
            var criterion: Criterion
            var chains: [Int32]
        }

        var tables = Tables()
        private let names: [String]
        private var built: [Group: Int32] = [:]

        init(names: [String]) { self.names = names }

        mutating func destinationPorts(_ rules: [Rule]) throws(Conflict) -> Int32 {
            let groups = grouped(rules) { [$0.destinationPort] }
            let table = try ports(groups) { (builder, rules) throws(Conflict) in try builder.destinations(rules) }
            return append(table, \.destinationPorts)
        }

        private mutating func destinations(_ rules: [Rule]) throws(Conflict) -> Int32 {
            try once(.destination, rules) { (builder) throws(Conflict) in
                let table = try builder.addresses(builder.grouped(rules) { optional($0.destinationPrefixes) }) {
                    (builder, rules) throws(Conflict) in try builder.serverNames(rules)
                }
                return builder.append(table, \.destinations)
            }
        }

        private mutating func serverNames(_ rules: [Rule]) throws(Conflict) -> Int32 {
            try once(.serverName, rules) { (builder) throws(Conflict) in
                var named: [(String, Int32)] = []
                var any: Int32?
                for (name, rules) in builder.grouped(rules, by: { optional($0.serverNames) }) {
                    let next = try builder.transportProtocols(rules)
                    if let name { named.append((name, next)) } else { any = next }
                }
                return builder.append(
                    NameTable(names: named.isEmpty ? nil : ServerNameTable(named), any: any), \.serverNames)
            }
        }

        private mutating func transportProtocols(_ rules: [Rule]) throws(Conflict) -> Int32 {
            try once(.transport, rules) { (builder) throws(Conflict) in
                var table = TransportTable()
                for (name, rules) in builder.grouped(rules, by: { [$0.transportProtocol] }) {
                    let next = try builder.applicationProtocols(rules)
                    switch name {
                    case "": table.any = next
                    case "tls": table.tls = next
                    case "raw_buffer": table.rawBuffer = next
                    default: break
                    }
                }
                return builder.append(table, \.transportProtocols)
            }
        }

        private mutating func applicationProtocols(_ rules: [Rule]) throws(Conflict) -> Int32 {
            try once(.applicationProtocol, rules) { (builder) throws(Conflict) in
                var table = ProtocolTable(named: [])
                for (name, rules) in builder.grouped(rules, by: { optional($0.applicationProtocols) }) {
                    let next = try builder.directSources(rules)
                    if let name { table.named.append((Array(name.utf8), next)) } else { table.any = next }
                }
                return builder.append(table, \.applicationProtocols)
            }
        }

        private mutating func directSources(_ rules: [Rule]) throws(Conflict) -> Int32 {
            try once(.directSource, rules) { (builder) throws(Conflict) in
                let table = try builder.addresses(builder.grouped(rules) { optional($0.directSourcePrefixes) }) {
                    (builder, rules) throws(Conflict) in try builder.sourceTypes(rules)
                }
                return builder.append(table, \.directSources)
            }
        }

        private mutating func sourceTypes(_ rules: [Rule]) throws(Conflict) -> Int32 {
            try once(.sourceType, rules) { (builder) throws(Conflict) in
                var table = SourceTypeTable()
                for (type, rules) in builder.grouped(rules, by: { [$0.sourceType] }) {
                    let next = try builder.sources(rules)
                    switch type {
                    case .any: table.any = next
                    case .sameAddressOrLoopback: table.local = next
                    case .external: table.external = next
                    }
                }
                return builder.append(table, \.sourceTypes)
            }
        }

        private mutating func sources(_ rules: [Rule]) throws(Conflict) -> Int32 {
            try once(.source, rules) { (builder) throws(Conflict) in
                let table = try builder.addresses(builder.grouped(rules) { optional($0.sourcePrefixes) }) {
                    (builder, rules) throws(Conflict) in try builder.sourcePorts(rules)
                }
                return builder.append(table, \.sources)
            }
        }

        private mutating func sourcePorts(_ rules: [Rule]) throws(Conflict) -> Int32 {
            try once(.sourcePort, rules) { (builder) throws(Conflict) in
                let groups = builder.grouped(rules) { optional($0.sourcePorts) }
                let table = try builder.ports(groups) { (builder, rules) throws(Conflict) in try builder.only(rules) }
                return builder.append(table, \.sourcePorts)
            }
        }

        /// Behind the last criterion there is one chain, or the configuration says two things about some connection.
        private func only(_ rules: [Rule]) throws(Conflict) -> Int32 {
            guard rules.count == 1 else {
                let pair = rules.prefix(2).map { "'\(names[Int($0.number)])'" }.joined(separator: " and ")
                throw Conflict(
                    description: "multiple filter chains with overlapping matching rules are defined: \(pair)")
            }
            return rules[0].number
        }

        // MARK: Grouping

        private typealias Next = (inout Builder, [Rule]) throws(Conflict) -> Int32

        private mutating func ports(_ groups: [(key: Port?, rules: [Rule])], _ next: Next) throws(Conflict) -> PortTable
        {
            var table = PortTable(exact: [])
            for (port, rules) in groups {
                let number = try next(&self, rules)
                if let port { table.exact.append((port.rawValue, number)) } else { table.any = number }
            }
            table.exact.sort { $0.port < $1.port }
            return table
        }

        private mutating func addresses(
            _ groups: [(key: CIDR?, rules: [Rule])], _ next: Next
        ) throws(Conflict) -> AddressTable {
            var prefixes: [(CIDR, Int32)] = []
            var any: Int32?
            for (prefix, rules) in groups {
                let number = try next(&self, rules)
                if let prefix { prefixes.append((prefix, number)) } else { any = number }
            }
            return AddressTable(prefixes: PrefixTable(prefixes), any: any)
        }

        /// The rules under each of their keys, in order of first appearance.
        private func grouped<Key: Hashable>(
            _ rules: [Rule], by keys: (FilterChainMatch) -> [Key]
        ) -> [(key: Key, rules: [Rule])] {
            var groups: [(key: Key, rules: [Rule])] = []
            var places: [Key: Int] = [:]
            for rule in rules {
                for key in keys(rule.match) {
                    if let place = places[key] {
                        groups[place].rules.append(rule)
                    } else {
                        places[key] = groups.count
                        groups.append((key, [rule]))
                    }
                }
            }
            return groups
        }

        private mutating func once(
            _ criterion: Criterion, _ rules: [Rule], _ make: (inout Builder) throws(Conflict) -> Int32
        ) throws(Conflict) -> Int32 {
            let group = Group(criterion: criterion, chains: rules.map(\.number))
            if let number = built[group] { return number }
            let number = try make(&self)
            built[group] = number
            return number
        }

        private mutating func append<Table>(_ table: Table, _ path: WritableKeyPath<Tables, [Table]>) -> Int32 {
            tables[keyPath: path].append(table)
            return Int32(tables[keyPath: path].count - 1)
        }
    }
}

/// A list of wanted values; nil alone when any value will do.
private func optional<Key>(_ keys: [Key]) -> [Key?] { keys.isEmpty ? [nil] : keys }

extension FilterChainMatch {
    /// The same with one spelling for each value and none twice, so that equal meaning is equality.
    func normalized(in chain: String) throws(FilterChainIndex.Conflict) -> FilterChainMatch {
        var result = self
        result.destinationPrefixes = destinationPrefixes.map(\.network).unique()
        result.directSourcePrefixes = directSourcePrefixes.map(\.network).unique()
        result.sourcePrefixes = sourcePrefixes.map(\.network).unique()
        result.sourcePorts = sourcePorts.unique()
        result.applicationProtocols = applicationProtocols.unique()
        result.serverNames = []
        for name in serverNames {
            let lower = name.lowercased()
            let bare = lower.hasPrefix("*.") ? lower.dropFirst() : lower[...]
            guard bare.count > 1 || (bare.count == 1 && bare != "."), !bare.contains("*") else {
                throw FilterChainIndex.Conflict(
                    description:
                        "filter chain '\(chain)': server_names takes a name or \"*.\" and a suffix, not \"\(name)\""
                        + " (partial wildcards are not supported)")
            }
            result.serverNames.append(String(bare))
        }
        result.serverNames = result.serverNames.unique()
        return result
    }
}

extension Array where Element: Hashable {
    /// Without repetitions, in the order of first appearance.
    fileprivate func unique() -> [Element] {
        var seen = Set<Element>()
        return filter { seen.insert($0).inserted }
    }
}
