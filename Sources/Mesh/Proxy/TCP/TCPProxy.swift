// TCP: connections whose bytes are passed on as they come, and the filters of plain connections. Knows clusters and
// connections, and nothing of HTTP.

/// The TCP proxy of a filter chain: where its connections go, and for how long. An immutable snapshot.
package final class TCPProxy: Sendable {
    /// Nanoseconds; 0 for none.
    package struct Options: Sendable {
        package var statPrefix = ""
        package var idleTimeout: UInt64 = 3_600_000_000_000
        package var maximumDuration: UInt64 = 0
        /// Up to so many hundredths of the duration are added to it by chance.
        package var durationJitter = 0.0
        package var connectAttempts = 1
        /// Before the second attempt at most, doubled for each that follows; 0 tries again at once.
        package var backOff: UInt64 = 0
        package var maximumBackOff: UInt64 = 0
        package var logsStart = false
        package var logsConnected = false
        /// Between lines of a connection that goes on.
        package var logInterval: UInt64 = 0
        /// The client's address decides among hosts, where the cluster's policy hashes.
        package var hashesSource = false
        /// Where a cluster is found that is not known.
        var onDemand: OnDemandSource?
        package init() {}
    }

    struct Destination: Sendable {
        var cluster: ClusterID
        var weight: UInt32 = 1
        /// What its hosts must be, where the cluster has subsets.
        var criteria: HostMetadata?
    }

    package let options: Options
    private let destinations: [Destination]
    private let totalWeight: UInt64
    let logs: [AccessLog]
    /// Where its counters stand in each worker.
    let statsID: Int

    init(_ options: Options, destinations: [Destination], logs: [AccessLog] = [], statsID: Int) {
        self.options = options
        self.destinations = destinations
        self.logs = logs
        self.statsID = statsID
        totalWeight = destinations.reduce(0) { $0 + UInt64($1.weight) }
    }

    /// Where a new connection goes. `draw` answers a number below its argument.
    func destination(_ draw: (UInt64) -> UInt64) -> Destination? {
        guard destinations.count > 1 else { return destinations.first }
        guard totalWeight > 0 else { return nil }
        var rest = draw(totalWeight)
        for destination in destinations {
            if rest < UInt64(destination.weight) { return destination }
            rest -= UInt64(destination.weight)
        }
        return nil
    }
}
