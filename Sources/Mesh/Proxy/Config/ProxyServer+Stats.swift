import Bytes
import CLinux
import Glibc
import Reactor
import XDS

extension ProxyServer {
    /// All statistics as they stand: asks every worker.
    package func stats() async -> StatReport {
        let tallies = await tallies()
        var report = StatReport()
        let prefixes = context.managerPrefixes
        for (index, prefix) in prefixes.enumerated() {
            var sum = StatTally()
            for tally in tallies where index < tally.managers.count { sum.add(tally.managers[index]) }
            // A manager that no connection has reached yet has counted nothing.
            if sum.counters.isEmpty { sum = ManagerStats.table.tally(ManagerStats()) }
            ManagerStats.table.report(.http(prefix), sum, to: &report)
        }
        for (index, prefix) in context.tcpPrefixes.enumerated() {
            var sum = TCPStats.table.tally(TCPStats())
            for tally in tallies where index < tally.proxies.count { sum.add(tally.proxies[index]) }
            TCPStats.table.report(.tcp(prefix), sum, to: &report)
        }
        addFilters(tallies, prefixes, to: &report)
        let counted = Self.clusters(tallies)
        let directory = await clusterFacts()
        for facts in directory {
            let known = facts.knowing(counted[facts.settings.id])
            known.report(to: &report)
            known.reportHosts(counted[facts.settings.id], to: &report)
            (counted[facts.settings.id] ?? .nothing(of: facts.settings.id)).report(to: &report)
        }
        addBlocks(tallies, to: &report)
        for case let subscription? in context.routes.all {
            let scope = StatScope.routes(prefix: subscription.prefix, name: subscription.source.name)
            subscription.stats.report(scope, "", [.empty, .reloads, .reloadTime], to: &report)
        }
        reportExtensions(to: &report)
        let clusters = clusters
        let warming = (try? await clusters.loop.perform { clusters.warmingCount }) ?? 0
        addOwn(directory, warming: warming, to: &report)
        for file in files { file.kind.report(file.counters, to: &report) }
        await reportSecrets(to: &report)
        await discoveryFacts().report(to: &report)
        await reportOverload(to: &report)
        subtractBaseline(from: &report)
        context.statSettings.apply(to: &report)
        return report
    }

    /// `/reset_counters`: what was counted so far is told no more.
    package func resetCounters() async {
        baseline = [:]
        let report = await stats()
        for sample in report.samples where sample.kind == .counter && sample.value != 0 {
            baseline[sample.name] = sample.value
        }
    }

    private func subtractBaseline(from report: inout StatReport) {
        guard !baseline.isEmpty else { return }
        for index in report.samples.indices where report.samples[index].kind == .counter {
            if let before = baseline[report.samples[index].name] { report.samples[index].value -= before }
        }
    }

    func tallies() async -> [WorkerTally] {
        var tallies: [WorkerTally] = []
        for worker in workers {
            if let tally = try? await worker.loop.perform({ worker.tally() }) { tallies.append(tally) }
        }
        return tallies
    }

    /// What workers counted of each cluster.
    static func clusters(_ tallies: [WorkerTally]) -> [ClusterID: WorkerTally.Cluster] {
        var sums: [ClusterID: WorkerTally.Cluster] = [:]
        for cluster in tallies.flatMap(\.clusters) {
            if sums[cluster.id]?.add(cluster) == nil { sums[cluster.id] = cluster }
        }
        return sums
    }

    func clusterFacts() async -> [ClusterFacts] {
        let clusters = clusters
        return (try? await clusters.loop.perform { clusters.facts }) ?? []
    }

    /// Filters know their counters by whole names; those of a connection manager are told as its own.
    private func addFilters(_ tallies: [WorkerTally], _ prefixes: [String], to report: inout StatReport) {
        let scopes = prefixes.map { (start: "http.\($0).", scope: StatScope.http($0)) }
            .sorted { $0.start.utf8.count > $1.start.utf8.count }
        for (index, name) in context.counters.names.enumerated() {
            let sum = tallies.reduce(UInt64(0)) { $0 &+ (index < $1.filters.count ? $1.filters[index] : 0) }
            if let owner = scopes.first(where: { name.hasPrefix($0.start) }) {
                report.counter(owner.scope, String(name.dropFirst(owner.start.count)), sum)
            } else {
                report.counter(.process, name, sum)
            }
        }
    }

    private func addBlocks(_ tallies: [WorkerTally], to report: inout StatReport) {
        let byWorker = Set(ListenerStat.allCases.filter(\.isToldByWorker).map(\.leaf))
        for (index, entry) in context.statNames.entries.enumerated() {
            let values = tallies.map { index < $0.blocks.count ? $0.blocks[index] : 0 }
            report.samples.append(StatSample(entry.scope, entry.leaf, entry.kind, values.reduce(0, +)))
            guard case .listener(let name) = entry.scope, byWorker.contains(entry.leaf) else { continue }
            for (worker, value) in values.enumerated() {
                let scope = StatScope.listenerWorker(listener: name, worker: worker)
                report.samples.append(StatSample(scope, entry.leaf, entry.kind, value))
            }
        }
    }

    private func addOwn(_ directory: [ClusterFacts], warming: Int, to report: inout StatReport) {
        let clusters = record[.cluster]
        let process = StatScope.process
        report.gauge(process, "cluster_manager.active_clusters", Int64(directory.count))
        report.gauge(process, "cluster_manager.warming_clusters", Int64(warming), isUsed: true)
        report.counter(process, "cluster_manager.cluster_added", clusters.added)
        report.counter(process, "cluster_manager.cluster_modified", clusters.modified)
        report.counter(process, "cluster_manager.cluster_removed", clusters.removed)
        let changes = record[.listener]
        report.gauge(process, "listener_manager.total_listeners_active", Int64(listeners.count))
        report.gauge(process, "listener_manager.total_listeners_warming", Int64(warmingListeners.count))
        report.gauge(process, "listener_manager.workers_started", state == .initializing ? 0 : 1)
        report.counter(process, "listener_manager.listener_added", changes.added)
        report.counter(process, "listener_manager.listener_modified", changes.modified)
        report.counter(process, "listener_manager.listener_removed", changes.removed)
        report.counter(process, "listener_manager.listener_create_success", listenerChanges.creations)
        report.counter(process, "listener_manager.listener_create_failure", listenerChanges.creationFailures)
        report.counter(process, "listener_manager.listener_in_place_updated", listenerChanges.updatesInPlace)
        report.counter(process, "listener_manager.listener_stopped", listenerChanges.stopped)
        let troubles = logs.troubles
        report.counter(process, "filesystem.write_failed", UInt64(troubles.failures))
        report.counter(process, "filesystem.write_dropped", UInt64(troubles.dropped))
        let memory = ProcessMemory.now()
        report.gauge(process, "server.concurrency", Int64(workers.count))
        report.gauge(process, "server.hot_restart_epoch", Int64(options.restartEpoch))
        report.gauge(process, "server.live", state == .live ? 1 : 0)
        report.gauge(process, "server.state", state.number, isUsed: true)
        report.gauge(process, "server.uptime", uptime.components.seconds)
        report.gauge(process, "server.memory_allocated", memory.allocated)
        report.gauge(process, "server.memory_heap_size", memory.heap)
        report.gauge(process, "server.memory_physical_size", memory.resident)
        report.gauge(process, "server.parent_connections", 0)
        let active = report.samples.filter {
            if case .listener = $0.scope { $0.leaf == ListenerStat.activeConnections.leaf } else { false }
        }
        report.gauge(process, "server.total_connections", active.reduce(0) { $0 + $1.value })
    }
}

/// The memory of this process, in bytes.
struct ProcessMemory {
    var allocated: Int64
    var heap: Int64
    /// Freed, and not given back to the kernel.
    var free: Int64
    var resident: Int64

    /// Bytes that are allocated now.
    static var heapInUse: UInt64 {
        let info = mallinfo2()
        return UInt64(info.uordblks + info.hblkhd)
    }

    static func now() -> ProcessMemory {
        let info = mallinfo2()
        var resident: Int64 = 0
        if let text = try? Files.readText("/proc/self/statm") {
            let fields = text.split(separator: " ")
            if fields.count > 1 { resident = (Int64(fields[1]) ?? 0) * Int64(sysconf(CInt(_SC_PAGESIZE))) }
        }
        return ProcessMemory(
            allocated: Int64(info.uordblks + info.hblkhd), heap: Int64(info.arena + info.hblkhd),
            free: Int64(info.fordblks), resident: resident)
    }
}
