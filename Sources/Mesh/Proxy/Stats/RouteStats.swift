import Bytes

/// What is counted of a route configuration that comes by name (`http.PREFIX.rds.NAME.`).
struct RouteStats: Sendable {
    var reloads: UInt64 = 0
    var attempts: UInt64 = 0
    var successes: UInt64 = 0
    /// The source could not be read.
    var failures: UInt64 = 0
    /// What it says is not usable.
    var refused: UInt64 = 0
    /// It says nothing of this name.
    var empty: UInt64 = 0
    var fetchTimeouts: UInt64 = 0
    /// Milliseconds of the wall clock at the last success, 0 before.
    var updateTime: Int64 = 0
    var reloadTime: Int64 = 0
    /// The hash of the version's text.
    var version: UInt64 = 0

    mutating func succeeded(_ version: String, reloads: Bool, at time: Timestamp) {
        successes &+= 1
        updateTime = time.seconds * 1000 + Int64(time.nanoseconds) / 1_000_000
        self.version = XXHash64.hash(version)
        guard reloads else { return }
        self.reloads &+= 1
        reloadTime = updateTime
    }

    func report(_ scope: StatScope, to report: inout StatReport) {
        report.counter(scope, "config_reload", reloads)
        report.counter(scope, "init_fetch_timeout", fetchTimeouts)
        report.counter(scope, "update_attempt", attempts)
        report.counter(scope, "update_empty", empty)
        report.counter(scope, "update_failure", failures)
        report.counter(scope, "update_rejected", refused)
        report.counter(scope, "update_success", successes)
        report.gauge(scope, "config_reload_time_ms", reloadTime, isUsed: reloads > 0)
        report.gauge(scope, "update_time", updateTime, isUsed: successes > 0)
        report.histogram(scope, "update_duration", HistogramSnapshot())
        report.gauge(scope, "version", Int64(bitPattern: version), isUsed: successes > 0)
    }
}
