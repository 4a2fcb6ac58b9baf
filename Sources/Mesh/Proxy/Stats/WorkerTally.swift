import Bytes

/// All that one worker has counted, as values that other threads may have.
struct WorkerTally: Sendable {
    struct Cluster: Sendable {
        var id: ClusterID
        var counts: StatTally
        var internalResponses: StatusCounts
        var externalResponses: StatusCounts
        var canaryResponses: StatusCounts
        var retriedResponses: StatusCounts
        /// Of the balancer that is in use now.
        var balance: BalanceCounters
        var named: [(leaf: String, count: UInt64)]
        var hosts: [HostTally]
    }

    struct HostTally: Sendable {
        var address: SocketAddress
        var stats: HostStats
    }

    var managers: [StatTally]
    /// Of TCP proxies.
    var proxies: [StatTally]
    var clusters: [Cluster]
    /// By place of the statistic, see `StatNames`.
    var blocks: [Int64]
    /// Of filters, by number, see `CounterNames`.
    var filters: [UInt64]
}

extension ProxyWorker {
    /// On the worker's loop.
    func tally() -> WorkerTally {
        WorkerTally(
            managers: managerStats.map { ManagerStats.table.tally($0.pointee) },
            proxies: tcpStats.map { TCPStats.table.tally($0.pointee) },
            clusters: clusterStats.map { id, stats in
                Self.tally(id, stats, of: cluster(ifMade: id), named: namedCounters.values[id] ?? [:])
            }, blocks: blockValues, filters: filterCounts)
    }

    private static func tally(
        _ id: ClusterID, _ stats: ClusterStats, of state: ClusterState?, named: [String: UInt64]
    ) -> WorkerTally.Cluster {
        WorkerTally.Cluster(
            id: id, counts: ClusterStats.table.tally(stats), internalResponses: stats.internalResponses,
            externalResponses: stats.externalResponses, canaryResponses: stats.canaryResponses,
            retriedResponses: stats.retriedResponses,
            balance: state?.balanceCounters ?? BalanceCounters(),
            named: stats.named.counts.map { ("\($0.leaf)", $0.count) } + named.map { ($0.key, $0.value) },
            hosts: (state?.hostStats ?? []).map { WorkerTally.HostTally(address: $0.address, stats: $0.stats) })
    }
}

extension WorkerTally.Cluster {
    /// Of a cluster that no worker has used.
    static func nothing(of id: ClusterID) -> WorkerTally.Cluster {
        WorkerTally.Cluster(
            id: id, counts: ClusterStats.table.tally(ClusterStats()), internalResponses: StatusCounts(),
            externalResponses: StatusCounts(), canaryResponses: StatusCounts(), retriedResponses: StatusCounts(),
            balance: BalanceCounters(), named: [], hosts: [])
    }

    /// Another worker's counts of the same cluster.
    mutating func add(_ other: WorkerTally.Cluster) {
        counts.add(other.counts)
        internalResponses.add(other.internalResponses)
        externalResponses.add(other.externalResponses)
        canaryResponses.add(other.canaryResponses)
        retriedResponses.add(other.retriedResponses)
        balance = balance + other.balance
        for (leaf, count) in other.named {
            if let index = named.firstIndex(where: { $0.leaf == leaf }) {
                named[index].count += count
            } else {
                named.append((leaf, count))
            }
        }
        for host in other.hosts {
            if let index = hosts.firstIndex(where: { $0.address == host.address }) {
                hosts[index].stats.add(host.stats)
            } else {
                hosts.append(host)
            }
        }
    }

    func report(to report: inout StatReport) {
        let scope = StatScope.cluster(id.name)
        ClusterStats.table.report(scope, counts, to: &report)
        var all = internalResponses
        all.add(externalResponses)
        report.responses(scope, "", all, isAlwaysThere: true)
        report.responses(scope, "internal.", internalResponses)
        report.responses(scope, "external.", externalResponses)
        report.responses(scope, "canary.", canaryResponses)
        report.responses(scope, "retry.", retriedResponses)
        for (leaf, count) in balance.byName { report.counter(scope, leaf, count) }
        for (leaf, count) in named { report.counter(scope, leaf, count) }
        // The cluster's own are the last.
        let times = report.histograms.suffix(ClusterStats.table.histograms.count).filter {
            $0.scope == scope && $0.leaf.hasSuffix(".upstream_rq_time")
        }
        if !times.isEmpty {
            let sum = times.map(\.values).reduce(HistogramSnapshot(), +)
            report.histogram(scope, "upstream_rq_time", sum)
        }
    }
}

extension StatReport {
    /// Responses by status, by class, and all of them.
    fileprivate mutating func responses(
        _ scope: StatScope, _ prefix: String, _ counts: StatusCounts, isAlwaysThere: Bool = false
    ) {
        let total = counts.counts.reduce(0) { $0 + $1.count }
        if total > 0 || isAlwaysThere { counter(scope, prefix + "upstream_rq_completed", total) }
        var classes: [UInt16: UInt64] = [:]
        for (status, count) in counts.counts {
            classes[status / 100, default: 0] += count
            counter(scope, "\(prefix)upstream_rq_\(status)", count)
        }
        for (first, count) in classes { counter(scope, "\(prefix)upstream_rq_\(first)xx", count) }
    }
}

extension BalanceCounters {
    fileprivate static func + (a: Self, b: Self) -> Self {
        var sum = a
        sum.healthyPanic += b.healthyPanic
        sum.zoneAllDirectly += b.zoneAllDirectly
        sum.zoneSampled += b.zoneSampled
        sum.zoneCross += b.zoneCross
        sum.zoneNoCapacityLeft += b.zoneNoCapacityLeft
        sum.localClusterNotOK += b.localClusterNotOK
        sum.subsetsSelected += b.subsetsSelected
        sum.subsetsFallback += b.subsetsFallback
        sum.subsetsFallbackPanic += b.subsetsFallbackPanic
        return sum
    }
}
