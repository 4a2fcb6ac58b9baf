import JSON

extension HostSetBuilder {
    mutating func addSubsets(_ config: SubsetConfig, _ everyone: [UInt32]) {
        anySection = UInt32(sections.count)
        addSection(key: 1, everyone, weights: subsetWeights(everyone, config))
        defaultSection = UInt32(sections.count)
        let usual = everyone.filter { config.isInDefaultSubset(hosts[Int($0)].metadata?.balancing) }
        addSection(key: 2, usual, weights: subsetWeights(usual, config))

        var order: [SubsetKey] = []
        var found: [SubsetKey: (members: [UInt32], isSingle: Bool)] = [:]
        for host in everyone {
            guard let metadata = hosts[Int(host)].metadata?.balancing else { continue }
            for selector in config.selectors {
                for key in config.keys(of: metadata, selector) {
                    if found[key] == nil {
                        order.append(key)
                        found[key] = ([], selector.singleHostPerSubset)
                    }
                    if found[key]!.isSingle, !found[key]!.members.isEmpty {
                        singleHostDuplicates += 1
                    } else if found[key]!.members.last != host {
                        found[key]!.members.append(host)
                    }
                }
            }
        }
        for key in order {
            let subset = found[key]!
            subsets.append((key, UInt32(sections.count)))
            addSection(
                key: key.low ^ key.high, subset.members, weights: subsetWeights(subset.members, config),
                single: subset.isSingle ? subset.members[0] : .none)
        }
    }

    func subsetWeights(_ members: [UInt32], _ subsets: SubsetConfig) -> [[UInt32]]? {
        guard subsets.localityWeightAware else { return nil }
        let all = (0..<priorityCount).map(weights)
        guard subsets.scaleLocalityWeight else { return all }
        let before = countByLocality(facts.indices.map(UInt32.init))
        let after = countByLocality(members)
        return all.indices.map { priority in
            all[priority].indices.map { i in
                guard before[priority][i] > 0 else { return 0 }
                let scaled = Float(all[priority][i]) * Float(after[priority][i]) / Float(before[priority][i])
                return UInt32(scaled.rounded(.toNearestOrAwayFromZero))
            }
        }
    }

    func countByLocality(_ members: [UInt32]) -> [[Int]] {
        var counts = localities.map { Array(repeating: 0, count: $0.count) }
        for host in members {
            let place = places[Int(hosts[Int(host)].place)]
            counts[place.priority][localities[place.priority].firstIndex(of: place.locality)!] += 1
        }
        return counts
    }
}
