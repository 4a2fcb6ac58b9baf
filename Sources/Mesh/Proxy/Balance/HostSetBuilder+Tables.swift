extension HostSetBuilder {
    /// The table over a priority's healthy hosts, or all in panic; the one of the snapshot before when its targets are the
    /// same.
    mutating func addTable(_ priority: Int, _ chosen: [UInt32], _ weights: [UInt32]?) -> UInt32 {
        var targets: [HashTarget] = []
        let start = UInt32(members.count)
        if let weights {
            let grouped = Dictionary(grouping: chosen) { places[Int(hosts[Int($0)].place)].locality }
            let total = Double(weights.reduce(UInt64(0)) { $0 + UInt64($1) })
            for (i, name) in localities[priority].enumerated() where weights[i] > 0 {
                addTargets(grouped[name] ?? [], share: Double(weights[i]) / total, &targets)
            }
        } else {
            addTargets(chosen, share: 1, &targets)
        }
        let table: HashTable
        if let same = reusable[targets] {
            table = same
        } else if let same = tables.first(where: { $0.targets == targets }) {
            table = same
        } else {
            table = HashTable.make(config.policy, targets)!
        }
        tables.append(table)
        let weightsStart = UInt32(shares.count)
        shares += targets.map(\.weight)
        hashed.append(
            HashedLevel(table: table.view, start: start, weights: weightsStart, count: UInt32(targets.count)))
        return UInt32(hashed.count - 1)
    }

    mutating func addTargets(_ chosen: [UInt32], share: Double, _ targets: inout [HashTarget]) {
        let usesHostname =
            switch config.policy {
            case .ringHash(let ring): ring.usesHostname
            case .maglev(let maglev): maglev.usesHostname
            default: false
            }
        let total = Double(chosen.reduce(UInt64(0)) { $0 + UInt64(facts[Int($1)].weight) })
        for host in chosen {
            let weight = Double(facts[Int(host)].weight) * share / total
            targets.append(HashTarget(key: hosts[Int(host)].hashKey(byHostname: usesHostname), weight: weight))
            members.append(host)
        }
    }
}
