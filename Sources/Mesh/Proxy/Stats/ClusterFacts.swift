import XDS

/// What is known of a cluster whether workers have used it or not: its hosts, its limits, what outlier detection did.
struct ClusterFacts: Sendable {
    var settings: ClusterSettings
    var hosts: HostSet
    var outliers: [(name: String, value: UInt64)]
    var healthChecks: [(name: String, value: UInt64)]
    var membershipChanges: UInt64
    var discovery: HostDiscoveryCounters

    /// With what only workers know: the hosts of an ORIGINAL_DST cluster.
    func knowing(_ tally: WorkerTally.Cluster?) -> ClusterFacts {
        guard case .originalDestination = settings.discovery, let tally else { return self }
        let endpoints = tally.hosts.map { Endpoint($0.address) }
        var facts = self
        facts.hosts = HostSet(
            EndpointAssignment([LocalityEndpoints(endpoints: endpoints)]), settings.balance, now: .now())
        return facts
    }

    /// Each host by itself, with what workers have counted of it; only where the configuration asks for that.
    func reportHosts(_ tally: WorkerTally.Cluster?, to report: inout StatReport) {
        guard settings.options.tracking.hosts else { return }
        for host in hosts.hosts {
            let scope = StatScope.endpoint(
                cluster: settings.name, address: "\(host.address)", hostname: host.hostname)
            let stats = tally?.hosts.first { $0.address == host.address }?.stats ?? HostStats()
            stats.report(scope, isHealthy: host.health.availability == .healthy, to: &report)
        }
    }

    /// The counts that no worker keeps.
    func report(to report: inout StatReport) {
        let scope = StatScope.cluster(settings.name)
        for (name, priority) in [("default", RoutingPriority.default), ("high", .high)] {
            for gauge in settings.breakers.gauges(priority) {
                // Envoy has the gauges of what remains only where they are asked for.
                guard !gauge.name.hasPrefix("remaining_") || gauge.value > 0 else { continue }
                report.gauge(scope, "circuit_breakers.\(name).\(gauge.name)", Int64(clamping: gauge.value))
            }
        }
        report.counter(scope, "membership_change", membershipChanges)
        discovery.report(scope, to: &report)
        let health = hosts.hosts.map(\.health)
        report.gauge(scope, "membership_total", Int64(health.count), isUsed: true)
        report.gauge(scope, "membership_healthy", Int64(health.count { $0.availability == .healthy }), isUsed: true)
        report.gauge(scope, "membership_degraded", Int64(health.count { $0.availability == .degraded }))
        report.gauge(scope, "membership_excluded", Int64(health.count(where: \.isExcluded)))
        report.gauge(scope, "lb_subsets_active", Int64(hosts.subsetCount))
        for (name, value) in healthChecks {
            let leaf = "health_check.\(name)"
            if name == "healthy" {
                report.gauge(scope, leaf, Int64(clamping: value))
            } else {
                report.counter(scope, leaf, value)
            }
        }
        for (name, value) in outliers {
            let leaf = "outlier_detection.\(name)"
            if name.hasSuffix("_active") {
                report.gauge(scope, leaf, Int64(clamping: value))
            } else {
                report.counter(scope, leaf, value)
            }
        }
    }
}

/// What is counted of where a cluster's hosts come from: look-ups of names, or endpoints by the cluster's.
struct HostDiscoveryCounters: Sendable {
    var lookups: LookupCounters?
    var subscription: SubscriptionCounters?

    /// Under Envoy's names, of which every cluster has some.
    func report(_ scope: StatScope, to report: inout StatReport) {
        if let subscription {
            subscription.report(scope, "", .empty, to: &report)
            report.counter(scope, "update_no_rebuild", subscription.successes &- subscription.reloads)
            return
        }
        let lookups = lookups ?? LookupCounters()
        report.counter(scope, "update_attempt", lookups.attempts)
        report.counter(scope, "update_success", lookups.successes)
        report.counter(scope, "update_failure", lookups.failures)
        // Look-ups without an answer leave the hosts, and are no such thing.
        report.counter(scope, "update_empty", 0)
        report.counter(scope, "update_no_rebuild", lookups.unchanged)
    }
}

extension ClusterDirectory {
    /// Of every cluster.
    var facts: [ClusterFacts] { all.map(\.facts) }
}

extension LiveCluster {
    var facts: ClusterFacts {
        ClusterFacts(
            settings: settings, hosts: hosts, outliers: outlierCounters, healthChecks: healthCheckCounters,
            membershipChanges: membershipChanges, discovery: discoveryCounters)
    }
}
