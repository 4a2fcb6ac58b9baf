/// A cluster as configuration and discovery have it now. Immutable; shared by all workers.
package final class ClusterSnapshot: Sendable {
    package let settings: ClusterSettings
    let hosts: HostSet
    /// What workers tell of their requests; nil without outlier detection.
    let outliers: OutlierReporting?

    init(_ settings: ClusterSettings, _ hosts: HostSet, outliers: OutlierReporting? = nil) {
        self.settings = settings
        self.hosts = hosts
        self.outliers = outliers
    }

    package var name: String { settings.name }
    package var id: ClusterID { settings.id }
    package var options: ClusterSettings.Options { settings.options }
}

/// How workers tell a cluster's outlier detection of their requests.
final class OutlierReporting: Sendable {
    let config: OutlierConfig
    /// By the hosts' slots.
    let tallies: [OutlierTally?]
    /// Any thread: a run of failures of a host is as long as is allowed.
    let runsCompleted: @Sendable (HostID, OutlierRuns) -> Void

    init(
        _ config: OutlierConfig, _ tallies: [OutlierTally?],
        runsCompleted: @escaping @Sendable (HostID, OutlierRuns) -> Void
    ) {
        self.config = config
        self.tallies = tallies
        self.runsCompleted = runsCompleted
    }
}
